"""The evaluator plugin: metrics, protocol card and every error message."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError

from reid_core import ReidError
from reid_core.component import call_build, declared
from reid_core.contracts import Features, NamedPart
from reid_core.discovery import isolated_catalog
from reid_core.evaluation.run_evaluators import card_line
from reid_core.features.feature_files import load_features
from reid_evaluate.distances.distance_matrix import Cosine, Euclidean, SquaredEuclidean
from reid_evaluate.protocols.junk_rules import JUNK, MATCH, WRONG
from reid_evaluate.ranking.rank_queries import TIE_RULE
from reid_plugins.evaluator import market_evaluate as plugin


def features(rows, pids, camids, *, junk=(), distractor=(), split="gallery", **meta):
    count = len(pids)
    return Features(
        values={"embedding": np.array(rows, dtype=np.float32)},
        pids=np.array(pids),
        camids=np.array(camids),
        names=np.array([f"{split}/{i}.jpg" for i in range(count)]),
        junk=np.isin(np.arange(count), junk),
        distractor=np.isin(np.arange(count), distractor),
        meta=meta,
    )


def on_a_line(positions):
    """Return vectors whose squared distances to the origin grow with the position."""
    return [[p, 0] for p in positions]


QUERY = features(
    on_a_line([0, 0]), ["a", "lost"], [0, 3], split="query", dataset="toy", version="1", images=2
)
GALLERY = features(
    on_a_line([1, 2, 3, 4, 5, 6]),
    ["a", "b", "a", "0", "a", "a"],
    [1, 1, 0, 2, 2, 2],
    junk=[5],
    distractor=[3],
    dataset="toy",
    version="1",
    images=6,
)
SPLITS = {"query": QUERY, "gallery": GALLERY}


DISTANCES = {
    "cosine": Cosine(),
    "euclidean": Euclidean(),
    "squared_euclidean": SquaredEuclidean(),
}


def evaluate(splits=SPLITS, distance="squared_euclidean", postprocess=(), **params):
    component = isolated_catalog(plugin).component("evaluator", "market_evaluate")
    checked = component.params.model_validate({"false_rates": [], **params})
    part = NamedPart(distance, {}, DISTANCES[distance])
    return call_build(component, checked, distance=part, postprocess=postprocess)(splits)


# ---- numbers ----------------------------------------------------------------------------


def test_the_component_declares_what_it_reads():
    component = isolated_catalog(plugin).component("evaluator", "market_evaluate")
    assert component.splits == ("query", "gallery")
    for given, outputs, columns in (
        ({}, ("embedding",), ()),
        ({"output": "feature", "junk_rule": "none"}, ("feature",), ()),
        (
            {"junk_rule": {"same": ["camid", "clothes"], "different": ["time"]}},
            ("embedding",),
            ("clothes", "time"),
        ),
    ):
        params = component.params.model_validate(given)
        assert declared(component.outputs, params) == outputs
        assert declared(component.columns, params) == columns
    assert component.distance == "cosine"
    assert component.summary
    assert component.reference
    fields = component.params.model_json_schema()["properties"].values()
    assert all(field["description"] for field in fields)


def test_metrics_by_hand():
    """Ranks 1 and 4 of: match, wrong, (same camera), distractor, match, (junk)."""
    scores = evaluate()
    assert scores.primary == "mAP"
    assert scores.metrics == pytest.approx(
        {
            "mAP": (1 + 2 / 4) / 2,
            "mAP_standard": (1 + 2 / 4) / 2,
            "mAP_trapezoid": (1 + (1 / 3 + 2 / 4) / 2) / 2,
            "mINP": 2 / 4,
            "rank1": 1,
            "rank5": 1,
            "rank10": 1,
        }
    )


def test_mean_ap_follows_the_chosen_definition():
    scores = evaluate(ap="trapezoid")
    assert scores.metrics["mAP"] == scores.metrics["mAP_trapezoid"]
    assert scores.metrics["mAP"] < scores.metrics["mAP_standard"]


def test_all_as_denominator_counts_a_query_without_match_as_0():
    valid, every = evaluate().metrics, evaluate(denominator="all").metrics
    assert every == pytest.approx({name: value / 2 for name, value in valid.items()})


def test_ranks_are_chosen_by_params():
    metrics = evaluate(ranks=[1, 20]).metrics
    assert [name for name in metrics if name.startswith("rank")] == ["rank1", "rank20"]


def test_output_and_distance_are_chosen_by_params():
    far = {"embedding": QUERY.values["embedding"], "feature": np.array([[9, 0], [9, 0]])}
    same = {"feature": GALLERY.values["embedding"]}
    splits = {"query": replace(QUERY, values=far), "gallery": replace(GALLERY, values=same)}
    # From the other end of the line the order is: (junk), match, distractor, (junk), wrong, match.
    assert evaluate(splits, output="feature").metrics["mINP"] == pytest.approx(2 / 4)
    assert evaluate(splits, output="feature").per_query["top_indices"][0].tolist() == [
        *(5, 4, 3, 2, 1, 0)
    ]
    # All vectors point the same way: every wrong image ties and ranks first.
    tied = evaluate(splits, output="feature", distance="cosine").metrics
    assert tied["mAP"] == pytest.approx((1 / 3 + 2 / 4) / 2)


def test_per_query_arrays():
    got = evaluate(top_k=3, block_size=1).per_query
    assert {name: values.shape for name, values in got.items()} == {
        **dict.fromkeys(("ap", "ap_trapezoid", "inp", "first_rank", "num_matches"), (2,)),
        **dict.fromkeys(("copies", "nearest_match", "nearest_wrong"), (2,)),
        **dict.fromkeys(("top_indices", "top_flags", "top_distances"), (2, 3)),
        **dict.fromkeys(("name", "pid", "camid"), (2,)),
    }
    assert got["top_indices"][0].tolist() == [0, 1, 2]
    assert got["top_flags"].tolist() == [[MATCH, WRONG, JUNK], [WRONG, WRONG, WRONG]]
    assert got["top_distances"][0].tolist() == [1, 4, 9]
    assert got["first_rank"].tolist() == [1, 0]
    assert got["num_matches"].tolist() == [2, 0]
    assert got["name"].tolist() == ["query/0.jpg", "query/1.jpg"]
    assert got["pid"].tolist() == ["a", "lost"]
    assert got["camid"].tolist() == [0, 3]
    assert not any(values.dtype == object for values in got.values())  # saved without pickle


def test_exclude_self_ranks_all_against_all():
    images = features(on_a_line([0, 1, 5, 7]), ["a", "a", "b", "b"], [-1] * 4)
    scores = evaluate({"query": images, "gallery": images}, junk_rule="exclude_self")
    assert scores.metrics["mAP"] == 1
    assert scores.per_query["num_matches"].tolist() == [1, 1, 1, 1]


def crowd(split, camids=(0, 1), seed=0):
    """Thirty people with four noisy pictures each."""
    rng = np.random.default_rng([seed, split == "query"])
    labels = np.repeat(np.arange(30), 4)
    centres = np.random.default_rng(9).standard_normal((30, 16))
    rows = centres[labels] + 1.2 * rng.standard_normal((len(labels), 16))
    cameras = np.resize(np.array(camids) + (5 if split == "gallery" else 0), len(labels))
    return features(rows, labels.astype(np.str_), cameras, split=split)


CROWD = {"query": crowd("query"), "gallery": crowd("gallery")}


def test_intervals_hold_the_scores_and_repeat_by_seed():
    rates = {"false_rates": [0.001, 0.1]}
    one, again, other = (evaluate(CROWD, "cosine", seed=seed, **rates) for seed in (0, 0, 1))
    assert set(one.intervals) == set(one.metrics)
    for name, (low, high) in one.intervals.items():
        assert low <= one.metrics[name] <= high
    assert one.intervals == again.intervals != other.intervals
    assert evaluate(CROWD, "cosine", bootstrap_draws=0, **rates).intervals == {}
    assert one.card["intervals"].endswith("those of dir@<rate> find it anew")
    assert "dir@" not in evaluate(CROWD, "cosine").card["intervals"]


def test_rates_of_thresholds():
    scores = evaluate(CROWD, "cosine", false_rates=[0.001, 0.1])
    metrics = scores.metrics
    assert 0 < metrics["tpr@0.001"] < metrics["tpr@0.1"] < 1
    assert 0 < metrics["dir@0.001"] <= metrics["dir@0.1"] <= metrics["rank1"]
    tables = scores.tables
    assert tables["pairs.false_rates"].tolist() == [0.001, 0.1]
    assert (np.diff(tables["pairs.thresholds"]) > 0).all()
    assert tables["pairs.counts"].sum(axis=1).tolist() == [120 * 4, 120 * 116]
    assert (np.diff(tables["pairs.edges"]) > 0).all()
    assert "tpr@<rate>" in scores.card["rates"]
    assert not any(name.startswith("pairs.") for name in evaluate(CROWD, "cosine").tables)


def test_camera_pairs_are_a_table():
    tables = evaluate(CROWD, "cosine").tables
    assert tables["camera_pairs.query_cameras"].tolist() == [0, 1]
    assert tables["camera_pairs.gallery_cameras"].tolist() == [5, 6]
    assert tables["camera_pairs.queries"].tolist() == [[60, 60], [60, 60]]
    assert (tables["camera_pairs.map"] > 0.1).all()
    none = evaluate(CROWD, "cosine", camera_pairs=False).tables
    assert not any(name.startswith("camera_pairs") for name in none)
    same = evaluate(CROWD, "cosine", camera_pairs=False).per_query
    for name, values in evaluate(CROWD, "cosine").per_query.items():
        np.testing.assert_array_equal(values, same[name])


def test_cuhk03_is_scored_on_one_image_of_each_identity():
    whole, single = (evaluate(CROWD, "cosine", protocol=p) for p in ("market1501", "cuhk03"))
    assert single.metrics["mAP"] == whole.metrics["mAP"]
    assert single.metrics["rank1"] < whole.metrics["rank1"]  # one chance instead of four
    assert single.tables["single_shot_ranks"].shape == (10, 120)
    ranks = single.tables["single_shot_ranks"]
    assert single.metrics["rank5"] == pytest.approx((ranks <= 5).mean())
    assert "10 draws (seed 0)" in single.card["protocol"]
    assert single.card["junk_rule"].startswith("cross_camera: ")


def test_no_camera_leaves_out_the_own_image():
    images = crowd("query", camids=(-1,))
    images = replace(images, camids=np.full(120, -1))
    scores = evaluate({"query": images, "gallery": images}, "cosine", protocol="no_camera")
    assert (scores.per_query["num_matches"] == 3).all()
    assert scores.card["junk_rule"].startswith("exclude_self: ")
    assert scores.card["protocol"].startswith("no_camera: ")


def test_steps_are_done_in_order_and_stand_on_the_card():
    def doubled(comparison):
        seen.append(comparison.gallery.features.shape)
        twice = replace(comparison.query, features=2 * comparison.query.features)
        return comparison.with_vectors(twice, comparison.gallery)

    seen = []
    steps = [NamedPart("double", {"by": 2, "what": "query"}, doubled), NamedPart("x", {}, doubled)]
    scores = evaluate(CROWD, "cosine", postprocess=steps)
    assert seen == [(120, 16), (120, 16)]
    assert scores.card["postprocessing"] == ["double(by=2, what=query)", "x"]
    assert scores.protocol["postprocess"] == [
        {"name": "double", "params": {"by": 2, "what": "query"}},
        {"name": "x", "params": {}},
    ]
    assert scores.metrics == pytest.approx(evaluate(CROWD, "cosine").metrics)


def test_a_step_gets_the_splits_that_it_reads():
    def look(comparison):
        assert comparison.extra["multi_query"].pids.tolist() == ["a", "lost"]
        return comparison

    steps = [NamedPart("look", {}, look, splits=("multi_query",))]
    evaluate({**SPLITS, "multi_query": QUERY}, postprocess=steps)
    assert message(SPLITS, postprocess=steps) == (
        "market_evaluate needs the split 'multi_query'; got query, gallery"
    )


def test_a_step_that_cannot_work_is_one_message():
    def refuse(comparison):
        raise ValueError("too few images")

    steps = [NamedPart("refuse", {}, refuse)]
    assert message(CROWD, postprocess=steps) == "market_evaluate: too few images"


# ---- the card ---------------------------------------------------------------------------


def test_card_states_every_choice():
    card = dict(evaluate().card)
    assert json.loads(json.dumps(card)) == card
    assert card.pop("evaluator") == "market_evaluate"
    assert card.pop("ap").startswith("standard: ")
    assert card.pop("junk_rule").startswith("cross_camera: ")
    assert card.pop("queries_without_match").startswith("valid: ")
    assert card.pop("protocol").startswith("market1501: ")
    assert card.pop("intervals").startswith("95 % bootstrap over queries, 1000 draws, seed 0")
    assert card == {
        "ties": TIE_RULE,
        "distance": "squared_euclidean",
        "output": "embedding",
        "normalization": "none",
        "flip": "none",
        "postprocessing": "none",
        "sizes": {
            "query": 2,
            "valid_queries": 1,
            "gallery_before": 6,
            "gallery_after": 5,
            "junk_images": 1,
            "distractors": 1,
            "identities": 2,
            "cameras": 4,
        },
        "identical_matches": 0,
        "data": {"dataset": "toy", "version": "1", "images": {"query": 2, "gallery": 6}},
    }


def test_card_counts_an_image_once_and_known_cameras_only():
    """An image that is flagged junk and distractor is junk."""
    gallery = replace(GALLERY, distractor=GALLERY.distractor | GALLERY.junk)
    query = replace(QUERY, camids=np.array([0, -1]))
    sizes = evaluate({"query": query, "gallery": gallery}).card["sizes"]
    assert (sizes["junk_images"], sizes["distractors"], sizes["cameras"]) == (1, 1, 3)


def test_the_protocol_is_what_the_card_says_in_words():
    protocol = dict(evaluate(protocol="cuhk03", single_shot_draws=3, seed=7).protocol)
    sizes, data = protocol.pop("sizes"), protocol.pop("data")
    assert (sizes["gallery_after"], data["version"]) == (5, "1")
    assert protocol == {
        "evaluator": "market_evaluate",
        "protocol": "cuhk03",
        "single_shot": {"draws": 3, "seed": 7},
        "ap": "standard",
        "junk_rule": "cross_camera",
        "denominator": "valid",
        "ties": "pessimistic",
        "distance": "squared_euclidean",
        "distance_params": {},
        "output": "embedding",
        "normalization": "none",
        "postprocess": [],
        "false_rates": [],
        "intervals": {"draws": 1000, "seed": 7},
        "identical_matches": 0,
        "made_up_names": [],
    }


def test_the_protocol_follows_the_params():
    chosen = {"ap": "trapezoid", "junk_rule": "none", "denominator": "all", "false_rates": [0.5]}
    protocol = evaluate(**chosen, distance="cosine", bootstrap_draws=0).protocol
    assert chosen.items() <= protocol.items()
    assert (protocol["distance"], protocol["normalization"]) == ("cosine", "L2")
    assert protocol["intervals"] is None
    assert "single_shot" not in protocol
    assert evaluate(protocol="no_camera").protocol["junk_rule"] == "exclude_self"


def test_the_card_in_short_has_the_first_words_of_every_choice_and_the_sizes():
    line = card_line(evaluate(ap="trapezoid"))
    assert line.startswith(
        "evaluator market_evaluate, protocol market1501, ap trapezoid, junk_rule "
    )
    assert "queries_without_match valid, ties pessimistic, distance squared_euclidean" in line
    assert "output embedding, normalization none, flip none, postprocessing none" in line
    assert '{"query": 2, "valid_queries": 1, "gallery_before": 6,' in line


def test_card_follows_the_params():
    card = evaluate(ap="trapezoid", junk_rule="none", denominator="all", distance="cosine").card
    assert card["ap"].startswith("trapezoid: ")
    assert card["junk_rule"].startswith("none: ")
    assert card["queries_without_match"].startswith("all: ")
    assert card["distance"] == "cosine"
    assert card["normalization"].startswith("L2")


def test_card_does_not_deny_that_a_step_may_normalize():
    """Built-in steps compare unit vectors, whatever the distance."""
    steps = [NamedPart("step", {}, lambda comparison: comparison)]
    text = "none by the distance; steps of post-processing may"
    assert evaluate(postprocess=steps).card["normalization"] == text
    assert evaluate(postprocess=steps, distance="cosine").card["normalization"].startswith("L2")


def copies():
    """Ann's picture lies in both folders under two names; her other one only in the gallery."""
    query = features([[0.3, 0.4], [1, 0]], ["ann", "bob"], [-1, -1], split="query")
    gallery = features(
        [[0.3, 0.4], [0.5, 0.4], [0.9, 0.1], [1, 0]], ["ann", "ann", "bob", "cy"], [-1] * 4
    )
    return {"query": query, "gallery": gallery}


@pytest.mark.parametrize("distance", ["cosine", "euclidean", "squared_euclidean"])
def test_card_warns_of_copies_under_another_name(distance):
    scores = evaluate(copies(), junk_rule="exclude_self", distance=distance)
    assert scores.per_query["copies"].tolist() == [True, False]
    assert scores.card["identical_matches"] == 1
    assert scores.card["warning"].startswith(
        "1 query has its own vector as nearest match: if it is a copy"
    )
    assert "a copy under another name is not" in scores.card["junk_rule"]


def test_card_does_not_warn_of_an_image_that_is_removed_by_its_name():
    split = copies()["gallery"]
    card = evaluate({"query": split, "gallery": split}, junk_rule="exclude_self").card
    assert card["identical_matches"] == 0
    assert "warning" not in card


def test_card_repeats_what_the_features_say_about_flips():
    splits = {name: replace(split, meta={"flip": "mean"}) for name, split in SPLITS.items()}
    assert evaluate(splits).card["flip"] == "mean"


# ---- error messages ---------------------------------------------------------------------


def message(splits, **params):
    with pytest.raises(ReidError) as caught:
        evaluate(splits, **params)
    return str(caught.value)


def test_missing_split():
    assert message({"query": QUERY}) == ("market_evaluate needs the split 'gallery'; got query")
    assert message({}) == "market_evaluate needs the split 'query'; got none"


def test_missing_output():
    text = "the query split has no output 'feature'; it has embedding"
    assert message(SPLITS, output="feature") == text


def test_features_that_cannot_be_ranked():
    rows = GALLERY.values["embedding"].copy()
    rows[4] = np.nan
    bad = replace(GALLERY, values={"embedding": rows})
    assert message({"query": QUERY, "gallery": bad}) == (
        "market_evaluate: gallery features: 1 of 6 rows are NaN or infinite in float32; "
        "the first is row 4 (counted from 0)"
    )


def test_exclude_self_needs_names_that_both_files_share(tmp_path):
    for name in SPLITS:
        np.savez(tmp_path / f"{name}.npz", **{"pids": ["a", "a"], "values.embedding": np.eye(2)})
    query, gallery = (load_features(tmp_path / f"{name}.npz", name) for name in SPLITS)
    assert message({"query": query, "gallery": gallery}, junk_rule="exclude_self") == (
        "market_evaluate: junk_rule 'exclude_self' needs names, and the features of query and "
        "gallery have none: add 'names', the same name for an image in both files, or set "
        "junk_rule to 'none' if query and gallery share no image"
    )
    named = replace(QUERY, values={"embedding": np.eye(2)})
    text = message({"query": named, "gallery": gallery}, junk_rule="exclude_self")
    assert "the features of gallery have none" in text

    evaluate({"query": query, "gallery": gallery}, junk_rule="none")
    one_file = evaluate({"query": query, "gallery": query}, junk_rule="exclude_self")
    assert one_file.per_query["num_matches"].tolist() == [1, 1]
    assert one_file.card["data"]["names"] == "row numbers"
    assert one_file.protocol["made_up_names"] == ["query", "gallery"]


def test_no_match_without_cameras():
    query = features(on_a_line([0, 9]), ["a", "b"], [-1, -1], split="query")
    gallery = features(on_a_line([1, 8, 4]), ["a", "b", "c"], [-1] * 3, distractor=[2])
    splits = {"query": query, "gallery": gallery}
    assert message(splits) == (
        "market_evaluate: junk_rule 'cross_camera' leaves none of the 2 queries a match: "
        "2 have their pid among the 2 of 3 gallery images that are neither junk nor "
        "distractor, and all camids are unknown (-1); set protocol to 'no_camera' "
        "(junk_rule 'exclude_self') for data without cameras, or junk_rule to 'none' if query "
        "and gallery share no image"
    )
    assert evaluate(splits, junk_rule="exclude_self").metrics["mAP"] == 1


def test_no_match_with_one_camera():
    gallery = replace(GALLERY, camids=np.zeros(6, dtype=np.int64))
    assert "0 of 8 camids are unknown (-1); set protocol to" in message(
        {"query": QUERY, "gallery": gallery}
    )


def test_no_match_because_pids_differ():
    gallery = replace(GALLERY, pids=np.array([f"id{i}" for i in range(6)]))
    text = message({"query": QUERY, "gallery": gallery}, junk_rule="none")
    assert "0 have their pid among the 4 of 6 gallery images" in text
    assert text.endswith("check that both splits hold the same identities, spelt alike")


def test_no_match_because_identities_have_one_image():
    images = features(on_a_line([0, 1]), ["a", "b"], [-1, -1])
    text = message({"query": images, "gallery": images}, junk_rule="exclude_self")
    assert text.endswith("give each identity at least two images")


@pytest.mark.parametrize(
    "params",
    [
        {"junk_rule": "market"},
        {"ap": "interpolated"},
        {"protocol": "viper"},
        {"false_rates": [0.0]},
        {"false_rates": [1.0]},
        {"output": "logits"},
        {"denominator": "some"},
        {"ranks": []},
        {"ranks": [0]},
        {"ranks": ["1"]},
        {"top_k": -1},
        {"block_size": 0},
        {"rerank": True},
    ],
)
def test_params_out_of_range_are_refused(params):
    with pytest.raises(ValidationError):
        plugin.MarketParams.model_validate(params)

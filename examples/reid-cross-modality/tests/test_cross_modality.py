"""The evaluator and the distance against loops, and as reid-core runs them on saved features."""

import numpy as np
import pytest
import reid_cross_modality.distance
import reid_cross_modality.evaluator

from reid_core import ReidError
from reid_core.contracts import Features
from reid_core.discovery import load_catalog
from reid_core.evaluation.evaluate_command import run_evaluation
from reid_core.features.feature_files import save_features
from reid_core.params.validation import check_eval_params
from reid_core.testing import check_component

PLUGINS = [reid_cross_modality.distance, reid_cross_modality.evaluator]
PLACES = {0: "a", 1: "b", 2: "b", 3: "c"}
"""Cameras 1, visible, and 2, infrared, look at one place, as 2 and 3 of SYSU-MM01 do."""


@pytest.fixture
def catalog():
    known = load_catalog()
    return known if "cross_modality" in known.names("evaluator") else load_catalog(PLUGINS)


def test_both_keep_the_contracts_of_their_kinds(catalog):
    modality = {"query": ("infrared",), "gallery": ("visible",)}
    check_component(
        "evaluator",
        "cross_modality",
        catalog,
        case={"columns": {"modality": modality, "location": 4}},
    )
    columns = {"modality": ("infrared", "visible", "")}
    check_component("distance", "modality_cosine", catalog, case={"columns": columns})
    check_component(
        "distance", "modality_cosine", catalog, {"factor": 0.5}, case={"columns": columns}
    )


def images(split, cameras, count=24):
    """Images of four persons around their own directions."""
    rng = np.random.default_rng([len(split), 1])
    labels, camids = np.arange(count) % 4, rng.choice(cameras, count)
    rows = np.eye(4, 6)[labels] + 0.5 * rng.standard_normal((count, 6))
    flags = np.zeros(count, dtype=bool)
    return Features(
        values={
            "embedding": rows.astype(np.float32),
            "aux.uc": rng.random(count).astype(np.float32),
        },
        pids=labels.astype(np.str_),
        camids=camids,
        names=np.array([f"{split}/{i}" for i in range(count)]),
        junk=flags,
        distractor=flags.copy(),
        meta={"dataset": "people"},
        columns={
            "modality": np.where(np.isin(camids, (2, 3)), "infrared", "visible"),
            "location": np.array([PLACES[int(c)] for c in camids]),
        },
    )


@pytest.fixture
def splits():
    return {"query": images("query", (1, 2, 3)), "gallery": images("gallery", (0, 1, 2))}


def evaluate(catalog, folder, splits, distance=None, **params):
    files = {split: str(folder / f"{split}.npz") for split in splits}
    for split, features in splits.items():
        save_features(folder / f"{split}.npz", features)
    entry = {"name": "cross_modality", "params": params}
    entry |= {"distance": distance} if distance else {}
    raw = {"features": files, "evaluation": [entry], "device": "cpu"}
    (result,) = run_evaluation(check_eval_params(raw, catalog, "test"), catalog)
    return result.scores


def by_loops(query, gallery, distance):
    """AP and rank among persons of every infrared query, over the whole gallery."""
    found = []
    for q in range(len(query)):
        if query.columns["modality"][q] != "infrared":
            continue
        rows = [
            (distance(q, g), gallery.pids[g] == query.pids[q], gallery.pids[g])
            for g in range(len(gallery))
            if gallery.columns["modality"][g] == "visible"
            and gallery.columns["location"][g] != query.columns["location"][q]
        ]
        rows.sort()
        right, persons, precisions, rank = 0, set(), [], 0
        for place, (_, is_right, person) in enumerate(rows, 1):
            if is_right:
                right += 1
                precisions.append(right / place)
                rank = rank or len(persons) + 1
            persons.add(person)
        if precisions:
            found.append((sum(precisions) / right, rank))
    return np.array(found)


def cosine_distance(query, gallery):
    rows = [f.values["embedding"].astype(np.float64) for f in (query, gallery)]
    unit = [r / np.linalg.norm(r, axis=1, keepdims=True) for r in rows]
    return 1 - unit[0] @ unit[1].T


def test_the_whole_gallery_is_ranked_by_the_rules_of_sysu(catalog, tmp_path, splits):
    distances = cosine_distance(*splits.values())
    expected = by_loops(*splits.values(), lambda q, g: distances[q, g])
    scores = evaluate(catalog, tmp_path, splits, shots=0, ranks=[1, 2])
    assert scores.metrics["mAP"] == pytest.approx(expected[:, 0].mean())
    assert scores.metrics["rank1"] == pytest.approx((expected[:, 1] == 1).mean())
    assert scores.metrics["rank2"] == pytest.approx((expected[:, 1] <= 2).mean())
    assert scores.protocol["sizes"]["valid_queries"] == len(expected)
    assert scores.protocol["draws"] is None
    assert "location are removed, whatever their pid" in scores.card["junk_rule"]


def test_a_draw_has_so_many_images_of_every_person_and_camera(catalog, tmp_path, splits):
    one, again, other = (
        evaluate(catalog, tmp_path, splits, draws=3, seed=seed).tables["draws.mAP"]
        for seed in (0, 0, 1)
    )
    assert len(one) == 3
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)
    whole = evaluate(catalog, tmp_path, splits, shots=0).metrics["mAP"]
    assert evaluate(catalog, tmp_path, splits, shots=99).metrics["mAP"] == pytest.approx(whole)


def test_the_distance_reads_modality_and_the_value_of_a_head(catalog, tmp_path, splits):
    query, gallery = splits.values()
    same = query.columns["modality"][:, None] == gallery.columns["modality"][None, :]
    uc = gallery.values["aux.uc"][None, :]
    distances = cosine_distance(query, gallery) + 0.5 * same - 0.7 * uc
    expected = by_loops(query, gallery, lambda q, g: distances[q, g])
    mine = {"name": "modality_cosine", "params": {"bias": 0.5, "factor": 0.7}}
    scores = evaluate(catalog, tmp_path, splits, mine, shots=0)
    assert scores.metrics["mAP"] == pytest.approx(expected[:, 0].mean(), abs=1e-6)
    assert scores.protocol["distance_params"] == {"bias": 0.5, "factor": 0.7, "value": "uc"}


def test_without_a_factor_no_head_is_asked(catalog, tmp_path, splits):
    bare = {
        s: type(f)(**{**vars(f), "values": {"embedding": f.values["embedding"]}})
        for s, f in splits.items()
    }
    mine = {"name": "modality_cosine", "params": {"bias": 0.5}}
    assert evaluate(catalog, tmp_path, bare, mine).metrics["mAP"] > 0
    needy = {"name": "modality_cosine", "params": {"factor": 1.0, "value": "quality"}}
    with pytest.raises(ReidError, match=r"query split of people has no output 'aux\.quality'"):
        evaluate(catalog, tmp_path, bare, needy)


def test_what_cannot_be_scored_is_said(catalog, tmp_path, splits):
    with pytest.raises(
        ReidError, match="query split has the modality 'thermal'; there is infrared"
    ):
        evaluate(catalog, tmp_path, splits, query="thermal")
    with pytest.raises(ReidError, match="query split of people has no column 'room'"):
        evaluate(catalog, tmp_path, splits, place="room")
    columns = {**splits["gallery"].columns, "location": np.full(24, "")}
    unknown = type(splits["gallery"])(**{**vars(splits["gallery"]), "columns": columns})
    with pytest.raises(ReidError, match="'location' of 24 images of the gallery split is unknown"):
        evaluate(catalog, tmp_path, {**splits, "gallery": unknown})
    everywhere = {**splits["gallery"].columns, "location": np.full(24, "b")}
    splits["query"].columns["location"][:] = "b"
    one_place = type(splits["gallery"])(**{**vars(splits["gallery"]), "columns": everywhere})
    with pytest.raises(ReidError, match=r"none of .* queries has a match in every drawn gallery"):
        evaluate(catalog, tmp_path, {**splits, "gallery": one_place})

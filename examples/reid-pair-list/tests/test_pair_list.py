"""The evaluator against plain definitions, on saved features and in a rehearsal."""

import itertools

import numpy as np
import pytest
import reid_pair_list.evaluator
from reid_pair_list._rates import area, best_threshold, equal_error_rate, judged_by_folds

from reid_core import ReidError
from reid_core.contracts import Features
from reid_core.discovery import load_catalog
from reid_core.evaluation.evaluate_command import run_evaluation
from reid_core.features.feature_files import save_features
from reid_core.params.validation import check_eval_params
from reid_core.testing import check_component
from reid_core.testing.splits import mixed_features

RNG = np.random.default_rng(0)
SAME = RNG.random(60) < 0.5
DISTANCES = np.round(np.where(SAME, 0.0, 0.6) + RNG.random(60), 1)
"""Ties among them are many."""


@pytest.fixture
def catalog():
    known = load_catalog()
    plugin = reid_pair_list.evaluator
    return known if "pair_list" in known.names("evaluator") else load_catalog([plugin])


def test_it_keeps_the_contract_of_evaluators(catalog, tmp_path):
    query = mixed_features("query")
    lines = ["first,second,same"]
    for one, other in itertools.combinations(range(len(query)), 2):
        same = int(query.pids[one] == query.pids[other])
        lines.append(f"{query.names[one]},{query.names[other]},{same}")
    (tmp_path / "pairs.csv").write_text("\n".join(lines))
    params = {"pairs": str(tmp_path / "pairs.csv"), "folds": 2}
    check_component("evaluator", "pair_list", catalog, params)


# ---- the rates --------------------------------------------------------------------------


def accuracy(threshold, distances=DISTANCES, same=SAME):
    return np.mean((distances <= threshold) == same)


def test_no_threshold_is_better_than_the_best():
    best = accuracy(best_threshold(DISTANCES, SAME))
    assert best == max(accuracy(t) for t in np.arange(-1, 3, 0.05))
    assert best < 1


def test_a_part_is_judged_by_the_threshold_of_the_others():
    right, thresholds = judged_by_folds(DISTANCES, SAME, 7)
    for part, threshold in zip(np.array_split(np.arange(60), 7), thresholds, strict=True):
        others = np.delete(np.arange(60), part)
        assert threshold == best_threshold(DISTANCES[others], SAME[others])
        expected = (DISTANCES[part] <= threshold) == SAME[part]
        np.testing.assert_array_equal(right[part], expected)


def test_the_area_is_the_chance_that_the_right_pair_is_nearer():
    wins = [
        (one < other) + (one == other) / 2
        for one, other in itertools.product(DISTANCES[SAME], DISTANCES[~SAME])
    ]
    assert area(DISTANCES, SAME) == pytest.approx(np.mean(wins))


def test_at_the_equal_error_rate_both_errors_are_equal():
    same = np.repeat([True, False], 1000)
    distances = np.concatenate([np.linspace(0, 1, 1000), np.linspace(0.6, 1.6, 1000)])
    assert equal_error_rate(distances, same) == pytest.approx(0.2, abs=2e-3)
    assert equal_error_rate(np.where(same, 0.0, 1.0), same) == 0
    assert equal_error_rate(np.zeros(2000), same) == pytest.approx(0.5)


# ---- the evaluator ----------------------------------------------------------------------


def images(split, count=20):
    rng = np.random.default_rng(len(split))
    labels = np.arange(count) % 5
    rows = np.eye(5, 8)[labels] + 0.3 * rng.standard_normal((count, 8))
    flags = np.zeros(count, dtype=bool)
    return Features(
        values={"embedding": rows.astype(np.float32)},
        pids=labels.astype(np.str_),
        camids=np.zeros(count, dtype=np.int64),
        names=np.array([f"{split}/{i}.jpg" for i in range(count)]),
        junk=flags,
        distractor=flags.copy(),
        meta={"dataset": "people"},
    )


SPLITS = {"query": images("query"), "gallery": images("gallery")}


def write_pairs(path, more=()):
    query, gallery = SPLITS.values()
    rows = [
        f"{query.names[i]},{gallery.names[j]},{int(query.pids[i] == gallery.pids[j])}"
        for i in range(20)
        for j in (i, (i + 1) % 20)
    ]
    path.write_text("\n".join(["first,second,same", *rows, *more]) + "\n")
    return str(path)


def evaluate(catalog, folder, pairs, splits=SPLITS, **params):
    files = {split: str(folder / f"{split}.npz") for split in splits}
    for split, features in splits.items():
        save_features(folder / f"{split}.npz", features)
    entry = {"name": "pair_list", "params": {"pairs": pairs, "splits": list(splits), **params}}
    raw = {"features": files, "evaluation": [entry], "device": "cpu"}
    (result,) = run_evaluation(check_eval_params(raw, catalog, "test"), catalog)
    return result.scores


def test_every_pair_is_compared_by_the_distance(catalog, tmp_path):
    scores = evaluate(catalog, tmp_path, write_pairs(tmp_path / "pairs.csv"))
    rows = [f.values["embedding"].astype(np.float64) for f in SPLITS.values()]
    unit = [r / np.linalg.norm(r, axis=1, keepdims=True) for r in rows]
    expected = [1 - unit[0][i] @ unit[1][j] for i in range(20) for j in (i, (i + 1) % 20)]
    np.testing.assert_allclose(scores.tables["pairs.distance"], expected, atol=1e-6)
    assert 0.8 < scores.metrics["accuracy"] <= 1
    assert scores.metrics["auc"] > 0.9
    low, high = scores.intervals["accuracy"]
    assert low <= scores.metrics["accuracy"] <= high
    assert scores.protocol["pairs"]["sizes"] == {"pairs": 40, "same": 20}
    assert str(tmp_path) not in str(scores.protocol["pairs"]), "a protocol names no folder"


def test_names_that_are_missing_are_listed(catalog, tmp_path):
    more = [f"query/x{i}.jpg,gallery/0.jpg,1" for i in range(7)]
    pairs = write_pairs(tmp_path / "pairs.csv", more)
    with pytest.raises(ReidError) as caught:
        evaluate(catalog, tmp_path, pairs)
    assert str(caught.value) == (
        f"pair_list: {pairs}: no image of the splits query, gallery has the name query/x0.jpg, "
        "query/x1.jpg, query/x2.jpg, query/x3.jpg, query/x4.jpg and 2 more"
    )
    with pytest.raises(ReidError, match=r"splits query has the name gallery/0\.jpg, gallery"):
        evaluate(catalog, tmp_path, write_pairs(tmp_path / "p.csv"), {"query": SPLITS["query"]})


def test_a_name_of_two_splits_is_refused(catalog, tmp_path):
    pairs = write_pairs(tmp_path / "pairs.csv", ["query/0.jpg,query/1.jpg,0"])
    splits = {"query": SPLITS["query"], "val": SPLITS["query"], "gallery": SPLITS["gallery"]}
    with pytest.raises(ReidError, match=r"'query/0\.jpg' is in two of the splits query, val"):
        evaluate(catalog, tmp_path, pairs, splits)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "the list of pairs cannot be read: "),
        ("a,b,1\n", "the first line must be first,second,same"),
        ("first,second,same\na,b,yes\n", r"line 2: expected two names and 1 or 0, got \['a', 'b'"),
        ("first,second,same\n\na,b\n", "line 3: expected two names and 1 or 0"),
        ("first,second,same\na,b,1\n", "1 pairs of one person and 0 of two are too few for 10"),
    ],
)
def test_a_list_that_is_none_is_refused(catalog, tmp_path, text, message):
    path = tmp_path / "pairs.csv"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ReidError, match=f"pairs.csv.*{message}"):
        evaluate(catalog, tmp_path, str(path))


def test_features_without_names_are_refused(catalog, tmp_path):
    np.savez(tmp_path / "bare.npz", **{"pids": ["a", "b"], "values.embedding": np.eye(2)})
    pairs = write_pairs(tmp_path / "pairs.csv")
    params = {"name": "pair_list", "params": {"pairs": pairs}}
    raw = {"features": {"query": str(tmp_path / "bare.npz")}, "evaluation": [params]}
    with pytest.raises(ReidError, match="the features of the query split have no names"):
        run_evaluation(check_eval_params(raw, catalog, "test"), catalog)

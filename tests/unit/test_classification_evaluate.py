"""Accuracy of logits: pure functions, the evaluator plugin, every error message."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pydantic import ValidationError

from reid_core import ReidError
from reid_core.component import call_build
from reid_core.contracts import Features
from reid_core.discovery import isolated_catalog
from reid_evaluate.ranking import classification
from reid_evaluate.statistics.bootstrap import mean_interval
from reid_plugins.evaluator import classification_evaluate as plugin

CLASSES = ("ann", "bob", "cy")

unhurried = settings(deadline=None)  # a busy machine must not fail a property


def features(logits, pids, classes=CLASSES, *, junk=(), distractor=(), **meta):
    count = len(pids)
    return Features(
        values={"logits": np.array(logits, dtype=np.float32)},
        pids=np.array(pids),
        camids=np.arange(count),
        names=np.array([f"val/{i}.jpg" for i in range(count)]),
        junk=np.isin(np.arange(count), junk),
        distractor=np.isin(np.arange(count), distractor),
        classes=classes,
        meta=meta,
    )


VAL = features(
    [[3, 1, 0], [0, 2, 1], [2, 1, 0], [1, 1, 0], [9, 0, 0]],
    ["ann", "ann", "bob", "ann", "ann"],
    dataset="toy",
)


def evaluate(val=VAL, **params):
    component = isolated_catalog(plugin).component("evaluator", "classification_evaluate")
    return call_build(component, component.params.model_validate(params))({"val": val})


# ---- numbers ----------------------------------------------------------------------------


@unhurried
@given(st.data())
def test_against_plain_loops(data):
    """Small integer logits tie often."""
    count, size = data.draw(st.integers(1, 8)), data.draw(st.integers(1, 5))
    logits = data.draw(arrays(np.float32, (count, size), elements=st.integers(-2, 2)))
    targets = data.draw(arrays(np.int64, count, elements=st.integers(0, size - 1)))
    ranks = classification.target_ranks(logits, targets)
    predicted = classification.predictions(logits, targets)
    confusion = classification.confusion_matrix(targets, predicted, size)
    for row, target, rank, guess in zip(logits, targets, ranks, predicted, strict=True):
        order = sorted(range(size), key=lambda c, row=row, t=target: (-row[c], c == t, c))
        assert order.index(target) + 1 == rank
        assert order[0] == guess
    for c in range(size):
        for d in range(size):
            assert confusion[c, d] == sum(
                (t, p) == (c, d) for t, p in zip(targets, predicted, strict=True)
            )
    for k in range(1, size + 2):
        assert classification.topk_accuracy(ranks, k) == pytest.approx(
            sum(rank <= k for rank in ranks) / count
        )
    of_class = [(ranks[targets == c] == 1).mean() for c in range(size) if c in targets]
    assert classification.balanced_accuracy(confusion) == pytest.approx(np.mean(of_class))


def test_equal_logits_are_never_right():
    scores = evaluate(features(np.zeros((3, 3)), list(CLASSES)))
    assert scores.metrics["top1"] == scores.metrics["balanced"] == 0
    assert scores.metrics["top5"] == 1


def test_metrics_and_tables_by_hand():
    scores = evaluate(topk=[2, 5])
    assert scores.primary == "top1"
    assert scores.metrics == pytest.approx(
        {"top1": 2 / 5, "top2": 4 / 5, "top5": 1, "balanced": (2 / 4 + 0) / 2}
    )
    assert scores.tables["classes"].tolist() == list(CLASSES)
    assert scores.tables["confusion"].tolist() == [[2, 2, 0], [1, 0, 0], [0, 0, 0]]
    np.testing.assert_array_equal(scores.tables["per_class_accuracy"], [0.5, 0, np.nan])
    assert scores.per_query["rank"].tolist() == [1, 3, 2, 2, 1]
    assert scores.per_query["predicted"].tolist() == ["ann", "bob", "ann", "bob", "ann"]
    assert scores.per_query["name"][0] == "val/0.jpg"
    assert scores.per_query["pid"].tolist() == list(VAL.pids)
    assert scores.per_query["camid"].tolist() == [0, 1, 2, 3, 4]


def test_intervals_are_those_of_a_bootstrap_over_images():
    rng = np.random.default_rng(0)
    pids = rng.choice(CLASSES, 60, p=[0.6, 0.3, 0.1])
    val = features(rng.standard_normal((60, 3)), pids)
    scores = evaluate(val, topk=[2], bootstrap_draws=300, seed=4)
    assert set(scores.intervals) == {"top1", "top2", "balanced"}
    right = scores.per_query["rank"] <= 1
    sizes = {name: np.mean(pids == name) * 3 for name in CLASSES}
    weights = np.array([1 / sizes[pid] for pid in pids])  # of images in the balanced mean
    assert np.mean(right * weights) == pytest.approx(scores.metrics["balanced"])
    expected = mean_interval({"top1": right, "balanced": right * weights}, draws=300, seed=4)
    for name, ends in expected.items():
        assert scores.intervals[name] == pytest.approx(ends)
        assert ends[0] < scores.metrics[name] < ends[1]
    assert evaluate(val, bootstrap_draws=0).intervals == {}


def test_the_spelling_of_classes_decides_not_their_order():
    reversed_columns = replace(
        VAL,
        values={"logits": VAL.values["logits"][:, ::-1]},
        classes=CLASSES[::-1],
    )
    assert evaluate(reversed_columns).metrics == evaluate().metrics


def test_junk_and_distractors_are_left_out():
    val = features([[1, 0, 0]] * 3, ["ann", "-1", "0"], junk=[1], distractor=[2])
    scores = evaluate(val)
    assert scores.metrics["top1"] == 1
    assert scores.per_query["pid"].tolist() == ["ann"]
    assert scores.card["sizes"]["images_before"] == 3
    assert scores.card["sizes"]["images"] == 1


def test_card():
    scores = evaluate()
    assert scores.protocol["left_out"] == ["junk", "distractor"]
    assert scores.protocol["intervals"] == {"draws": 1000, "seed": 0}
    assert evaluate(bootstrap_draws=0).protocol["intervals"] is None
    card = scores.card
    assert json.loads(json.dumps(card)) == card
    assert card["evaluator"] == "classification_evaluate"
    assert card["ties"] == classification.TIE_RULE
    assert card["flip"] == "none"
    assert card["data"] == {"dataset": "toy"}
    assert card["sizes"] == {
        "images_before": 5,
        "images": 5,
        "classes": 3,
        "classes_with_images": 2,
    }


def test_the_component_declares_what_it_reads():
    component = isolated_catalog(plugin).component("evaluator", "classification_evaluate")
    assert component.splits == ("val",)
    assert component.outputs == ("logits",)
    assert component.summary
    assert component.params.model_json_schema()["properties"]["topk"]["description"]


# ---- error messages ---------------------------------------------------------------------


def message(val):
    with pytest.raises(ReidError) as caught:
        evaluate(val)
    return str(caught.value)


def test_missing_split():
    with pytest.raises(ReidError, match=r"^classification_evaluate needs the split 'val'; got x$"):
        plugin.classification_evaluate({"x": VAL}, plugin.ClassificationParams())


def test_missing_logits():
    assert message(replace(VAL, values={"embedding": np.ones((5, 2))})) == (
        "classification_evaluate: the val split has no output 'logits'; it has embedding"
    )


def test_logits_that_do_not_fit_the_classes():
    assert message(replace(VAL, classes=("ann", "bob"))) == (
        "classification_evaluate: logits of shape (5, 3) do not fit 5 images and 2 classes"
    )


def test_pids_that_are_no_classes():
    pids = ["ann", "zoe", "yan", "yan", "x1"]
    assert message(replace(VAL, pids=np.array(pids))) == (
        "classification_evaluate: 3 pids of the val split are not among the 3 classes of the "
        "model: x1, yan, zoe; the val split must hold training identities"
    )
    strangers = features(np.zeros((7, 3)), [f"s{i}" for i in range(7)])
    assert "7 pids of the val split" in message(strangers)
    assert "model: s0, s1, s2, s3, s4, ...; the val split" in message(strangers)


def test_a_class_named_twice():
    assert message(replace(VAL, classes=("ann", "bob", "ann"))) == (
        "classification_evaluate: the class list names a class twice"
    )


def test_no_images_left():
    assert message(replace(VAL, junk=np.ones(5, dtype=bool))) == (
        "classification_evaluate: the val split has no images that are not junk or distractor"
    )


def test_logits_that_are_not_finite():
    logits = VAL.values["logits"].copy()
    logits[2, 1] = np.inf
    assert message(replace(VAL, values={"logits": logits})) == (
        "classification_evaluate: logits: 1 of 5 rows are NaN or infinite; "
        "the first is row 2 (counted from 0)"
    )


def test_shapes_and_targets_of_the_pure_functions():
    with pytest.raises(ValueError, match=r"logits must be \(N, C\).* got \(3,\) and \(3,\)$"):
        classification.target_ranks(np.zeros(3), np.zeros(3, dtype=np.int64))
    with pytest.raises(ValueError, match=r"^target 3 is not a class from 0 to 2$"):
        classification.target_ranks(np.zeros((1, 3)), np.array([3]))


@pytest.mark.parametrize("params", [{"topk": []}, {"topk": [0]}, {"topk": ["1"]}, {"k": 1}])
def test_params_out_of_range_are_refused(params):
    with pytest.raises(ValidationError):
        plugin.ClassificationParams.model_validate(params)

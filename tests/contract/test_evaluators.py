"""Evaluators: what they read is declared, what they say is complete and can be written."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from parts import cosine
from reid_core import ReidError
from reid_core.component import declared
from reid_core.contracts import SPLITS, Features, Scores
from reid_plugins.evaluator import _market_card, classification_evaluate

OUTPUTS = {"embedding", "feature", "logits"}
PIDS, DIM = 6, 12

FACTS = {"evaluator", "junk_rule", "output", "flip", "postprocessing", "sizes", "data"}
"""What every protocol card must state."""

RANKING_FACTS = {"ap", "queries_without_match", "distance", "normalization"}
"""What the card of a ranking must state beside that."""


def features(split, noise=0.5):
    """Three images of each identity around the identity's own direction, under three cameras."""
    rng = np.random.default_rng(SPLITS.index(split))
    labels = np.tile(np.arange(PIDS), 3)
    values = np.eye(PIDS, DIM)[labels] + noise * rng.standard_normal((len(labels), DIM))
    logits = 5 * np.eye(PIDS)[labels] + noise * rng.standard_normal((len(labels), PIDS))
    flags = np.zeros(len(labels), dtype=bool)
    camera = {"query": 0}.get(split, 3)
    return Features(
        values={
            "embedding": values.astype(np.float32),
            "feature": 2 * values.astype(np.float32),
            "logits": logits.astype(np.float32),
        },
        pids=np.array([f"{label:04d}" for label in labels]),
        camids=np.repeat(np.arange(3), PIDS) + camera,
        names=np.array([f"{split}/{i}.jpg" for i in range(len(labels))]),
        junk=flags,
        distractor=flags.copy(),
        classes=tuple(f"{label:04d}" for label in range(PIDS)),
        meta={"dataset": "people", "content_hash": "0123456789abcdef", "model": "none"},
    )


def outputs_of(evaluator):
    """What it reads with its default params."""
    return declared(evaluator.component.outputs, evaluator.params())


def declared_splits(evaluator, noise=0.5):
    """The splits and the outputs that the evaluator declares, and no others."""
    splits, outputs = {}, outputs_of(evaluator)
    for name in declared(evaluator.component.splits, evaluator.params()):
        full = features(name, noise)
        values = {k: v for k, v in full.values.items() if k in outputs}
        splits[name] = Features(**{**vars(full), "values": values})
    return splits


def built(evaluator):
    """The evaluator with the distance that it has by default."""
    return evaluator.build(distance=cosine(), postprocess=(), device="cpu")


def score(evaluator, noise=0.5):
    return built(evaluator)(declared_splits(evaluator, noise))


def test_splits_and_outputs_are_declared_in_known_words(evaluator):
    splits = declared(evaluator.component.splits, evaluator.params())
    for names, known in ((splits, set(SPLITS)), (outputs_of(evaluator), OUTPUTS)):
        assert isinstance(names, tuple)
        assert names
        assert set(names) <= known


def test_metrics_are_finite_floats_and_the_primary_one_is_among_them(evaluator):
    scores = score(evaluator)
    assert isinstance(scores, Scores)
    assert scores.primary in scores.metrics
    for name, value in scores.metrics.items():
        assert isinstance(name, str)
        assert isinstance(value, float)
        assert math.isfinite(value)


def test_features_without_noise_score_higher_than_noisy_ones(evaluator):
    primary = [score(evaluator, noise).metrics[score(evaluator).primary] for noise in (0.0, 3.0)]
    assert primary[0] == pytest.approx(1)
    assert primary[1] < 0.95


def test_the_card_states_every_choice_and_can_be_written_as_json(evaluator):
    card = score(evaluator).card
    assert json.loads(json.dumps(card, allow_nan=False)) == card
    ranks = {"query", "gallery"} <= set(evaluator.component.splits)
    assert FACTS | (RANKING_FACTS if ranks else set()) <= set(card)
    assert card["evaluator"] == evaluator.name
    assert card["output"] in outputs_of(evaluator)
    assert card["data"]["dataset"] == "people"
    assert card["data"]["content_hash"] == "0123456789abcdef", "the version of the data"
    assert all(card[fact] not in ("", None) for fact in FACTS)
    assert all(type(count) is int for count in card["sizes"].values())


CARDS = {
    "classification_evaluate": classification_evaluate.card_of,
    "market_evaluate": _market_card.card_of,
}
"""What writes the card of each evaluator's protocol."""


def test_the_protocol_is_data_and_the_card_is_its_print(evaluator):
    scores = score(evaluator)
    written = json.loads(json.dumps(scores.protocol, allow_nan=False))
    assert written == scores.protocol
    assert written["evaluator"] == evaluator.name
    assert written["sizes"] == scores.card["sizes"]
    assert CARDS[evaluator.name](written) == scores.card


def test_the_card_tells_that_names_are_made_up(evaluator):
    splits = declared_splits(evaluator)
    assert built(evaluator)(splits).protocol["made_up_names"] == []
    nameless = {name: replace(split, names_are_made_up=True) for name, split in splits.items()}
    scores = built(evaluator)(nameless)
    assert scores.protocol["made_up_names"] == list(evaluator.component.splits)
    assert scores.card["data"]["names"] == "row numbers"


def test_the_card_tells_what_was_done_to_the_features_before(evaluator):
    splits = declared_splits(evaluator)
    for split in splits.values():
        split.meta["flip"] = "mean of the image and its mirror image"
    assert "mirror" in built(evaluator)(splits).card["flip"]


def test_arrays_can_be_saved_without_pickle_and_have_one_row_per_query(evaluator):
    scores = score(evaluator)
    assert {"name", "pid", "camid"} <= set(scores.per_query), "rows are found by file name"
    assert len({len(array) for array in scores.per_query.values()}) == 1
    for array in (*scores.per_query.values(), *scores.tables.values()):
        assert isinstance(array, np.ndarray)
        assert array.dtype != object


def test_scores_are_repeatable_and_the_features_are_left_as_they_were(evaluator):
    splits, evaluate = declared_splits(evaluator), built(evaluator)
    first, second = evaluate(splits), evaluate(splits)
    assert first.metrics == second.metrics
    assert first.card == second.card
    assert first.protocol == second.protocol
    for name, untouched in declared_splits(evaluator).items():
        for key, value in untouched.values.items():
            assert np.array_equal(splits[name].values[key], value)


def test_the_order_of_the_images_does_not_matter(evaluator):
    splits = declared_splits(evaluator)
    order = np.random.default_rng(0).permutation(3 * PIDS)
    rows = ("pids", "camids", "names", "junk", "distractor")
    shuffled = {
        name: Features(
            **{
                **vars(split),
                **{key: getattr(split, key)[order] for key in rows},
                "values": {key: value[order] for key, value in split.values.items()},
            }
        )
        for name, split in splits.items()
    }
    evaluate = built(evaluator)
    assert evaluate(shuffled).metrics == pytest.approx(evaluate(splits).metrics)


def test_a_missing_split_is_named(evaluator):
    for name in evaluator.component.splits:
        splits = {k: v for k, v in declared_splits(evaluator).items() if k != name}
        with pytest.raises(ReidError, match=f"{evaluator.name}.*'{name}'"):
            built(evaluator)(splits)


def test_a_missing_output_is_named(evaluator):
    splits = {
        k: Features(**{**vars(v), "values": {}}) for k, v in declared_splits(evaluator).items()
    }
    with pytest.raises(ReidError, match="no output"):
        built(evaluator)(splits)

"""Evaluators beside their contract: the cards that the built-in ones write."""

import json
from dataclasses import replace

import pytest

from reid_core import ReidError
from reid_core.component import declared
from reid_core.testing import Subject
from reid_core.testing.evaluators import built, declared_features
from reid_plugins.evaluator import _market_card, classification_evaluate

FACTS = {"evaluator", "junk_rule", "output", "flip", "postprocessing", "sizes", "data"}
"""What every protocol card must state."""

RANKING_FACTS = {"ap", "queries_without_match", "distance", "normalization"}
"""What the card of a ranking must state beside that."""


@pytest.fixture
def subject(evaluator, catalog):
    return Subject(evaluator.offer, catalog)


@pytest.fixture
def splits(subject):
    return declared_features(subject)


@pytest.fixture
def evaluate(subject):
    return built(subject)


def test_features_without_noise_have_the_highest_score_and_noisy_ones_have_not(subject, evaluate):
    clean, noisy = (evaluate(declared_features(subject, noise)) for noise in (0.0, 3.0))
    assert clean.metrics[clean.primary] == pytest.approx(1)
    assert noisy.metrics[noisy.primary] < 0.95


def test_the_card_states_every_choice(evaluator, subject, splits, evaluate):
    card = evaluate(splits).card
    ranks = {"query", "gallery"} <= set(splits)
    assert FACTS | (RANKING_FACTS if ranks else set()) <= set(card)
    assert card["evaluator"] == evaluator.name
    assert card["output"] in declared(evaluator.component.outputs, subject.params)
    assert card["data"]["dataset"] == "people"
    assert card["data"]["content_hash"] == "0123456789abcdef", "the version of the data"
    assert all(card[fact] not in ("", None) for fact in FACTS)
    assert all(type(count) is int for count in card["sizes"].values())


CARDS = {
    "classification_evaluate": classification_evaluate.card_of,
    "market_evaluate": _market_card.card_of,
}
"""What writes the card of each evaluator's protocol."""


def test_the_protocol_is_data_and_the_card_is_its_print(evaluator, splits, evaluate):
    scores = evaluate(splits)
    written = json.loads(json.dumps(scores.protocol, allow_nan=False))
    assert written["evaluator"] == evaluator.name
    assert written["sizes"] == scores.card["sizes"]
    assert CARDS[evaluator.name](written) == scores.card


def test_the_card_tells_that_names_are_made_up(splits, evaluate):
    assert evaluate(splits).protocol["made_up_names"] == []
    nameless = {name: replace(split, names_are_made_up=True) for name, split in splits.items()}
    scores = evaluate(nameless)
    assert scores.protocol["made_up_names"] == list(splits)
    assert scores.card["data"]["names"] == "row numbers"


def test_the_card_tells_what_was_done_to_the_features_before(splits, evaluate):
    for split in splits.values():
        split.meta["flip"] = "mean of the image and its mirror image"
    assert "mirror" in evaluate(splits).card["flip"]


def test_rows_are_found_by_file_name(splits, evaluate):
    assert {"name", "pid", "camid"} <= set(evaluate(splits).per_query)


def test_a_missing_split_is_named(evaluator, splits, evaluate):
    for name in splits:
        rest = {k: v for k, v in splits.items() if k != name}
        with pytest.raises(ReidError, match=f"{evaluator.name}.*'{name}'"):
            evaluate(rest)


def test_a_missing_output_is_named(splits, evaluate):
    bare = {name: replace(split, values={}) for name, split in splits.items()}
    with pytest.raises(ReidError, match="no output"):
        evaluate(bare)

"""Evaluators: what they read is declared, what they say can be compared and written."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

import numpy as np

from reid_core.catalog import Catalog
from reid_core.component import DistanceComponent, EvaluatorComponent, Params
from reid_core.contracts import CAMID, Evaluator, Features, Scores
from reid_core.discovery import isolated_catalog
from reid_core.evaluation.build_evaluator import AUX, BuiltEvaluator, build_evaluator
from reid_core.hookspecs import hookimpl
from reid_core.params.schema import EvaluationEntry
from reid_core.testing.splits import mixed_features
from reid_core.testing.subject import Subject, expect
from reid_evaluate.distances.distance_matrix import Cosine


def declared_features(subject: Subject, noise: float = 0.5) -> dict[str, Features]:
    """Return the splits, values and columns that the evaluator declares, and no others."""
    evaluator, found = _scorer(subject), {}
    for split in evaluator.splits:
        full = mixed_features(split, noise)
        values = {name: array for name, array in full.values.items() if name in evaluator.outputs}
        for name in (n for n in evaluator.outputs if n.startswith(AUX)):
            shape = (len(full), *subject.case.aux.get(name.removeprefix(AUX), ()))
            values[name] = np.ones(shape, dtype=np.float32)
        columns = subject.columns(len(full), sorted(evaluator.columns), split)
        if CAMID in columns:
            if CAMID in subject.case.columns:
                full = replace(full, camids=columns[CAMID].astype(np.int64))
            columns[CAMID] = full.camids
        found[split] = replace(full, values=values, columns=columns)
    return found


def built(subject: Subject) -> Evaluator:
    """Build the evaluator with the distance that it compares by."""
    return _scorer(subject).evaluator


class _Distances:
    """The cosine under a name: that of an evaluator whose own distance is not in the catalog."""

    def __init__(self, name: str) -> None:
        self.name = name

    @hookimpl
    def reid_distance(self) -> list[DistanceComponent]:
        def build(params: Params) -> Cosine:
            return Cosine()

        return [DistanceComponent(name=self.name, build=build, summary="The cosine")]


def _scorer(subject: Subject) -> BuiltEvaluator:
    """Return the evaluator as the core has it, which looks at what it declares and returns."""
    name = cast(EvaluatorComponent, subject.component).distance
    installed = subject.catalog
    if name is not None and name not in installed.names("distance"):
        added = isolated_catalog(_Distances(name)).offers
        subject = replace(subject, catalog=Catalog([*installed.offers, *added], installed.faults))
    found = build_evaluator(subject.read(EvaluationEntry))
    if subject.case.context:
        given = {"distance": found.distance, "postprocess": (), "device": "cpu"}
        found = replace(found, evaluator=subject.build(**given))
    return found


def _score(subject: Subject, splits: Mapping[str, Features]) -> Scores:
    """Score as the core does, which looks at all that an evaluator declares and returns."""
    return _scorer(subject).score(splits, "people")


# ---- checks -----------------------------------------------------------------------------


def scores_are_what_can_be_compared_and_written(subject: Subject) -> None:
    """Of splits that have junk, distractors, and persons and cameras that are not known."""
    _score(subject, declared_features(subject))


def larger_is_better(subject: Subject) -> None:
    """Features without noise score at least as high as noisy ones."""
    clean, noisy = (_score(subject, declared_features(subject, noise)) for noise in (0.0, 3.0))
    values = clean.metrics[clean.primary], noisy.metrics[noisy.primary]
    expect(values[0] >= values[1], f"{clean.primary}: {values[0]} clean and {values[1]} noisy")


def protocol_and_card_come_back_from_json(subject: Subject) -> None:
    """They are stored with every score."""
    scores = _score(subject, declared_features(subject))
    for what in ("protocol", "card"):
        value = getattr(scores, what)
        written: Any = json.loads(json.dumps(value, allow_nan=False))
        expect(written == value, f"the {what} is not what JSON makes of it")


def scores_are_repeatable_and_the_features_are_left_as_they_were(subject: Subject) -> None:
    """Several evaluators share the features."""
    splits, scorer = declared_features(subject), _scorer(subject)
    first, second = (scorer.score(splits, "people") for _ in range(2))
    expect(first.metrics == second.metrics, f"{first.metrics} and {second.metrics}")
    expect(first.protocol == second.protocol, "the protocol differs")


def the_order_of_the_images_does_not_matter(subject: Subject) -> None:
    """A split is a set."""
    splits, rng = declared_features(subject), np.random.default_rng(0)
    mixed = {name: split.rows(rng.permutation(len(split))) for name, split in splits.items()}
    _same_numbers(_score(subject, splits), _score(subject, mixed), "of another order")


def junk_changes_no_number(subject: Subject) -> None:
    """Neither what it looks like nor whose it is: it is left out before anything is compared."""
    splits = declared_features(subject)
    other = {name: _with_other_junk(split) for name, split in splits.items()}
    what = "with other vectors and pids of the junk images ('features.rows(~features.junk)')"
    _same_numbers(_score(subject, splits), _score(subject, other), what)


def images_without_identity_are_never_a_right_answer(subject: Subject) -> None:
    """A pid of "" says that it is not known; two of them need not be one person."""
    splits = declared_features(subject, noise=0.0)
    named = {
        name: replace(split, pids=np.where(split.pids == "", f"nobody of {name}", split.pids))
        for name, split in splits.items()
    }
    what = 'when images of the pid "" get pids that nobody else has'
    _same_numbers(_score(subject, splits), _score(subject, named), what)


def _with_other_junk(features: Features) -> Features:
    """Return the images with junk that looks like its person and is said to be another one."""
    junk, pids = features.junk, features.pids.copy()
    values = {name: array.copy() for name, array in features.values.items()}
    for name in values.keys() & {"embedding", "feature", "logits"}:
        values[name][junk] = 10 * np.eye(junk.sum(), values[name].shape[1])
    pids[junk] = np.roll(pids[junk], 1)
    return replace(features, values=values, pids=pids)


def _same_numbers(first: Scores, second: Scores, what: str) -> None:
    for name, value in first.metrics.items():
        close = math.isclose(value, second.metrics[name], rel_tol=1e-6, abs_tol=1e-9)
        expect(close, f"{name}: {value}, and {second.metrics[name]} {what}")


CHECKS = (
    scores_are_what_can_be_compared_and_written,
    larger_is_better,
    protocol_and_card_come_back_from_json,
    scores_are_repeatable_and_the_features_are_left_as_they_were,
    the_order_of_the_images_does_not_matter,
    junk_changes_no_number,
    images_without_identity_are_never_a_right_answer,
)

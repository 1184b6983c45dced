"""Evaluators: what they read is declared, what they say can be compared and written."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any, cast

import numpy as np

from reid_core.catalog import Catalog
from reid_core.component import DistanceComponent, EvaluatorComponent, Params
from reid_core.contracts import CAMID, SPLITS, Evaluator, Features, Scores
from reid_core.discovery import isolated_catalog
from reid_core.evaluation.build_evaluator import AUX, BuiltEvaluator, build_evaluator
from reid_core.hookspecs import hookimpl
from reid_core.params.schema import EvaluationEntry
from reid_core.testing.subject import Subject, expect
from reid_evaluate.distances.distance_matrix import Cosine

PIDS, DIM = 6, 12
OUTPUTS = ("embedding", "feature", "logits")


def features_of(split: str, noise: float = 0.5, images: int = 3) -> Features:
    """Return images of each identity around its own direction, under three cameras."""
    rng = np.random.default_rng(SPLITS.index(split))
    labels = np.tile(np.arange(PIDS), images)
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
        camids=np.arange(len(labels)) // PIDS % 3 + camera,
        names=np.array([f"{split}/{i}.jpg" for i in range(len(labels))]),
        junk=flags,
        distractor=flags.copy(),
        classes=tuple(f"{label:04d}" for label in range(PIDS)),
        meta={"dataset": "people", "content_hash": "0123456789abcdef", "model": "none"},
    )


def declared_features(subject: Subject, noise: float = 0.5) -> dict[str, Features]:
    """Return the splits, values and columns that the evaluator declares, and no others."""
    evaluator, found = _scorer(subject), {}
    for split in evaluator.splits:
        full = features_of(split, noise)
        values = {name: array for name, array in full.values.items() if name in evaluator.outputs}
        for name in (n for n in evaluator.outputs if n.startswith(AUX)):
            shape = (len(full), *subject.case.aux.get(name.removeprefix(AUX), ()))
            values[name] = np.ones(shape, dtype=np.float32)
        columns = subject.columns(len(full), sorted(evaluator.columns), split)
        if CAMID in columns:
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


def _score(subject: Subject, noise: float = 0.5) -> Scores:
    return _scorer(subject).score(declared_features(subject, noise), "people")


# ---- checks -----------------------------------------------------------------------------


def scores_are_what_can_be_compared_and_written(subject: Subject) -> None:
    """The core looks at all that an evaluator declares and returns; numbers are plain floats."""
    scores = built(subject)(declared_features(subject))
    for name, value in scores.metrics.items():
        expect(isinstance(value, float), f"{name!r} is {value!r}; expected a float")
    _score(subject)


def larger_is_better(subject: Subject) -> None:
    """Features without noise score at least as high as noisy ones."""
    clean, noisy = _score(subject, 0.0), _score(subject, 3.0)
    values = clean.metrics[clean.primary], noisy.metrics[noisy.primary]
    expect(values[0] >= values[1], f"{clean.primary}: {values[0]} clean and {values[1]} noisy")


def protocol_and_card_come_back_from_json(subject: Subject) -> None:
    """They are stored with every score."""
    scores = _score(subject)
    for what in ("protocol", "card"):
        value = getattr(scores, what)
        written: Any = json.loads(json.dumps(value, allow_nan=False))
        expect(written == value, f"the {what} is not what JSON makes of it")


def scores_are_repeatable_and_the_features_are_left_as_they_were(subject: Subject) -> None:
    """Several evaluators share the features."""
    splits, evaluate = declared_features(subject), built(subject)
    first, second = evaluate(splits), evaluate(splits)
    expect(first.metrics == second.metrics, f"{first.metrics} and {second.metrics}")
    expect(first.protocol == second.protocol, "the protocol differs")
    for name, untouched in declared_features(subject).items():
        for key, value in {**untouched.values, **untouched.columns}.items():
            same = np.array_equal({**splits[name].values, **splits[name].columns}[key], value)
            expect(same, f"'{key}' of the {name} split has been changed")


def the_order_of_the_images_does_not_matter(subject: Subject) -> None:
    """A split is a set."""
    splits, evaluate = declared_features(subject), built(subject)
    order = np.random.default_rng(0).permutation(3 * PIDS)
    first = evaluate(splits)
    second = evaluate({name: split.rows(order) for name, split in splits.items()})
    for name, value in first.metrics.items():
        close = math.isclose(value, second.metrics[name], rel_tol=1e-6, abs_tol=1e-9)
        expect(close, f"{name}: {value} and {second.metrics[name]}")


CHECKS = (
    scores_are_what_can_be_compared_and_written,
    larger_is_better,
    protocol_and_card_come_back_from_json,
    scores_are_repeatable_and_the_features_are_left_as_they_were,
    the_order_of_the_images_does_not_matter,
)

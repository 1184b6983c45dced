"""Evaluators: what they read is declared, what they say is complete and can be written."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

import numpy as np

from reid_core.component import EvaluatorComponent, declared
from reid_core.contracts import SPLITS, Evaluator, Features, NamedPart, Scores
from reid_core.errors import ReidError
from reid_core.testing.subject import Subject, expect

OUTPUTS = ("embedding", "feature", "logits")
PIDS, DIM = 6, 12


def features_of(split: str, noise: float = 0.5) -> Features:
    """Return three images of each identity around its own direction, under three cameras."""
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


def declared_features(subject: Subject, noise: float = 0.5) -> dict[str, Features]:
    """Return the splits and values that the evaluator declares, and no others."""
    component, params = cast(EvaluatorComponent, subject.component), subject.params
    outputs = declared(component.outputs, params)
    aux, columns = (declared(names, params) for names in (component.aux, component.columns))
    found = {}
    for split in declared(component.splits, params):
        full = features_of(split, noise)
        values = {name: array for name, array in full.values.items() if name in outputs}
        shapes = {name: (len(full), *subject.case.aux.get(name, ())) for name in aux}
        values |= {f"aux.{n}": np.ones(shape, np.float32) for n, shape in shapes.items()}
        found[split] = replace(
            full, values=values, columns=subject.columns(columns, len(full.pids))
        )
    return found


def built(subject: Subject) -> Evaluator:
    """Build the evaluator with the distance that it compares by."""
    component = cast(EvaluatorComponent, subject.component)
    wants = component.distance is not None and component.takes("distance")
    distance = _distance(subject, str(component.distance)) if wants else None
    evaluator: Evaluator = subject.build(distance=distance, postprocess=(), device="cpu")
    return evaluator


def _distance(subject: Subject, name: str) -> NamedPart:
    """Return the evaluator's own distance; another where the catalog has the evaluator alone."""
    from reid_evaluate.distances.distance_matrix import Cosine

    try:
        offer = subject.catalog.offer("distance", name)
    except ReidError:
        return NamedPart(name, {}, Cosine())
    params = offer.component.params()
    return NamedPart(name, params.model_dump(mode="json"), offer.build(params))


def _score(subject: Subject, noise: float = 0.5) -> Scores:
    return built(subject)(declared_features(subject, noise))


# ---- checks -----------------------------------------------------------------------------


def splits_and_outputs_are_declared_in_known_words(subject: Subject) -> None:
    """The core extracts what is declared, and nothing else."""
    component, params = cast(EvaluatorComponent, subject.component), subject.params
    for what, names, known in (
        ("splits", declared(component.splits, params), SPLITS),
        ("outputs", declared(component.outputs, params), OUTPUTS),
    ):
        right = isinstance(names, tuple) and names and set(names) <= set(known)
        expect(right, f"{what}: {names!r}; use a tuple of {', '.join(known)}")


def metrics_are_finite_floats_and_the_primary_one_is_among_them(subject: Subject) -> None:
    """The best model is chosen by it."""
    scores = _score(subject)
    expect(isinstance(scores, Scores), f"it returns a {type(scores).__name__}")
    expect(scores.primary in scores.metrics, f"'{scores.primary}' is no metric")
    for name, value in scores.metrics.items():
        right = isinstance(name, str) and isinstance(value, float) and math.isfinite(value)
        expect(right, f"{name!r} is {value!r}; expected a finite float")


def larger_is_better(subject: Subject) -> None:
    """Features without noise score at least as high as noisy ones."""
    clean, noisy = _score(subject, 0.0), _score(subject, 3.0)
    values = clean.metrics[clean.primary], noisy.metrics[noisy.primary]
    expect(values[0] >= values[1], f"{clean.primary}: {values[0]} clean and {values[1]} noisy")


def protocol_and_card_can_be_written_as_json(subject: Subject) -> None:
    """They are stored with every score."""
    scores = _score(subject)
    for what in ("protocol", "card"):
        value = getattr(scores, what)
        expect(value, f"the {what} is empty: state every choice that can change a number")
        written: Any = json.loads(json.dumps(value, allow_nan=False))
        expect(written == value, f"the {what} is not what JSON makes of it")


def arrays_can_be_saved_without_pickle_and_have_one_row_per_query(subject: Subject) -> None:
    """They are written beside the scores."""
    scores = _score(subject)
    arrays: Mapping[str, Any] = {**scores.per_query, **scores.tables}
    for name, array in arrays.items():
        right = isinstance(array, np.ndarray) and array.dtype != object
        expect(right, f"'{name}' is {type(array).__name__}")
    rows = {name: len(array) for name, array in scores.per_query.items()}
    expect(len(set(rows.values())) <= 1, f"per_query: different numbers of rows: {rows}")


def scores_are_repeatable_and_the_features_are_left_as_they_were(subject: Subject) -> None:
    """Several evaluators share the features."""
    splits, evaluate = declared_features(subject), built(subject)
    first, second = evaluate(splits), evaluate(splits)
    expect(first.metrics == second.metrics, f"{first.metrics} and {second.metrics}")
    expect(first.protocol == second.protocol, "the protocol differs")
    for name, untouched in declared_features(subject).items():
        for key, value in untouched.values.items():
            same = np.array_equal(splits[name].values[key], value)
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
    splits_and_outputs_are_declared_in_known_words,
    metrics_are_finite_floats_and_the_primary_one_is_among_them,
    larger_is_better,
    protocol_and_card_can_be_written_as_json,
    arrays_can_be_saved_without_pickle_and_have_one_row_per_query,
    scores_are_repeatable_and_the_features_are_left_as_they_were,
    the_order_of_the_images_does_not_matter,
)

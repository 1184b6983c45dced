"""Find before a training what would make an evaluation fail after it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np

from reid_core.boundary import PluginError
from reid_core.contracts import CAMID, Classes, Features, Scores
from reid_core.errors import ReidError, name_list
from reid_core.evaluation.build_evaluator import BuiltEvaluator, build_evaluator
from reid_core.evaluation.targets import Targets, class_names
from reid_core.features.extraction import labelled
from reid_core.params.schema import EvaluationEntry

REHEARSED = 200
"""Queries of a rehearsal: enough to know whether a protocol suits the data."""

Blank = Callable[[Iterable[str]], Mapping[str, np.ndarray]]
"""``blank(outputs)`` gives what the model says of one blank image, ``(1, ...)`` by name."""


def check_targets(
    entries: Sequence[EvaluationEntry],
    targets: Targets,
    classes: Classes,
    blank: Blank,
    *,
    has_classifier: bool,
) -> list[str]:
    """Find before the training what would make an evaluation fail after it.

    Every evaluator is rehearsed on the real identities, cameras and columns with what the model
    says of a blank image; steps of post-processing are left out.

    Returns:
        The primary metric of every evaluator.

    Raises:
        ReidError: A split is empty, the model or the images lack what an evaluator reads, the
            evaluator refuses these images, e.g. because no query has a match, or what it or its
            distance returns cannot be used.
    """
    first = next(iter(targets.entries))
    scored = list(dict.fromkeys(entry.target or first for entry in entries))
    primaries = []
    for place, entry in enumerate(entries):
        evaluator = build_evaluator(entry)
        name = entry.target or first
        statistics = targets.store(name).index.statistics()
        for split in evaluator.splits:
            if split not in statistics:
                raise ReidError(
                    f"evaluation.{place}: '{evaluator.name}' needs images in split '{split}' of "
                    f"target '{name}', which has: {', '.join(statistics)}"
                )
        if "logits" in evaluator.outputs and not has_classifier:
            raise ReidError(
                f"evaluation.{place}: '{evaluator.name}' needs logits, and this model has no "
                "classifier; add an ID loss such as 'softmax'"
            )
        # Steps work on what the vectors say; those of a rehearsal say nothing.
        plain = build_evaluator(entry.model_copy(update={"postprocess": []}))
        with _said_of(f"evaluation.{place}: '{plain.name}'"):
            row = blank(sorted(plain.outputs))
            _check_columns(plain, targets, name, scored)
        primaries.append(_rehearse(plain, targets, name, classes, row).primary)
    return primaries


@contextmanager
def _said_of(who: str) -> Iterator[None]:
    """Put before a message whom it is about; a fault of a plugin is about that."""
    try:
        yield
    except PluginError:
        raise
    except ReidError as error:
        raise ReidError(f"{who}: {error}") from None


def _check_columns(
    evaluator: BuiltEvaluator, targets: Targets, name: str, scored: Iterable[str]
) -> None:
    """Raise ``ReidError`` if a target lacks a column that is read; it says who has it."""

    def columns(target: str) -> set[str]:
        return {CAMID, *targets.store(target).index.columns}

    if missing := sorted(evaluator.columns - columns(name)):
        having = [target for target in scored if missing[0] in columns(target)]
        raise ReidError(
            f"target '{name}' has no column '{missing[0]}' (columns: {name_list(columns(name))}; "
            f"scored targets that have it: {name_list(having)})"
        )


def _rehearse(
    evaluator: BuiltEvaluator,
    targets: Targets,
    name: str,
    classes: Classes,
    row: Mapping[str, np.ndarray],
) -> Scores:
    """Run an evaluator on real labels, all with the values of one row.

    Raises:
        ReidError: The evaluator refuses these images, or a plugin is wrong.
    """

    def splits(most: int | None) -> dict[str, Features]:
        columns = evaluator.columns
        return {s: _alike(targets, name, s, row, columns, classes, most) for s in evaluator.splits}

    try:
        return evaluator.score(splits(REHEARSED), name)
    except PluginError:
        raise
    except ReidError:
        # A few images may by chance have no match; only all of them are a reason to stop.
        return evaluator.score(splits(None), name)


def _alike(
    targets: Targets,
    name: str,
    split: str,
    row: Mapping[str, np.ndarray],
    columns: Iterable[str],
    classes: Classes,
    most: int | None,
) -> Features:
    """Return a split's real labels with the values of one row; of queries at most ``most``."""
    store = targets.store(name)
    at = store.index.positions(split)
    if most is not None and split == "query" and len(at) > most:
        at = at[np.linspace(0, len(at) - 1, most).astype(np.int64)]
    values = {key: np.repeat(array, len(at), axis=0) for key, array in row.items()}
    return labelled(
        store,
        split,
        values,
        classes=class_names(classes, targets.entries[name].label),
        meta=targets.meta(name),
        at=at,
        columns=columns,
    )

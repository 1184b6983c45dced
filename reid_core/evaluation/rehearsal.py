"""Find before a training what would make an evaluation fail after it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from reid_core.contracts import Classes, Features
from reid_core.errors import ReidError
from reid_core.evaluation.build_evaluator import BuiltEvaluator, build_evaluator
from reid_core.evaluation.targets import Targets, class_names
from reid_core.features.extraction import labelled
from reid_core.params.schema import EvaluationEntry

REHEARSED = 200
"""Queries of a rehearsal: enough to know whether a protocol suits the data."""


def check_targets(
    entries: Sequence[EvaluationEntry],
    targets: Targets,
    classes: Classes,
    *,
    has_classifier: bool,
) -> None:
    """Find before the training what would make an evaluation fail after it.

    Every evaluator is rehearsed on the real identities and cameras with vectors of zeros; not
    one that reads ``aux``, whose shapes only the heads know.

    Raises:
        ReidError: A split is empty, the model gives no logits where an evaluator needs them,
            or the evaluator refuses these images, e.g. because no query has a match.
    """
    for place, entry in enumerate(entries):
        evaluator = build_evaluator(entry)
        name = entry.target or next(iter(targets.entries))
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
        if not any(name.startswith("aux.") for name in evaluator.outputs):
            # Steps work on what the vectors say; those of a rehearsal say nothing.
            plain = entry.model_copy(update={"postprocess": []})
            _rehearse(build_evaluator(plain), targets, name, classes)


def _rehearse(evaluator: BuiltEvaluator, targets: Targets, name: str, classes: Classes) -> None:
    """Run an evaluator on real labels with vectors of zeros.

    Raises:
        ReidError: The evaluator refuses these images.
    """

    def splits(most: int | None) -> dict[str, Features]:
        outputs = sorted(evaluator.outputs)
        return {s: _blank(targets, name, s, outputs, classes, most) for s in evaluator.splits}

    try:
        evaluator.score(splits(REHEARSED))
    except ReidError:
        # A few images may by chance have no match; only all of them are a reason to stop.
        evaluator.score(splits(None))


def _blank(
    targets: Targets,
    name: str,
    split: str,
    outputs: Sequence[str],
    classes: Classes,
    most: int | None,
) -> Features:
    """Return a split's real labels with vectors of zeros; of queries at most ``most``."""
    store = targets.store(name)
    count = len(store.index.positions(split))
    width = {"logits": max(1, len(classes))}
    values = {key: np.zeros((count, width.get(key, 1)), np.float32) for key in outputs}
    names = class_names(classes, targets.entries[name].label)
    features = labelled(store, split, values, classes=names, meta=targets.meta(name))
    if most is None or split != "query" or count <= most:
        return features
    return features.rows(np.linspace(0, count - 1, most).astype(np.int64))

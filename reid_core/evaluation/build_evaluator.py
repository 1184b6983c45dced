"""An entry of the evaluation list with its distance and post-processing, ready to run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from reid_core.component import declared
from reid_core.contracts import Features, NamedPart, Scores
from reid_core.params.entries import Entry
from reid_core.params.schema import EvaluationEntry


@dataclass(frozen=True)
class BuiltEvaluator:
    """An evaluator that has been built.

    Attributes:
        name: Name of its component.
        splits: Splits of the target that it reads.
        outputs: Arrays per image that it reads.
        score: The evaluation.
    """

    name: str
    splits: tuple[str, ...]
    outputs: frozenset[str]
    score: Callable[[Mapping[str, Features]], Scores]


def build_evaluator(entry: EvaluationEntry, device: str = "cpu") -> BuiltEvaluator:
    """Build what an entry names.

    Args:
        entry: Evaluator, distance and steps, all checked.
        device: Where the evaluator may work, e.g. ``"cuda:0"``.

    Returns:
        The evaluator, and all that it and its parts read.
    """
    component = entry.component
    distance = entry.distance and _built(entry.distance)
    steps = tuple(_built(step, step.component.splits) for step in entry.postprocess)
    own_splits = declared(component.splits, entry.params)
    splits = dict.fromkeys((*own_splits, *(s for step in steps for s in step.splits)))
    aux = set(declared(component.aux, entry.params))
    if entry.distance:
        aux.update(declared(entry.distance.component.aux, entry.distance.params))
    outputs = {*declared(component.outputs, entry.params), *(f"aux.{name}" for name in aux)}
    return BuiltEvaluator(
        name=component.name,
        splits=tuple(splits),
        outputs=frozenset(outputs),
        score=entry.build(distance=distance, postprocess=steps, device=device),
    )


def _built(part: Entry[Any], splits: tuple[str, ...] = ()) -> NamedPart:
    """Build a distance or a step."""
    return NamedPart(part.bare_name, part.params.model_dump(mode="json"), part.build(), splits)

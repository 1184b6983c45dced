"""An entry of the evaluation list with its distance and post-processing, ready to run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast

from reid_core.catalog import Catalog
from reid_core.component import DistanceComponent, EvaluatorComponent, PostprocessComponent
from reid_core.contracts import Features, NamedPart, Scores
from reid_core.params.schema import Entry, EvaluationEntry
from reid_core.params.validation import build


@dataclass(frozen=True)
class Evaluator:
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


def build_evaluator(entry: EvaluationEntry, catalog: Catalog, device: str = "cpu") -> Evaluator:
    """Build what an entry names.

    Args:
        entry: Evaluator, distance and steps, all checked.
        catalog: Offers them.
        device: Where the evaluator may work, e.g. ``"cuda:0"``.

    Returns:
        The evaluator, and all that it and its parts read.
    """
    component = cast(EvaluatorComponent, catalog.component("evaluator", entry.name))
    distance = entry.distance and _named("distance", entry.distance, catalog)
    steps = tuple(_named("postprocess", step, catalog) for step in entry.postprocess)
    splits = dict.fromkeys((*component.splits, *(s for step in steps for s in step.splits)))
    outputs = set(component.outputs)
    if component.output_param:
        outputs = {entry.params[component.output_param]}
    if entry.distance and _distance(entry.distance, catalog).aux:
        outputs.add("aux")
    return Evaluator(
        name=component.name,
        splits=tuple(splits),
        outputs=frozenset(outputs),
        score=build(
            catalog, "evaluator", entry, distance=distance, postprocess=steps, device=device
        ),
    )


def _named(kind: str, entry: Entry, catalog: Catalog) -> NamedPart:
    """Build a distance or a step."""
    component = catalog.component(kind, entry.name)
    splits = component.splits if isinstance(component, PostprocessComponent) else ()
    return NamedPart(component.name, entry.params, build(catalog, kind, entry), splits)


def _distance(entry: Entry, catalog: Catalog) -> DistanceComponent:
    return cast(DistanceComponent, catalog.component("distance", entry.name))

"""An entry of the evaluation list with its distance and post-processing, ready to run."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from reid_core.boundary import Origin
from reid_core.contracts import SPLITS, Evaluator, Features, NamedPart, Scores
from reid_core.declared_values import Declared
from reid_core.errors import ReidError, name_list
from reid_core.evaluation.checked_parts import CheckedDistance, checked_step
from reid_core.evaluation.score_checks import checked_scores
from reid_core.evaluation.split_warnings import camera_warnings, split_warnings, with_warnings
from reid_core.params.entries import DistanceEntry, PostprocessEntry
from reid_core.params.schema import EvaluationEntry

if TYPE_CHECKING:
    from reid_core.contracts import Distance, Postprocess

OUTPUTS = ("embedding", "feature", "logits")
"""Arrays per image that every model may give."""

AUX = "aux."
"""Beginning of the names of the heads' values among the outputs."""


@dataclass(frozen=True)
class BuiltEvaluator:
    """An evaluator that has been built.

    Attributes:
        name: Name of its component.
        origin: Where that comes from.
        splits: Splits of the target that it reads, those of its steps included.
        outputs: Arrays per image that it and its distance read: ``"embedding"``, ``"feature"``,
            ``"logits"``, ``"aux.<name>"``.
        columns: Columns of the images that they read.
        cameras: Splits whose images have a match only under another known camera.
        distance: What it compares images by; None if it compares none.
        evaluator: What the component has built.
    """

    name: str
    origin: Origin
    splits: tuple[str, ...]
    outputs: frozenset[str]
    columns: frozenset[str]
    cameras: tuple[str, ...]
    distance: NamedPart[Distance] | None
    evaluator: Evaluator

    def score(self, splits: Mapping[str, Features], target: str) -> Scores:
        """Score the splits of a target; see ``Evaluator``.

        Raises:
            ReidError: They lack what the evaluator reads or cannot be scored, or the evaluator
                failed or returned what cannot be used.
        """
        for split, features in splits.items():
            self._check(split, features)
        place = f"on target '{target}'"
        handed = {split: self._handed(features) for split, features in splits.items()}
        before = checksums(handed)
        with self.origin.calling(place):
            found = self.evaluator(handed)
        after = checksums(handed)
        if changed := [what for what, checksum in before.items() if after.get(what) != checksum]:
            raise self.origin.fault(
                f"changed {changed[0]} that it was given in place, which other evaluators read; "
                "expected new arrays",
                place,
            )
        scores = checked_scores(found, splits, self.origin, place)
        return with_warnings(scores, self.label_warnings(splits))

    def label_warnings(self, splits: Mapping[str, Features]) -> list[str]:
        """Return what contradicts itself, or is not known, in the labels that it scores by."""
        return [*split_warnings(splits), *camera_warnings(splits, self.cameras)]

    def _handed(self, features: Features) -> Features:
        """Return the arrays and the columns that are declared: the same wherever they come from."""
        kind = "EvaluatorComponent"
        return replace(
            features,
            values=Declared(features.values, sorted(self.outputs), "outputs", kind),
            columns=Declared(features.columns, sorted(self.columns), "columns", kind),
        )

    def _check(self, split: str, features: Features) -> None:
        """Refuse features without an array that is read.

        Raises:
            ReidError: One is missing; the message names split and data set and what there is.
        """
        for kind, wanted, there in (
            ("output", self.outputs, features.values),
            ("column", self.columns, features.columns),
        ):
            if missing := sorted(wanted - there.keys()):
                source = features.meta.get("dataset", features.meta.get("file"))
                raise ReidError(
                    f"{self.name}: the {split} split{f' of {source}' if source else ''} has no "
                    f"{kind} '{missing[0]}'; it has {name_list(there)}"
                )


def checksums(splits: Mapping[str, Features]) -> dict[str, int]:
    """Return a checksum of every array that an evaluator is given, by what messages call it."""
    found = {}
    for split, features in splits.items():
        names = ("pids", "camids", "names", "junk", "distractor")
        arrays = {name: getattr(features, name) for name in names}
        arrays |= {f"'{name}'": array for name, array in features.values.items()}
        arrays |= {f"column '{name}'": array for name, array in features.columns.items()}
        for name, array in arrays.items():
            numbers = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
            found[f"the {split}'s {name}"] = zlib.crc32(numbers.data)
    return found


def build_evaluator(entry: EvaluationEntry, device: str = "cpu") -> BuiltEvaluator:
    """Build what an entry names.

    Args:
        entry: Evaluator, distance and steps, all checked.
        device: Where the evaluator may work, e.g. ``"cuda:0"``.

    Returns:
        The evaluator, and all that it and its parts read.

    Raises:
        ReidError: A part cannot be built or declares what it must not.
    """
    component, origin = entry.component, entry.origin
    distance = built_distance(entry.distance) if entry.distance else None
    if distance is None and component.takes("distance"):
        raise origin.fault("asks for a distance, and its component names none that is its default")
    steps = tuple(built_step(step) for step in entry.postprocess)
    splits, outputs = entry.names("splits", SPLITS), entry.names("outputs", OUTPUTS)
    aux = entry.names("aux") + (distance.aux if distance else ())
    columns = entry.names("columns") + (distance.columns if distance else ())
    evaluator = entry.build(distance=distance, postprocess=steps, device=device)
    if not callable(evaluator):
        raise origin.fault(f"built a {type(evaluator).__name__}; expected an Evaluator")
    return BuiltEvaluator(
        name=component.name,
        origin=origin,
        splits=tuple(dict.fromkeys((*splits, *(s for step in steps for s in step.splits)))),
        outputs=frozenset({*outputs, *(f"{AUX}{name}" for name in aux)}),
        columns=frozenset(columns),
        cameras=entry.names("cameras", splits),
        distance=distance,
        evaluator=evaluator,
    )


def built_distance(distance: DistanceEntry) -> NamedPart[Distance]:
    """Build a distance; what it gives is looked at."""
    return NamedPart(
        distance.bare_name,
        distance.params.model_dump(mode="json"),
        CheckedDistance(distance.build(), distance.origin),
        aux=distance.names("aux"),
        columns=distance.names("columns"),
    )


def built_step(step: PostprocessEntry) -> NamedPart[Postprocess]:
    """Build a step of post-processing."""
    component = step.component
    return NamedPart(
        step.bare_name,
        step.params.model_dump(mode="json"),
        checked_step(step.build(), step.origin, component.stage),
        splits=component.splits,
    )

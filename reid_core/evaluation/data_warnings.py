"""What should be known of the data before a training and beside every score."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

from reid_core.console import warn
from reid_core.errors import counted
from reid_core.evaluation.build_evaluator import BuiltEvaluator, build_evaluator
from reid_core.evaluation.source_warnings import source_warnings
from reid_core.evaluation.split_warnings import such_as
from reid_core.evaluation.targets import Targets
from reid_core.evaluation.trained_on import TrainedOn
from reid_core.features.extraction import labelled
from reid_core.params.schema import EvaluationEntry
from reid_core.storage.recorded_data import RecordedData
from reid_core.storage.store import Store


class DataWarnings:
    """The warnings of a run's data; each is found once."""

    def __init__(
        self, targets: Targets, trained: TrainedOn, recorded: RecordedData | None = None
    ) -> None:
        """Keep what is compared.

        Args:
            targets: What is scored.
            trained: What the network was trained on.
            recorded: The data of a run that is scored after its training, as it was started.
        """
        self.targets, self.trained = targets, trained
        self.recorded = recorded or RecordedData()
        self._found: dict[tuple[str, tuple[str, ...], bool], list[str]] = {}

    def of_scores(self, target: str, evaluator: BuiltEvaluator) -> list[str]:
        """Return what the card of an evaluator's scores says beside the labels it was given."""
        # Logits are of the identities of the training: those are right in its target.
        persons = "logits" not in evaluator.outputs
        key = (target, evaluator.splits, persons)
        if key not in self._found:
            entry, store = self.targets.entries[target], self.targets.store(target)
            overlap = self.trained.overlap(entry, store, evaluator.splits, persons=persons)
            other = self._other_content(target, store)
            self._found[key] = [*overlap, *other, *packed_warnings(entry.label, store)]
        return [*self._found[key], *self._of_training]

    def _other_content(self, target: str, store: Store) -> Iterator[str]:
        """Yield that a target is not what the run called so when it was trained."""
        for found in self.recorded.datasets:
            if found.record == target and found.content_hash != store.content_hash:
                yield (
                    f"these are not the images that the run knew as '{target}': their content is "
                    f"{store.content_hash[:16]}, and was {found.content_hash[:16]}"
                )

    @cached_property
    def _of_training(self) -> list[str]:
        """Return the warnings of what is trained on."""
        parts = self.trained.parts[: self.trained.sources]
        packed = [line for p in parts for line in packed_warnings(p.entry.label, p.images.store)]
        return [*source_warnings(self.trained), *packed]

    def announce(self, entries: Sequence[EvaluationEntry]) -> None:
        """Print every warning once, before anything is trained or scored.

        What has been said already, because a dataset was packed just now, is not said again.
        """
        packed = self.targets.stores.packed
        said = [line for label, store in packed.items() for line in packed_warnings(label, store)]
        for line in dict.fromkeys(self._lines(entries)):
            if not line.endswith(tuple(said)):
                warn(line)

    def _lines(self, entries: Sequence[EvaluationEntry]) -> Iterator[str]:
        yield from self._of_training
        first = next(iter(self.targets.entries))
        for entry in entries:
            target, evaluator = entry.target or first, build_evaluator(entry)
            store = self.targets.store(target)
            splits = {name: labelled(store, name, {}, meta={}) for name in evaluator.splits}
            for line in [*evaluator.label_warnings(splits), *self.of_scores(target, evaluator)]:
                yield line if line in self._of_training else f"target '{target}': {line}"


def packed_warnings(label: str, store: Store) -> Iterator[str]:
    """Yield what was said when a dataset was packed: what was left out, and what is doubtful."""
    skipped: Mapping[str, Any] = store.manifest.get("skipped") or {}
    if count := skipped.get("count"):
        files = counted(count, f"file of '{label}' was", f"files of '{label}' were")
        unreadable = skipped.get("unreadable")
        images = counted(unreadable, "of them an image", "of them images") if unreadable else ""
        yield (
            f"{files} left out when it was packed {such_as(skipped.get('names', []))}"
            + (f", {images} that cannot be read" if images else "")
        )
    for line in store.manifest.get("warnings") or []:
        yield f"'{label}': {line}"

"""The datasets that a model is scored on, and where the features of their images come from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from reid_core.contracts import Classes, Features
from reid_core.evaluation.run_evaluators import Extract
from reid_core.features import color_histogram
from reid_core.features.extraction import ModelUnderTest, extract, labelled
from reid_core.params.schema import DatasetEntry, RunParams
from reid_core.storage.dataset_stores import Stores
from reid_core.storage.store import Store


@dataclass(frozen=True)
class Targets:
    """The datasets to score on, by name, packed when first used."""

    entries: dict[str, DatasetEntry]
    stores: Stores

    def store(self, name: str) -> Store:
        """Return the open store of a target."""
        return self.stores.open(self.entries[name])

    def meta(self, name: str) -> dict[str, Any]:
        """Return what the protocol card says of a target's data."""
        manifest = self.store(name).manifest
        return {
            "dataset": manifest["source"]["name"],
            "content_hash": manifest["content_hash"][:16],
        }

    def features(
        self,
        model: ModelUnderTest,
        target: str,
        split: str,
        outputs: frozenset[str],
        columns: frozenset[str] = frozenset(),
        at: np.ndarray | None = None,
    ) -> Features:
        """Return what a model says of a split, or of its images at some positions."""
        return extract(
            model,
            self.store(target),
            split,
            outputs,
            classes=class_names(model.classes, self.entries[target].label),
            meta=self.meta(target),
            at=at,
            label=self.entries[target].label,
            columns=columns,
        )

    def extractor(self, model: ModelUnderTest) -> Extract:
        """Return the function that evaluators get their features from."""
        return partial(self.features, model)

    def histogram_extractor(self) -> Extract:
        """Return an extractor of colour histograms, the baseline without a network."""

        def run(
            target: str, split: str, outputs: frozenset[str], columns: frozenset[str]
        ) -> Features:
            store = self.store(target)
            values = dict.fromkeys(
                ("embedding", "feature"), color_histogram.histogram_features(store, split)
            )
            meta = {**self.meta(target), "model": "colour histogram"}
            return labelled(store, split, values, meta=meta, columns=columns)

        return run


def target_entries(params: RunParams) -> dict[str, DatasetEntry]:
    """Return the targets of a run; without any, the train datasets are the targets."""
    return params.data.targets or {entry.label: entry for entry in params.data.train}


def class_names(classes: Classes, label: str) -> tuple[str, ...]:
    """Spell classes as a target spells its pids; those of other datasets get a prefix."""
    single = len({dataset for dataset, _ in classes}) == 1
    return tuple(
        pid if single or dataset == label else f"{dataset}/{pid}" for dataset, pid in classes
    )

"""The datasets that a model is scored on, and where the features of their images come from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from reid_core.contracts import Features
from reid_core.data.dataset_stores import Stores
from reid_core.data.images import Pipeline
from reid_core.data.store import Store
from reid_core.errors import ReidError
from reid_core.evaluation.build_evaluator import Evaluator, build_evaluator
from reid_core.evaluation.run_evaluators import Extract
from reid_core.features import color_histogram
from reid_core.features.extraction import extract, labelled
from reid_core.params.schema import DatasetEntry, EvaluationEntry, ExtractionParams, RunParams

Classes = tuple[tuple[str, str], ...]
"""(dataset, pid) of each label."""

REHEARSED = 200
"""Queries of a rehearsal: enough to know whether a protocol suits the data."""


@dataclass(frozen=True)
class ModelUnderTest:
    """A model with all that extraction needs beside the images.

    Attributes:
        module: Maps ``(B, 3, H, W)`` to ``ModelOutput``.
        pipeline: Preprocessing.
        extraction: Test-time averaging.
        classes: (dataset, pid) of each logit.
        device: Where the module is.
        batch_size: Images per batch.
        workers: Loader processes.
        name: For the protocol card.
    """

    module: nn.Module
    pipeline: Pipeline
    extraction: ExtractionParams
    classes: Classes
    device: torch.device
    batch_size: int
    workers: int
    name: str


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

    def blank(
        self, name: str, split: str, outputs: Sequence[str], classes: Classes, most: int | None
    ) -> Features:
        """Return a split's real labels with vectors of zeros; of queries at most ``most``."""
        store = self.store(name)
        count = len(store.index.positions(split))
        width = {"logits": max(1, len(classes))}
        values = {key: np.zeros((count, width.get(key, 1)), np.float32) for key in outputs}
        names = class_names(classes, self.entries[name].label)
        features = labelled(store, split, values, classes=names, meta=self.meta(name))
        if most is None or split != "query" or count <= most:
            return features
        return features.rows(np.linspace(0, count - 1, most).astype(np.int64))

    def features(
        self,
        model: ModelUnderTest,
        target: str,
        split: str,
        outputs: frozenset[str],
        at: np.ndarray | None = None,
    ) -> Features:
        """Return what a model says of a split, or of its images at some positions."""
        return extract(
            model.module,
            self.store(target),
            split,
            model.pipeline,
            extraction=model.extraction,
            outputs=outputs,
            classes=class_names(model.classes, self.entries[target].label),
            meta={**self.meta(target), "model": model.name},
            device=model.device,
            batch_size=model.batch_size,
            workers=model.workers,
            at=at,
        )

    def extractor(self, model: ModelUnderTest) -> Extract:
        """Return the function that evaluators get their features from."""
        return partial(self.features, model)

    def histogram_extractor(self) -> Extract:
        """Return an extractor of colour histograms, the baseline without a network."""

        def run(target: str, split: str, outputs: frozenset[str]) -> Features:
            store = self.store(target)
            values = dict.fromkeys(
                ("embedding", "feature"), color_histogram.histogram_features(store, split)
            )
            meta = {**self.meta(target), "model": "colour histogram"}
            return labelled(store, split, values, meta=meta)

        return run


def target_entries(params: RunParams) -> dict[str, DatasetEntry]:
    """Return the targets of a run; without any, the train datasets are the targets."""
    return params.data.targets or {entry.label: entry for entry in params.data.train}


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
        if "aux" not in evaluator.outputs:
            # Steps work on what the vectors say; those of a rehearsal say nothing.
            plain = entry.model_copy(update={"postprocess": []})
            _rehearse(build_evaluator(plain), targets, name, classes)


def _rehearse(evaluator: Evaluator, targets: Targets, name: str, classes: Classes) -> None:
    """Run an evaluator on real labels with vectors of zeros.

    Raises:
        ReidError: The evaluator refuses these images.
    """

    def splits(most: int | None) -> dict[str, Features]:
        outputs = sorted(evaluator.outputs)
        return {s: targets.blank(name, s, outputs, classes, most) for s in evaluator.splits}

    try:
        evaluator.score(splits(REHEARSED))
    except ReidError:
        # A few images may by chance have no match; only all of them are a reason to stop.
        evaluator.score(splits(None))


def class_names(classes: Classes, label: str) -> tuple[str, ...]:
    """Spell classes as a target spells its pids; those of other datasets get a prefix."""
    single = len({dataset for dataset, _ in classes}) == 1
    return tuple(
        pid if single or dataset == label else f"{dataset}/{pid}" for dataset, pid in classes
    )

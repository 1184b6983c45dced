"""Score a model under every evaluation of the params; baselines and pictures likewise."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from reid_core import baselines
from reid_core.assembly import Parts
from reid_core.catalog import Catalog
from reid_core.component import AugmentationComponent, EvaluatorComponent
from reid_core.contracts import Features
from reid_core.datasets import Stores
from reid_core.errors import ReidError
from reid_core.evaluation import Evaluated, Extract, evaluate
from reid_core.extraction import extract, labelled
from reid_core.images import Pipeline
from reid_core.params import without_paths
from reid_core.schema import DatasetEntry, Entry, EvaluationEntry, RunParams
from reid_core.store import Store


@dataclass(frozen=True)
class ModelUnderTest:
    """A model with all that extraction needs beside the images.

    Attributes:
        module: Maps ``(B, 3, H, W)`` to ``ModelOutput``.
        pipeline: Preprocessing.
        classes: (dataset, pid) of each logit.
        device: Where the module is.
        batch_size: Images per batch.
        workers: Loader processes.
        name: For the protocol card.
    """

    module: nn.Module
    pipeline: Pipeline
    classes: tuple[tuple[str, str], ...]
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

    def extractor(self, model: ModelUnderTest) -> Extract:
        """Return the function that evaluators get their features from."""

        def run(target: str, split: str, outputs: frozenset[str]) -> Features:
            return extract(
                model.module,
                self.store(target),
                split,
                model.pipeline,
                outputs=outputs,
                classes=class_names(model.classes, self.entries[target].label),
                meta={**self.meta(target), "model": model.name},
                device=model.device,
                batch_size=model.batch_size,
                workers=model.workers,
            )

        return run

    def histogram_extractor(self) -> Extract:
        """Return an extractor of colour histograms, the baseline without a network."""

        def run(target: str, split: str, outputs: frozenset[str]) -> Features:
            store = self.store(target)
            values = dict.fromkeys(
                ("embedding", "feature"), baselines.histogram_features(store, split)
            )
            meta = {**self.meta(target), "model": "colour histogram"}
            return labelled(store, split, values, meta=meta)

        return run

    def pictures(self, results: list[Evaluated], folder: Path) -> Iterator[Path]:
        """Draw the ranked lists of every evaluation that ranks."""
        from reid_core.pictures.ranked_lists import draw_ranked_lists

        for result in results:
            per_query = result.scores.per_query
            if "top_indices" not in per_query:
                continue
            store = self.store(result.target)
            picture = folder / f"ranked-{result.name}-{result.target}.png"
            draw_ranked_lists(
                per_query,
                _reader(store, "query"),
                _reader(store, "gallery"),
                picture,
                title=f"{result.name} on {result.target}",
            )
            yield picture


class Scorer:
    """The evaluations of a training run."""

    def __init__(
        self,
        params: RunParams,
        catalog: Catalog,
        stores: Stores,
        parts: Parts,
        device: torch.device,
    ) -> None:
        """Open every target that an evaluation uses, so that a missing one is found now."""
        self.params, self.catalog, self.parts = params, catalog, parts
        self.targets = Targets(target_entries(params), stores)
        self.pipeline = Pipeline(catalog, params.augmentation, training=False)
        self.model = ModelUnderTest(
            module=parts.module.model,
            pipeline=self.pipeline,
            classes=parts.classes,
            device=device,
            batch_size=params.data.batch_size,
            workers=params.data.workers,
            name=params.backbone.name,
        )
        self.last: list[Evaluated] = []
        check_targets(params.evaluation, catalog, self.targets)

    def scores(self) -> list[Evaluated]:
        """Run every evaluation on the model as it is now."""
        self.last = self._run(self.targets.extractor(self.model), self.params.evaluation)
        return self.last

    def baselines(self) -> Iterator[tuple[str, list[Evaluated]]]:
        """Yield the scores of a colour histogram and of the untrained network."""
        ranking = [e for e in self.params.evaluation if "logits" not in self._component(e).outputs]
        if ranking:
            yield "colour histogram", self._run(self.targets.histogram_extractor(), ranking)
        if self.params.evaluation:
            extractor = self.targets.extractor(self.model)
            yield "untrained network", self._run(extractor, self.params.evaluation)

    def pictures(self, directory: Any) -> Iterator[Path]:
        """Draw curves and ranked lists; a run that was resumed at its end scores once more."""
        from reid_core.pictures.curves import draw_curves

        curves = directory.pictures / "curves.png"
        draw_curves(directory.metrics, curves)
        yield curves
        yield from self.targets.pictures(self.last or self.scores(), directory.pictures)

    def data_hashes(self) -> dict[str, str]:
        """Return the content hash of every store in use, by the dataset's name in the run."""
        entries = {e.label: e for e in self.params.data.train} | self.targets.entries
        used = {e.label for e in self.params.data.train} | self._used_targets()
        return {
            name: self.targets.stores.open(entry).manifest["content_hash"]
            for name, entry in entries.items()
            if name in used
        }

    def weights_metadata(self) -> dict[str, Any]:
        """Return what a weights file says of itself: no time and no path, so its bytes repeat."""
        dump = without_paths(self.params.model_dump(mode="json"), self.catalog)
        model = self.parts.module.model
        height, width = self.pipeline.input_size()
        evaluation = self.params.evaluation[0].params if self.params.evaluation else {}
        hidden = ("data", "working_dir", "plugins", "train", "evaluation")
        train = {k: v for k, v in dump["train"].items() if k != "pretrain_snapshot"}
        return {
            "params": {**{k: v for k, v in dump.items() if k not in hidden}, "train": train},
            "preprocessing": {
                "color": "RGB",
                "height": height,
                "width": width,
                "operations": [
                    {"name": entry.bare_name, "params": entry.params}
                    for entry in self.params.augmentation
                    if self._is_preprocessing(entry)
                ],
            },
            "embedding": {
                "dim": model.embedding_dim,
                "branches": [s.name for s in model.branches if s.in_test],
                "output": evaluation.get("output", "embedding"),
                "distance": evaluation.get("distance", "cosine"),
            },
            "classes": [list(c) for c in self.parts.classes],
            "plugins": self.params.plugins,
            "data": {e.label: h for e, h in self._train_hashes()},
        }

    def _train_hashes(self) -> Iterator[tuple[DatasetEntry, str]]:
        for entry in self.params.data.train:
            yield entry, self.targets.stores.open(entry).manifest["content_hash"]

    def _used_targets(self) -> set[str]:
        first = next(iter(self.targets.entries))
        return {e.target or first for e in self.params.evaluation}

    def _is_preprocessing(self, entry: Entry) -> bool:
        component = self.catalog.component("augmentation", entry.name)
        return cast(AugmentationComponent, component).at_test

    def _component(self, entry: EvaluationEntry) -> EvaluatorComponent:
        return cast(EvaluatorComponent, self.catalog.component("evaluator", entry.name))

    def _run(self, extractor: Extract, entries: list[EvaluationEntry]) -> list[Evaluated]:
        return evaluate(entries, self.catalog, list(self.targets.entries), extractor)


def target_entries(params: RunParams) -> dict[str, DatasetEntry]:
    """Return the targets of a run; without any, the train datasets are the targets."""
    return params.data.targets or {entry.label: entry for entry in params.data.train}


def check_targets(entries: list[EvaluationEntry], catalog: Catalog, targets: Targets) -> None:
    """Open every target in use and check that the splits to be scored are there.

    Raises:
        ReidError: A split is empty; the message names target, split and evaluator.
    """
    for entry in entries:
        component = cast(EvaluatorComponent, catalog.component("evaluator", entry.name))
        name = entry.target or next(iter(targets.entries))
        statistics = targets.store(name).index.statistics()
        for split in component.splits:
            if split not in statistics:
                raise ReidError(
                    f"evaluation: '{component.name}' needs images in split '{split}' of target "
                    f"'{name}', which has: {', '.join(statistics)}"
                )


def class_names(classes: tuple[tuple[str, str], ...], label: str) -> tuple[str, ...]:
    """Spell classes as a target spells its pids; those of other datasets get a prefix."""
    single = len({dataset for dataset, _ in classes}) == 1
    return tuple(
        pid if single or dataset == label else f"{dataset}/{pid}" for dataset, pid in classes
    )


def _reader(store: Store, split: str) -> Callable[[int], Any]:
    positions = store.index.positions(split)
    return lambda i: store.image(int(positions[i]))

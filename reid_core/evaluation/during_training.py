"""Score a run's model under every evaluation of its params; baselines and pictures likewise."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import torch

from reid_core.catalog import Catalog
from reid_core.component import AugmentationComponent
from reid_core.data.dataset_stores import Stores
from reid_core.data.images import Pipeline
from reid_core.data.store import Store
from reid_core.evaluation.build_evaluator import build_evaluator
from reid_core.evaluation.run_evaluators import Evaluated, Extract, evaluate, read_scores
from reid_core.evaluation.targets import ModelUnderTest, Targets, check_targets, target_entries
from reid_core.features.test_time_averaging import check_scales
from reid_core.params.schema import DatasetEntry, Entry, EvaluationEntry, RunParams, numbered_names
from reid_core.params.validation import without_paths
from reid_core.run_directory import RunDirectory
from reid_core.training.assembly import Parts

NOT_IN_WEIGHTS = frozenset(
    {
        *("device", "log_every", "checkpoint_every_steps", "baselines", "evaluate_every"),
        "pretrain_snapshot",
    }
)
"""Keys of ``train`` that a weights file leaves out: they do not change weights, or are paths."""


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
        self.pipeline = Pipeline(params.augmentation, training=False)
        self.model = ModelUnderTest(
            module=parts.module.model,
            pipeline=self.pipeline,
            extraction=params.extraction,
            classes=parts.classes,
            device=device,
            batch_size=params.data.batch_size,
            workers=params.data.workers,
            name=params.backbone.name,
        )
        check_targets(
            params.evaluation,
            self.targets,
            parts.classes,
            has_classifier=len(parts.module.model.classifier) > 0,
        )
        if params.evaluation:
            check_scales(self.model.module, self.pipeline.input_size(), params.extraction, device)

    def scores(self) -> list[Evaluated]:
        """Run every evaluation on the model as it is now."""
        return self._run(self.targets.extractor(self.model), self.params.evaluation)

    def baselines(self) -> Iterator[tuple[str, list[Evaluated]]]:
        """Yield the scores of a colour histogram and of the untrained network."""
        ranking = [
            entry
            for entry in self.params.evaluation
            if not {"logits", "aux"} & build_evaluator(entry).outputs
        ]
        if ranking:
            yield "colour histogram", self._run(self.targets.histogram_extractor(), ranking)
        if self.params.evaluation:
            extractor = self.targets.extractor(self.model)
            yield "untrained network", self._run(extractor, self.params.evaluation)

    def pictures(self, directory: RunDirectory) -> Iterator[Path]:
        """Draw the curves, and the ranked lists of the best model's saved scores."""
        from reid_plugins.toolkit.pictures.curves import draw_curves

        curves = directory.pictures / "curves.png"
        draw_curves(directory.metrics, curves)
        yield curves
        for name, entry in zip(
            numbered_names(self.params.evaluation), self.params.evaluation, strict=True
        ):
            target = entry.target or next(iter(self.targets.entries))
            scores = directory.evaluations / f"best-{name}-{target}"
            picture = directory.pictures / f"ranked-{name}-{target}.png"
            yield from draw_ranking(scores, self.targets.store(target), picture)

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
        first = self.params.evaluation[0] if self.params.evaluation else None
        hidden = ("data", "working_dir", "plugins", "train", "evaluation", "extraction")
        train = {k: v for k, v in dump["train"].items() if k not in NOT_IN_WEIGHTS}
        return {
            "params": {**{k: v for k, v in dump.items() if k not in hidden}, "train": train},
            "preprocessing": {
                "color": "RGB",
                "height": height,
                "width": width,
                "operations": [
                    given
                    for given, entry in zip(
                        dump["augmentation"], self.params.augmentation, strict=True
                    )
                    if self._is_preprocessing(entry)
                ],
            },
            "embedding": {
                "dim": model.embedding_dim,
                "branches": [s.name for s in model.branches if s.in_test],
                "output": first.params.get("output", "embedding") if first else "embedding",
                "distance": first.distance.name if first and first.distance else "cosine",
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

    def _run(self, extractor: Extract, entries: list[EvaluationEntry]) -> list[Evaluated]:
        names, device = list(self.targets.entries), str(self.model.device)
        return evaluate(entries, names, extractor, device)


def draw_ranking(scores: Path, store: Store, picture: Path) -> Iterator[Path]:
    """Draw the ranked lists of saved scores, if these scores are of a ranking.

    Args:
        scores: Path of the saved scores without its ending.
        store: Where the images are.
        picture: PNG to write.

    Yields:
        The picture's path, when it was drawn.
    """
    from reid_plugins.toolkit.pictures.ranked_lists import draw_ranked_lists

    arrays, facts = read_scores(scores)
    if "top_indices" in arrays:
        title = f"{facts['evaluation']} on {facts['target']}, {facts['model']}"
        draw_ranked_lists(
            arrays, _reader(store, "query"), _reader(store, "gallery"), picture, title=title
        )
        yield picture


def _reader(store: Store, split: str) -> Callable[[int], Any]:
    positions = store.index.positions(split)
    return lambda i: store.image(int(positions[i]))

"""Score a run's model under every evaluation of its params; baselines likewise."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from reid_core.console import say
from reid_core.contracts import Features
from reid_core.data.transforms import Pipeline
from reid_core.evaluation.build_evaluator import build_evaluator
from reid_core.evaluation.data_warnings import DataWarnings
from reid_core.evaluation.rehearsal import check_targets
from reid_core.evaluation.run_evaluators import Evaluated, Extract, evaluate
from reid_core.evaluation.targets import Targets, class_names, target_entries
from reid_core.evaluation.trained_on import TrainedOn
from reid_core.evaluation.unknown_side import unknown_side_lines
from reid_core.features.averaging import check_scales
from reid_core.features.extraction import ModelUnderTest, blank_values, extract
from reid_core.features.joining import joined
from reid_core.network.trial_runs import not_finite
from reid_core.params.schema import EvaluationEntry
from reid_core.storage.dataset_stores import Stores
from reid_core.storage.recorded_data import train_record
from reid_core.training.state import Training


class Scorer:
    """The evaluations of a training run."""

    def __init__(self, training: Training, stores: Stores) -> None:
        """Open every target that an evaluation uses, so that a missing one is found now."""
        self.training, self.params = training, training.params
        self.targets = Targets(target_entries(self.params), stores)
        self.warnings = DataWarnings(self.targets, TrainedOn.of(self.params, stores.open))
        self.warnings.announce(self.params.evaluation)
        self.primaries = check_targets(
            self.params.evaluation,
            self.targets,
            training.classes,
            partial(blank_values, self.model),
            has_classifier=len(training.module.model.classifier) > 0,
        )
        for line in unknown_side_lines(self.params.evaluation, self.targets, self.model):
            say(line)
        if self.params.evaluation:
            model = self.model
            size = model.pipeline.input_size()
            check_scales(model.module, size, model.extraction, model.device)

    @property
    def model(self) -> ModelUnderTest:
        """Return the network as it is now, with the identities that it knows now."""
        return model_in_training(self.training)

    def features(self, target: str, split: str, outputs: frozenset[str]) -> Features:
        """Return what the network says of a target's split."""
        return self.targets.features(self.model, target, split, outputs)

    def training_features(self, outputs: frozenset[str]) -> Features:
        """Return what the network says of all training images, in the order of ``Batch.index``."""
        images, model = self.training.images, self.model
        parts = [
            extract(
                model,
                store,
                "train",
                outputs,
                classes=class_names(model.classes, label),
                meta={"dataset": label, "content_hash": store.content_hash[:16]},
                at=images.positions[images.sources == source],
            )
            for source, (label, store) in enumerate(images.stores)
        ]
        return joined(parts, [label for label, _ in images.stores])

    def scores(self) -> list[Evaluated]:
        """Run every evaluation on the model as it is now.

        Raises:
            ReidError: As ``evaluate``, or an evaluator has another primary metric than before.
        """
        found = self._run(self.targets.extractor(self.model), self.params.evaluation)
        for entry, now, primary in zip(self.params.evaluation, found, self.primaries, strict=True):
            if now.scores.primary != primary:
                raise entry.origin.fault(
                    f"has the primary metric '{now.scores.primary}', and '{primary}' before; "
                    "expected one, by which models are compared"
                )
        return found

    def baselines(self) -> Iterator[tuple[str, list[Evaluated]]]:
        """Yield the scores of a colour histogram and of the untrained network."""
        ranking = [
            entry
            for entry in self.params.evaluation
            if build_evaluator(entry).outputs <= {"embedding", "feature"}
        ]
        if ranking:
            yield "colour histogram", self._run(self.targets.histogram_extractor(), ranking)
        if self.params.evaluation:
            yield "untrained network", self.scores()

    def data_hashes(self) -> dict[str, str]:
        """Return the content hash of every store in use, by the dataset's name in the run."""
        targets = self.params.data.targets
        hashes = self.training.images.content_hashes()
        train = {train_record(label, targets): found for label, found in hashes.items()}
        first = next(iter(self.targets.entries))
        used = dict.fromkeys(entry.target or first for entry in self.params.evaluation)
        scored = {name: self.targets.store(name).content_hash for name in used if name in targets}
        return {**train, **scored, **self.training.streams.content_hashes()}

    def _run(self, extractor: Extract, entries: Sequence[EvaluationEntry]) -> list[Evaluated]:
        names, device = list(self.targets.entries), str(self.model.device)
        return evaluate(entries, names, extractor, device, self.warnings.of_scores)


def model_in_training(training: Training) -> ModelUnderTest:
    """Return a training's network with what extraction needs beside the images."""
    params = training.params
    return ModelUnderTest(
        module=training.module.model,
        pipeline=Pipeline(params.augmentation, training=False),
        extraction=params.extraction,
        classes=training.classes,
        device=training.device,
        batch_size=params.data.batch_size,
        workers=params.data.workers,
        name=params.backbone.bare_name,
        side_values=training.module.model.side_values,
        not_finite=partial(not_finite, training.module.model),
    )

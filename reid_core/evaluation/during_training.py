"""Score a run's model under every evaluation of its params; baselines likewise."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from reid_core.data.dataset_stores import Stores
from reid_core.data.transforms import Pipeline
from reid_core.evaluation.build_evaluator import build_evaluator
from reid_core.evaluation.rehearsal import check_targets
from reid_core.evaluation.run_evaluators import Evaluated, Extract, evaluate
from reid_core.evaluation.targets import Targets, target_entries
from reid_core.features.averaging import check_scales
from reid_core.features.extraction import ModelUnderTest, blank_values
from reid_core.params.schema import EvaluationEntry
from reid_core.training.loop import Training


class Scorer:
    """The evaluations of a training run."""

    def __init__(self, training: Training, stores: Stores) -> None:
        """Open every target that an evaluation uses, so that a missing one is found now."""
        self.training, self.params = training, training.params
        self.targets = Targets(target_entries(self.params), stores)
        self.model = model_in_training(training)
        check_targets(
            self.params.evaluation,
            self.targets,
            training.classes,
            partial(blank_values, self.model),
            has_classifier=len(training.module.model.classifier) > 0,
        )
        if self.params.evaluation:
            model, size = self.model, self.model.pipeline.input_size()
            check_scales(model.module, size, model.extraction, model.device)

    def scores(self) -> list[Evaluated]:
        """Run every evaluation on the model as it is now."""
        return self._run(self.targets.extractor(self.model), self.params.evaluation)

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
        train = {entry.label: entry for entry in self.params.data.train}
        first = next(iter(self.targets.entries))
        used = train.keys() | {entry.target or first for entry in self.params.evaluation}
        return {
            name: self.targets.stores.open(entry).content_hash
            for name, entry in (train | self.targets.entries).items()
            if name in used
        }

    def _run(self, extractor: Extract, entries: Sequence[EvaluationEntry]) -> list[Evaluated]:
        return evaluate(entries, list(self.targets.entries), extractor, str(self.model.device))


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
    )

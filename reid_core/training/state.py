"""A training in work: what it consists of, and what changes while it goes on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from reid_core.contracts import Classes, Progress, Schedule
from reid_core.data.streams import Streams
from reid_core.data.training_images import TrainingImages
from reid_core.data.training_loader import TrainingLoader
from reid_core.params.schema import RunParams
from reid_core.training.build_module import ModuleBuilder
from reid_core.training.freezing import Freezing
from reid_core.training.module import TrainingModule
from reid_core.training.parameter_groups import GroupSettings, Named
from reid_core.training.steps import StepsOfEpoch

ACCURACY_MEMORY = 0.9
"""Weight of the past in the running mean of the identity accuracy."""

ACCURACY_EVERY = 10
"""Steps between updates of ``Progress.accuracy``: reading it makes a GPU wait."""


@dataclass
class TrainState:
    """What changes while training; the checkpoint holds all of it.

    Attributes:
        epoch: Epoch in work, from 0.
        step: Optimizer steps done.
        position: Steps done in this epoch.
        accuracy: What ``Progress`` shows.
        accuracy_mean: Running mean, 0-d float32 on the device.
        history: (epoch, primary score) of every evaluation so far.
        best: Best score so far; None before the first evaluation.
        unscored: The epoch that has ended is still to be evaluated.
        ended_by: Name of the callback that has ended the training; empty.
    """

    epoch: int = 0
    step: int = 0
    position: int = 0
    accuracy: float = 0.0
    accuracy_mean: Tensor = field(default_factory=lambda: torch.zeros(()))
    history: list[tuple[int, float]] = field(default_factory=list)
    best: float | None = None
    unscored: bool = False
    ended_by: str = ""

    def advance(self, accuracy: Tensor | None) -> None:
        """Count one step and update the running accuracy; None: the step has none."""
        if accuracy is not None:
            past = self.accuracy_mean.to(accuracy.device)
            self.accuracy_mean = (
                accuracy if self.step == 0 else torch.lerp(accuracy, past, ACCURACY_MEMORY)
            )
        self.step += 1
        self.position += 1
        if self.step % ACCURACY_EVERY == 0:
            self.accuracy = float(self.accuracy_mean)

    def end_epoch(self) -> None:
        """Go to the start of the next epoch."""
        self.epoch += 1
        self.position = 0


@dataclass(eq=False)
class Training:
    """A training in work, built from the params; relabelling replaces what identities make.

    Attributes:
        params: Resolved params.
        module: Network and objectives.
        groups: Its parameters by their settings.
        optimizer: Over all of them.
        schedule: ``(progress, history) -> factor``.
        loader: Yields ``Batch`` for the epoch set in ``batches``.
        streams: Further batches of every step.
        batches: Order of the images.
        device: Where the module lives.
        freezing: What stands still in the first epochs.
        images: What is trained on, with the identities of the data sets.
        classes: (dataset, pid) of every label.
        labels: ``(N,)`` int64, the label of every image now; -1 is left out.
        images_per_step: Size of a batch.
        state: Where the training stands.
        builder: Has built the module.
        is_relabelled: The labels are not those of the data sets.
    """

    params: RunParams
    module: TrainingModule
    groups: Mapping[GroupSettings, Sequence[Named]]
    optimizer: torch.optim.Optimizer
    schedule: Schedule
    loader: TrainingLoader
    streams: Streams
    batches: StepsOfEpoch
    device: torch.device
    freezing: Freezing
    images: TrainingImages
    classes: Classes
    labels: np.ndarray
    images_per_step: int
    state: TrainState
    builder: ModuleBuilder
    is_relabelled: bool = False

    def content_hashes(self) -> dict[str, str]:
        """Return the content hash of everything that is trained on, by its name in the run."""
        return self.images.content_hashes() | self.streams.content_hashes()

    def progress(self) -> Progress:
        """Return where the training stands, for the parts."""
        state, train = self.state, self.params.train
        return Progress(
            epoch=state.epoch,
            epochs=train.epochs,
            step=state.step,
            steps_per_epoch=len(self.batches),
            accuracy=state.accuracy,
            seed=train.seed,
        )

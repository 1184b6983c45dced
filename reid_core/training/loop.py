"""One training step as a module, and the loop over an epoch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from reid_core.contracts import (
    Batch,
    Classes,
    Objective,
    Progress,
    Schedule,
    Step,
    Term,
    parts_with,
)
from reid_core.data.epoch_batches import EpochBatches
from reid_core.errors import ReidError, name_list
from reid_core.network.model import ReIDModel
from reid_core.params.schema import RunParams
from reid_core.training.freezing import Freezing
from reid_core.training.parameter_groups import GroupSettings, Named, rates_by_role, set_rates
from reid_core.training.weighted_losses import LossTerm, loss_weight

ACCURACY_MEMORY = 0.9
"""Weight of the past in the running mean of the identity accuracy."""

ACCURACY_EVERY = 10
"""Steps between updates of ``Progress.accuracy``: reading it makes a GPU wait."""


@dataclass(frozen=True)
class StepResult:
    """Outcome of one forward pass; all but the total is detached.

    Attributes:
        total: 0-d, what is minimised.
        losses: Value of each term by its name, 0-d.
        monitors: By ``<term>.<monitor>``; the accuracies are among them, and their mean as
            ``accuracy``.
        accuracy: That mean; None where no term has one.
    """

    total: Tensor
    losses: Mapping[str, Tensor]
    monitors: Mapping[str, Tensor]
    accuracy: Tensor | None = None


class TrainingModule(nn.Module):
    """Model and objectives as one module: the unit that wrappers (DDP, compile) wrap.

    Attributes:
        progress: Set before every step by ``set_progress``.
    """

    def __init__(self, model: ReIDModel, objectives: Sequence[Objective]) -> None:
        """Join a model and built objectives."""
        super().__init__()
        self.model = model
        self.objectives = nn.ModuleList(o for o in objectives if isinstance(o, nn.Module))
        self._objectives = list(objectives)
        self.progress = Progress(epoch=0, epochs=1, step=0, steps_per_epoch=1)

    def set_progress(self, progress: Progress) -> None:
        """Keep the progress for the next step's objectives."""
        self.progress = progress

    def forward(self, batch: Batch) -> StepResult:
        """Run the model and every objective; the total is the weighted sum of their losses."""
        outputs = self.model(batch.images)
        step = Step(batch, self.model, outputs, self.progress)
        results: dict[str, Term] = {}
        for objective in self._objectives:
            named = objective(step)
            if twice := results.keys() & named.keys():
                raise ReidError(f"objective: two objectives give a loss named {name_list(twice)}")
            results |= named
        total = torch.stack([r.weight * r.value for r in results.values()]).sum()
        losses = {name: r.value.detach() for name, r in results.items()}
        accuracies = [r.accuracy.detach() for r in results.values() if r.accuracy is not None]
        mean = torch.stack(accuracies).mean() if accuracies else None
        return StepResult(total, losses, logged_monitors(results, mean), mean)

    def parts(self) -> list[object]:
        """Return every part below this module, plain callables included."""
        modules = [module for module in self.modules() if module is not self]
        plain: list[object] = [o for o in self._objectives if not isinstance(o, nn.Module)]
        for module in modules:
            if isinstance(module, LossTerm):
                plain += [loss for loss in module.losses if not isinstance(loss, nn.Module)]
        return [*modules, *plain]


def logged_monitors(terms: Mapping[str, Term], accuracy: Tensor | None) -> dict[str, Tensor]:
    """Return the monitors of all terms by ``<term>.<monitor>``, and the accuracies beside them.

    Args:
        terms: By name.
        accuracy: The mean of their accuracies, logged as ``accuracy``.

    Raises:
        ReidError: A term has an accuracy and a monitor of that name.
    """
    monitors: dict[str, Tensor] = {}
    for name, term in terms.items():
        if term.accuracy is not None:
            if "accuracy" in term.monitors:
                raise ReidError(
                    f"loss '{name}' gives an accuracy and a monitor named 'accuracy'; give the "
                    "monitor another name"
                )
            monitors[f"{name}.accuracy"] = term.accuracy.detach()
        monitors |= {f"{name}.{key}": value for key, value in term.monitors.items()}
    return monitors if accuracy is None else {**monitors, "accuracy": accuracy}


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
    """

    epoch: int = 0
    step: int = 0
    position: int = 0
    accuracy: float = 0.0
    accuracy_mean: Tensor = field(default_factory=lambda: torch.zeros(()))
    history: list[tuple[int, float]] = field(default_factory=list)
    best: float | None = None
    unscored: bool = False

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


@dataclass(frozen=True, eq=False)
class Training:
    """A training in work, built once from the params.

    Attributes:
        params: Resolved params.
        module: Model and objectives.
        groups: Its parameters by their settings.
        optimizer: Over all of them.
        schedule: ``(progress, history) -> factor``.
        loader: Yields ``Batch`` for the epoch set in ``batches``.
        batches: Order of the images.
        device: Where the module lives.
        freezing: What stands still in the first epochs.
        classes: (dataset, pid) of every label.
        data_hashes: Content hash of each train dataset, by its name in the run.
        images_per_step: Size of a batch.
        state: Where the training stands.
    """

    params: RunParams
    module: TrainingModule
    groups: Mapping[GroupSettings, Sequence[Named]]
    optimizer: torch.optim.Optimizer
    schedule: Schedule
    loader: Iterable[Batch]
    batches: EpochBatches
    device: torch.device
    freezing: Freezing
    classes: Classes
    data_hashes: Mapping[str, str]
    images_per_step: int
    state: TrainState

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


Report = Callable[[Progress, StepResult, Mapping[str, float]], None]
"""Called after each step with (progress before it, result, rates by role)."""


def train_one_epoch(
    training: Training,
    report: Report = lambda *_: None,
    after_step: Callable[[], None] = lambda: None,
) -> None:
    """Train from the present position to the end of the epoch.

    Args:
        training: What is trained; its state moves on.
        report: Called after each step.
        after_step: Called last in each step, also to save; may raise to stop.
    """
    module, optimizer, state = training.module, training.optimizer, training.state
    listeners = parts_with("set_progress", [module, *module.parts()])
    updaters = parts_with("after_step", module.parts())
    training.batches.set(state.epoch, state.position)
    module.train()
    training.freezing.set_epoch(state.epoch)
    for batch in training.loader:
        progress = training.progress()
        for part in listeners:
            part.set_progress(progress)
        set_rates(optimizer, training.schedule(progress, state.history))
        result = module(batch.to(training.device))
        check_trainable(progress, result)
        optimizer.zero_grad(set_to_none=True)
        (loss_weight(progress, training.params.train.loss_warmup) * result.total).backward()
        optimizer.step()
        for part in updaters:
            part.after_step()
        state.advance(result.accuracy)
        report(progress, result, rates_by_role(optimizer))
        after_step()
    state.end_epoch()


def check_trainable(progress: Progress, result: StepResult) -> None:
    """Stop a training in which no gradient reaches anything.

    Raises:
        ReidError: The losses depend on frozen parameters only.
    """
    if not result.total.requires_grad:
        raise ReidError(
            f"train.freeze: the losses ({name_list(result.losses)}) depend on no parameter that is "
            f"trained in epoch {progress.epoch + 1}; leave a part that they use out of "
            "'train.freeze' and 'train.fine_tune'"
        )


def check_finite(progress: Progress, result: StepResult) -> None:
    """Stop a training that has left the numbers.

    Raises:
        ReidError: The total is NaN or infinite; the message lists every loss.
    """
    if not torch.isfinite(result.total):
        values = ", ".join(f"{name} = {float(value):.4g}" for name, value in result.losses.items())
        raise ReidError(
            f"the loss is {float(result.total.detach())} at step {progress.step + 1} "
            f"(epoch {progress.epoch + 1}): {values}. Lower optimizer.lr or lengthen the warm-up; "
            "the last checkpoint is kept"
        )


def check_weights(module: nn.Module, step: int) -> None:
    """Stop before weights that have left the numbers replace good ones on the disk.

    Raises:
        ReidError: A weight or a BN statistic is NaN or infinite.
    """
    for name, tensor in module.state_dict().items():
        if not torch.isfinite(tensor).all():
            raise ReidError(
                f"'{name}' is NaN or infinite after step {step}. Lower optimizer.lr or lengthen "
                "the warm-up; the last checkpoint is kept"
            )

"""The loop over an epoch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from numbers import Real
from typing import Any

import torch
from torch import nn

from reid_core.boundary import TRACEBACK, Origin, is_out_of_memory
from reid_core.compute.faults import computing
from reid_core.console import say
from reid_core.contracts import Batch, History, Progress, Schedule
from reid_core.errors import ReidError, name_list
from reid_core.training.module import StepResult
from reid_core.training.parameter_groups import rates_by_role, set_rates
from reid_core.training.state import Training
from reid_core.training.stray_tensors import stray_tensor
from reid_core.training.term_checks import is_accuracy
from reid_core.training.unused_parameters import unused_parameters
from reid_core.training.weighted_losses import loss_weight

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
    schedule_origin = training.params.schedule.origin
    listeners = methods("set_progress", module.parts())
    updaters = methods("after_step", module.parts())
    training.batches.set(state.epoch, state.position)
    module.train()
    training.freezing.set_epoch(state.epoch)
    training.streams.start(state.step)
    for batch, streams in zip(training.loader, training.streams, strict=False):
        progress = training.progress()
        module.set_progress(progress)
        call_all(listeners, f"at step {state.step + 1}", progress)
        factor = rate_factor(training.schedule, schedule_origin, progress, state.history)
        set_rates(optimizer, factor)
        with computing(f"step {state.step + 1}, {sizes(batch)}"):
            result = module(batch.to(training.device), on_device(streams, training.device))
            check_trainable(progress, result)
            optimizer.zero_grad(set_to_none=True)
            backward(progress, loss_weight(progress, training.params.train.loss_warmup), result)
            if not state.step:
                look_at_first_step(module, progress, result)
            optimizer.step()
        call_all(updaters, f"after step {state.step + 1}")
        state.advance(result.accuracy)
        check_accuracy(progress, result, state.accuracy)
        report(progress, result, rates_by_role(optimizer))
        after_step()
    state.end_epoch()


def look_at_first_step(module: nn.Module, progress: Progress, result: StepResult) -> None:
    """Say what the first step tells of a training: what it does not train, and a loss that is NaN.

    Raises:
        ReidError: As ``check_finite``; or something that is no parameter would be trained.
    """
    check_finite(progress, result)
    if stray := stray_tensor(result.total, module.parameters()):
        raise ReidError(
            f"the losses ({name_list(result.losses)}) depend on {stray} that wants a gradient and "
            "is no parameter, so that it is neither trained nor saved: a backbone, head, loss or "
            "objective of a plugin must make it an nn.Parameter of its nn.Module"
        )
    if line := unused_parameters(module):
        say(line)


def sizes(batch: Batch) -> str:
    """Say how large a batch is."""
    height, width = batch.images.shape[-2:]
    return f"on {len(batch.images)} images of {height} x {width} pixels"


def on_device(
    streams: Mapping[str, tuple[Batch, ...]], device: torch.device
) -> dict[str, tuple[Batch, ...]]:
    """Return the batches of streams on a device."""
    return {name: tuple(view.to(device) for view in views) for name, views in streams.items()}


Method = tuple[Callable[..., object], Origin]


def methods(name: str, parts: Iterable[tuple[object, Origin]]) -> list[Method]:
    """Return a method of every part that defines it, with whose it is."""
    found = [(getattr(part, name, None), origin) for part, origin in parts]
    return [(method, origin) for method, origin in found if callable(method)]


def call_all(found: Iterable[Method], place: str, *arguments: object) -> None:
    """Call methods of plugins."""
    for method, origin in found:
        with origin.calling(place):
            method(*arguments)


def rate_factor(schedule: Schedule, origin: Origin, progress: Progress, history: History) -> float:
    """Return what a schedule says of a step.

    Raises:
        PluginError: It is no finite number of 0 or more.
    """
    place = f"at step {progress.step + 1}"
    with origin.calling(place):
        factor: Any = schedule(progress, list(history))
    is_number = isinstance(factor, Real) and not isinstance(factor, bool)
    if not is_number or not math.isfinite(factor) or factor < 0:
        raise origin.fault(f"gave the factor {factor!r}; expected a number, 0 or larger", place)
    return float(factor)


def backward(progress: Progress, weight: float, result: StepResult) -> None:
    """Compute the gradients of a step's total.

    Args:
        progress: Where the training stands.
        weight: Factor on the total.
        result: Of the step.

    Raises:
        ReidError: Something that plugins have computed has no gradient after all, such as what
            was kept of an earlier step or changed in place.
    """
    try:
        (weight * result.total).backward()  # type: ignore[no-untyped-call]
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise
        whose = name_list({str(origin) for origin in result.origins.values()})
        raise ReidError(
            f"the backward pass failed at step {progress.step + 1}: "
            f"{' '.join(str(error).split())}; what is minimised comes from {whose}, one of which "
            f"may have to be corrected ({TRACEBACK}=1 shows the traceback)"
        ) from error


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
        ReidError: The total is NaN or infinite; the message lists every loss and names the first
            that is at fault.
    """
    if torch.isfinite(result.total):
        return
    values = ", ".join(f"{name} = {float(value):.4g}" for name, value in result.losses.items())
    bad = [name for name, value in result.losses.items() if not torch.isfinite(value)]
    whose = f" ('{bad[0]}' is that of {result.origins[bad[0]]})" if bad else ""
    raise ReidError(
        f"the loss is {float(result.total.detach())} at step {progress.step + 1} "
        f"(epoch {progress.epoch + 1}): {values}{whose}. Lower optimizer.lr or lengthen the "
        "warm-up; the last checkpoint is kept"
    )


def check_accuracy(progress: Progress, result: StepResult, running: float) -> None:
    """Stop a training whose running accuracy, which schedules may follow, is none.

    Args:
        progress: Before the step.
        result: Of the step.
        running: The mean over the last steps, or over the terms of this one.

    Raises:
        PluginError: It is not from 0 to 1; names the term that is at fault.
    """
    if is_accuracy(running):
        return
    monitors = {name: result.monitors.get(f"{name}.accuracy") for name in result.losses}
    values = {name: float(value) for name, value in monitors.items() if value is not None}
    wrong = [name for name, value in values.items() if not is_accuracy(value)]
    name = (wrong or list(values))[0]  # in an earlier step it may have been any of them
    raise result.origins[name].fault(
        f"gave the term '{name}' an accuracy of {values[name]:g} (on average {running:g}); "
        "expected a number from 0 to 1",
        f"at step {progress.step + 1}",
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

"""Losses and schedules tried on made-up input, before there is any image.

It takes a moment and finds what would otherwise end a training at its first step, or change it
in silence at its last.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from reid_core.contracts import BranchSpec, Loss, LossInput, Progress
from reid_core.params.schema import LossEntry, RunParams
from reid_core.training.loop import call_all, methods, rate_factor
from reid_core.training.loss_input import DeclaredInput, given_tensors
from reid_core.training.stray_tensors import leaves, stray_tensor
from reid_core.training.term_checks import check_loss_numbers, check_loss_output
from reid_core.training.weighted_losses import built_loss, planned_losses

IMAGES, PIDS = 8, 4
"""A batch of two images of each person."""


def try_losses(
    params: RunParams, branches: tuple[BranchSpec, ...], aux: Mapping[str, Tensor]
) -> None:
    """Train every loss of the params for two steps on the CPU, with random vectors.

    Args:
        params: Resolved params.
        branches: Of the network.
        aux: What its heads give beside their branches, ``(2, ...)``: shapes and types count.

    Raises:
        ReidError: A loss fails, or returns what its contract does not allow.
    """
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.manual_seed(0)
        values = {n: torch.ones(IMAGES, *v.shape[1:], dtype=v.dtype) for n, v in aux.items()}
        for entry, specs in planned_losses(params, branches):
            # What an extra is, a mask or a text, only the data sets say.
            for spec in () if entry.names("extras") else specs:
                _try_loss(entry, spec, values)


def _try_loss(entry: LossEntry, spec: BranchSpec, aux: Mapping[str, Tensor]) -> None:
    loss = built_loss(entry, spec, PIDS)
    origin, reads = entry.origin, DeclaredInput.of_entry(entry)
    listeners, updaters = (
        methods(name, [(part, origin) for part in _parts(loss)])
        for name in ("set_progress", "after_step")
    )
    made_from: list[Tensor] = []  # of both steps: what keeps a graph is told by its backward pass
    for step in range(2):
        progress = Progress(epoch=0, epochs=1, step=step, steps_per_epoch=2)
        place = f"on {IMAGES} random vectors of branch '{spec.name}'"
        call_all(listeners, f"before a step {place}", progress)
        given = _made_up(
            spec, aux, reads, progress, is_classified="classifier" in entry.component.needs
        )
        with origin.calling(place, given_tensors(given)):
            output = loss(given)
        device = given.features.device
        check_loss_output(output, origin, place, attached=True, device=device)
        check_loss_numbers(output, origin, place)
        inputs = [x for x in (given.features, given.weight) if x is not None]
        own = loss.parameters() if isinstance(loss, nn.Module) else ()
        made_from += [leaf for x in inputs for leaf in leaves(x)]
        if stray := stray_tensor(output.value, [*own, *made_from]):
            raise origin.fault(
                f"computes with {stray} that wants a gradient and is none of its parameters, so "
                "that it is neither trained nor saved; expected an nn.Module with an nn.Parameter",
                place,
            )
        with origin.calling(f"in its backward pass {place}"):
            output.value.backward()  # type: ignore[no-untyped-call]
        gradients = [x.grad for x in inputs if x.grad is not None]
        if not all(torch.isfinite(gradient).all() for gradient in gradients):
            raise origin.fault("gives a gradient that is NaN or infinite", place)
        call_all(updaters, f"after a step {place}")


def _parts(loss: Loss) -> Iterable[object]:
    """Return a loss with all modules below it."""
    return loss.modules() if isinstance(loss, nn.Module) else [loss]


def _made_up(
    spec: BranchSpec,
    aux: Mapping[str, Tensor],
    reads: DeclaredInput,
    progress: Progress,
    *,
    is_classified: bool,
) -> LossInput:
    """Return random vectors of two images of each of some people."""
    # Not leaves, as in a training: torch itself keeps leaves from being changed in place.
    features, weight = (
        torch.randn(count, spec.dim, requires_grad=True).clone() for count in (IMAGES, PIDS)
    )
    features.retain_grad()
    weight.retain_grad()
    pids = torch.arange(IMAGES) % PIDS
    return LossInput(
        features=features,
        pids=pids,
        camids=torch.zeros(IMAGES, dtype=torch.int64),
        progress=progress,
        weight=weight if is_classified else None,
        logits=features @ weight.T if is_classified else None,
        index=torch.arange(IMAGES),
        **reads.of(aux, {name: torch.full((IMAGES,), -1) for name in reads.columns}, {}),
    )


def try_schedule(params: RunParams) -> None:
    """Ask the schedule for the rates of the first and the last step.

    Raises:
        ReidError: It fails, gives no rate, or gives another one when it is asked again.
    """
    schedule, epochs, origin = params.schedule.build(), params.train.epochs, params.schedule.origin
    for epoch in (0, epochs - 1):
        progress = Progress(epoch=epoch, epochs=epochs, step=10 * epoch, steps_per_epoch=10)
        first, again = (rate_factor(schedule, origin, progress, []) for _ in range(2))
        if first != again:
            raise origin.fault(
                f"gave the factors {first} and {again} for the same progress and history; expected "
                "one, so that a resumed run has the same rates"
            )

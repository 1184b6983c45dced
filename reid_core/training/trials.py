"""Losses and schedules tried on made-up input, before there is any image.

It takes a moment and finds what would otherwise end a training at its first step, or change it
in silence at its last.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from reid_core.component import declared
from reid_core.contracts import BranchSpec, LossInput, Progress
from reid_core.params.schema import LossEntry, RunParams
from reid_core.training.loop import rate_factor
from reid_core.training.term_checks import check_loss_output
from reid_core.training.weighted_losses import built_loss, planned_losses

IMAGES, PIDS = 8, 4
"""A batch of two images of each person."""


def try_losses(
    params: RunParams, branches: tuple[BranchSpec, ...], aux: Mapping[str, Tensor]
) -> None:
    """Call every loss of the params once on the CPU, with random vectors.

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
            for spec in () if declared(entry.component.extras, entry.params) else specs:
                _try_loss(entry, spec, values)


def _try_loss(entry: LossEntry, spec: BranchSpec, aux: Mapping[str, Tensor]) -> None:
    loss = built_loss(entry, spec, PIDS)
    features = torch.randn(IMAGES, spec.dim, requires_grad=True)
    weight = torch.randn(PIDS, spec.dim, requires_grad=True)
    pids = torch.arange(IMAGES) % PIDS
    is_classified = "classifier" in entry.component.needs
    given = LossInput(
        features=features,
        pids=pids,
        camids=torch.zeros(IMAGES, dtype=torch.int64),
        progress=Progress(epoch=0, epochs=1, step=0, steps_per_epoch=1),
        weight=weight if is_classified else None,
        logits=features @ weight.T if is_classified else None,
        aux=aux,
        columns=_Unknown(torch.full((IMAGES,), -1)),
        index=torch.arange(IMAGES),
    )
    place = f"on {IMAGES} random vectors of branch '{spec.name}'"
    with entry.origin.calling(place):
        output = loss(given)
    check_loss_output(output, entry.origin, place, attached=True)


class _Unknown(dict[str, Tensor]):
    """Columns of which nothing is known, whatever they are called."""

    def __init__(self, values: Tensor) -> None:
        super().__init__()
        self._values = values

    def __missing__(self, name: str) -> Tensor:
        return self._values


def try_schedule(params: RunParams) -> None:
    """Ask the schedule for the rates of the first and the last step.

    Raises:
        ReidError: It fails, or gives no rate.
    """
    schedule, epochs = params.schedule.build(), params.train.epochs
    for epoch in (0, epochs - 1):
        progress = Progress(epoch=epoch, epochs=epochs, step=10 * epoch, steps_per_epoch=10)
        rate_factor(schedule, params.schedule.origin, progress, [])

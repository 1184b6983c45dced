"""A rate that drops by a factor at given epochs, after a warm-up.

factor(t) = warmup(t) * gamma ** (number of milestones m with t - origin >= m), where t is the
time in epochs from 0. The origin is 0 (``milestones_from: start``) or the end of the warm-up
(``warmup_end``).
Unlike the published runs of reid-strong-baseline, whose first epoch used t = 1 because of a
change in torch, the first epoch is t = 0. The rule of pytorch-reid-lite, (t + 1) / V in the
warm-up and milestones counted from V on, is ``warmup_epochs`` V - 1, ``warmup_factor`` 1 / V and
V added to each milestone, counted from the start.

Stands on `toolkit/warmup.py`.

Reference: Luo et al., "Bag of Tricks and A Strong Baseline for Deep Person
Re-identification", arXiv:1903.07071, section 3.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Annotated, Literal

from pydantic import Field

from reid_core import ScheduleComponent, hookimpl
from reid_core.contracts import History, Progress, Schedule
from reid_core.limits import LONGEST_EPOCHS
from reid_plugins.toolkit.warmup import WarmupParams, time_of, warmup_factor


class MultiStepParams(WarmupParams):
    """Params of the schedule ``multi_step``."""

    milestones: list[Annotated[float, Field(ge=0, le=LONGEST_EPOCHS)]] = Field(
        default=[40, 70], description="Epochs from which the rate is lower, each >= 0."
    )
    gamma: float = Field(
        default=0.1, gt=0, le=1, description="Factor on the rate at each milestone, in (0, 1]."
    )
    milestones_from: Literal["start", "warmup_end"] = Field(
        default="start",
        description="Milestones count from the first epoch or from the end of the warm-up.",
    )


def step_factor(time: float, milestones: Sequence[float], gamma: float) -> float:
    """Return ``gamma`` to the power of the number of milestones that were reached."""
    return gamma ** sum(time >= milestone for milestone in milestones)


def factor(progress: Progress, history: History, *, params: MultiStepParams) -> float:
    """Return the factor on every rate; ``history`` is not used."""
    time = time_of(progress, params.per)
    origin = params.warmup_epochs if params.milestones_from == "warmup_end" else 0.0
    return warmup_factor(time, params) * step_factor(time - origin, params.milestones, params.gamma)


def build(params: MultiStepParams) -> Schedule:
    """Return the schedule; it can be pickled."""
    return partial(factor, params=params)


@hookimpl
def reid_schedule() -> list[ScheduleComponent]:
    """Offer ``multi_step``."""
    return [
        ScheduleComponent(
            name="multi_step",
            params=MultiStepParams,
            build=build,
            summary="The rate drops by gamma at each milestone, after an optional warm-up",
            reference="arXiv:1903.07071",
        )
    ]

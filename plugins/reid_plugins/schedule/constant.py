"""The same rate all the time, after the warm-up.

It is what short trials and fine-tuning start from.

Stands on `toolkit/warmup.py`.

Reference: Goyal et al., "Accurate, Large Minibatch SGD", arXiv:1706.02677, section 2.2
(the warm-up).
"""

from __future__ import annotations

from functools import partial

from reid_core import ScheduleComponent, hookimpl
from reid_core.contracts import History, Progress, Schedule
from reid_plugins.toolkit.warmup import WarmupParams, time_of, warmup_factor


class ConstantParams(WarmupParams):
    """Params of the schedule ``constant``."""


def factor(progress: Progress, history: History, *, params: ConstantParams) -> float:
    """Return the factor on every rate; ``history`` is not used."""
    return warmup_factor(time_of(progress, params.per), params)


def build(params: ConstantParams) -> Schedule:
    """Return the schedule; it can be pickled."""
    return partial(factor, params=params)


@hookimpl
def reid_schedule() -> list[ScheduleComponent]:
    """Offer ``constant``."""
    return [
        ScheduleComponent(
            name="constant",
            params=ConstantParams,
            build=build,
            summary="One rate, after an optional warm-up",
            reference="arXiv:1706.02677",
        )
    ]

"""A rate that falls by a power of the time that is left, after a warm-up.

factor(t) = f + (1 - f) (1 - u) ** power, where u runs from 0 at the end of the warm-up to 1 at the
end of the training; power 1 is a straight line. With ``per: epoch`` the last epoch still lies one
epoch before the end, so its factor is a little above f.

Stands on `toolkit/warmup.py`.

Reference: Chen et al., "DeepLab", arXiv:1606.00915, section 4.1 (the "poly" policy, power 0.9).
"""

from __future__ import annotations

import math
from functools import partial

from pydantic import Field

from reid_core import ScheduleComponent, hookimpl
from reid_core.contracts import History, Progress, Schedule
from reid_plugins.toolkit.warmup import (
    WarmupParams,
    fraction_after_warmup,
    time_of,
    warmup_factor,
)


class PolyParams(WarmupParams):
    """Params of the schedule ``poly``."""

    power: float = Field(
        default=0.9, gt=0, description="Exponent of the time that is left (> 0); 1 is a line."
    )
    final_factor: float = Field(
        default=0.0, ge=0, le=1, description="Factor on the rate at the very end, 0 to 1."
    )


def poly_factor(done: float, power: float, final: float) -> float:
    """Return the factor when a fraction ``done`` of the fall is over: 1 at 0, ``final`` at 1."""
    return final + (1.0 - final) * math.pow(1.0 - done, power)


def factor(progress: Progress, history: History, *, params: PolyParams) -> float:
    """Return the factor on every rate; ``history`` is not used."""
    time = time_of(progress, params.per)
    done = fraction_after_warmup(time, params, progress.epochs)
    return warmup_factor(time, params) * poly_factor(done, params.power, params.final_factor)


def build(params: PolyParams) -> Schedule:
    """Return the schedule; it can be pickled."""
    return partial(factor, params=params)


@hookimpl
def reid_schedule() -> list[ScheduleComponent]:
    """Offer ``poly``."""
    return [
        ScheduleComponent(
            name="poly",
            params=PolyParams,
            build=build,
            summary="A power of the time left, down to final_factor, after an optional warm-up",
            reference="arXiv:1606.00915",
        )
    ]

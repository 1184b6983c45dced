"""A rate that falls along half a cosine, after a warm-up.

factor(t) = f + (1 - f) (1 + cos(pi u)) / 2, where u runs from 0 at the end of the warm-up to 1
at the end of the training. With ``per: epoch`` the last epoch still lies one epoch before the
end, so its factor is a little above f, as in torch's ``CosineAnnealingLR``.

Stands on `toolkit/warmup.py`.

Reference: Loshchilov and Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts",
arXiv:1608.03983, equation 5 (a single period).
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


class CosineParams(WarmupParams):
    """Params of the schedule ``cosine``."""

    final_factor: float = Field(
        default=0.0, ge=0, le=1, description="Factor on the rate at the very end, 0 to 1."
    )


def cosine_factor(done: float, final: float) -> float:
    """Return the factor when a fraction ``done`` of the fall is over: 1 at 0, ``final`` at 1."""
    return final + (1.0 - final) * (1.0 + math.cos(math.pi * done)) / 2.0


def factor(progress: Progress, history: History, *, params: CosineParams) -> float:
    """Return the factor on every rate; ``history`` is not used."""
    time = time_of(progress, params.per)
    done = fraction_after_warmup(time, params, progress.epochs)
    return warmup_factor(time, params) * cosine_factor(done, params.final_factor)


def build(params: CosineParams) -> Schedule:
    """Return the schedule; it can be pickled."""
    return partial(factor, params=params)


@hookimpl
def reid_schedule() -> list[ScheduleComponent]:
    """Offer ``cosine``."""
    return [
        ScheduleComponent(
            name="cosine",
            params=CosineParams,
            build=build,
            summary="Half a cosine down to final_factor, after an optional warm-up",
            reference="arXiv:1608.03983",
        )
    ]

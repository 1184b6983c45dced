"""A rate that drops when the score of the first evaluation has stopped rising, after a warm-up.

A score counts as better when it exceeds the best one so far by more than ``threshold``. After more
than ``patience`` evaluations in a row without a better one the rate is multiplied by ``factor``,
and the count begins anew; the product never falls below ``min_factor``. Every call goes through
the whole history again, and through nothing else: a resumed run has the rates of an uninterrupted
one. It sees only evaluations within the training: a run without any (``train.evaluate_every`` 0)
is refused.
The rule is that of torch's ``ReduceLROnPlateau`` (mode max, absolute threshold).

Stands on `toolkit/warmup.py`.

Reference: He et al., "Deep Residual Learning for Image Recognition", arXiv:1512.03385, section 3.4
(the rate is divided when the score stops rising).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import partial

from pydantic import Field

from reid_core import ScheduleComponent, hookimpl
from reid_core.contracts import History, Progress, Schedule
from reid_core.limits import LARGEST_COUNT
from reid_plugins.toolkit.warmup import WarmupParams, time_of, warmup_factor


class PlateauParams(WarmupParams):
    """Params of the schedule ``plateau``."""

    factor: float = Field(
        default=0.1, gt=0, lt=1, description="Factor on the rate at each drop, in (0, 1)."
    )
    patience: int = Field(
        default=2,
        ge=0,
        le=LARGEST_COUNT,
        description="Evaluations in a row without a better score that are let pass (>= 0); the "
        "next one lowers the rate.",
    )
    threshold: float = Field(
        default=0.001,
        ge=0,
        description="Rise over the best score that counts, in units of the score (>= 0).",
    )
    min_factor: float = Field(
        default=0.001, ge=0, le=1, description="Smallest product of the drops, 0 to 1."
    )


def drops(scores: Iterable[float], patience: int, threshold: float) -> int:
    """Return how often the rate has dropped after these scores, in the order of time."""
    best, waited, dropped = -math.inf, 0, 0
    for score in scores:
        if score > best + threshold:
            best, waited = score, 0
        else:
            waited += 1
        if waited > patience:
            waited, dropped = 0, dropped + 1
    return dropped


def factor(progress: Progress, history: History, *, params: PlateauParams) -> float:
    """Return the factor on every rate.

    Args:
        progress: Where the training stands.
        history: (epochs done, score) of every evaluation; later ones than ``progress`` are not
            looked at, so that rates of the past can be computed again.
        params: When and how far the rate drops.
    """
    known = [score for epoch, score in history if epoch <= progress.epoch]
    dropped = drops(known, params.patience, params.threshold)
    return warmup_factor(time_of(progress, params.per), params) * max(
        params.min_factor, params.factor**dropped
    )


def build(params: PlateauParams) -> Schedule:
    """Return the schedule; it can be pickled."""
    return partial(factor, params=params)


@hookimpl
def reid_schedule() -> list[ScheduleComponent]:
    """Offer ``plateau``."""
    return [
        ScheduleComponent(
            name="plateau",
            params=PlateauParams,
            build=build,
            summary="The rate drops when the score stops rising, after an optional warm-up",
            reference="arXiv:1512.03385",
            reads_scores=True,
        )
    ]

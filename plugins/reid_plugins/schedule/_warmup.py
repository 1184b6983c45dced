"""The first epochs of every schedule: a rate that starts small.

Reference: P. Goyal et al., Accurate, Large Minibatch SGD, arXiv:1706.02677, section 2.2
(constant and gradual warm-up).
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from reid_core import Params
from reid_core.contracts import Progress


class WarmupParams(Params):
    """Params that all schedules share."""

    warmup_epochs: float = Field(
        default=0, ge=0, description="Length of the warm-up in epochs (>= 0); 0 is off."
    )
    warmup: Literal["linear", "constant", "ramp"] = Field(
        default="linear",
        description="With W = warmup_epochs and t = epochs done: 'linear' rises from "
        "warmup_factor at t = 0 to 1 at t = W, 'constant' stays at warmup_factor, 'ramp' is "
        "(t + 1) / W, which is 1 in the last warm-up epoch already.",
    )
    warmup_factor: float = Field(
        default=0.01,
        ge=0,
        le=1,
        description="Factor on the rate at the very start, 0 to 1; 'ramp' does not use it.",
    )
    per: Literal["epoch", "iteration"] = Field(
        default="epoch",
        description="How often the rate changes: at the start of each epoch, or at each step, "
        "with the time in fractions of an epoch.",
    )


def time_of(progress: Progress, per: str) -> float:
    """Return the time in epochs: a whole number per epoch, a fraction per iteration."""
    return progress.epoch if per == "epoch" else progress.fraction_of_epochs


def warmup_factor(time: float, params: WarmupParams) -> float:
    """Return the factor of the warm-up at a time.

    With W = ``warmup_epochs`` and F = ``warmup_factor``, for t < W: linear F (1 - t / W) + t / W,
    constant F, ramp min(1, (t + 1) / W); from W on 1. The ramp is the linear form of W - 1
    epochs from F = 1 / W; it has a name so that W also says where milestones start to count.

    Args:
        time: t, epochs since the start (>= 0).
        params: Length, form and first factor.

    Returns:
        A number from 0 to 1.
    """
    if time >= params.warmup_epochs:
        return 1.0
    if params.warmup == "constant":
        return params.warmup_factor
    if params.warmup == "ramp":
        return min(1.0, (time + 1.0) / params.warmup_epochs)
    done = time / params.warmup_epochs
    return params.warmup_factor * (1.0 - done) + done

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
    warmup: Literal["linear", "constant"] = Field(
        default="linear",
        description="'linear' rises from warmup_factor at the start to 1 after warmup_epochs, "
        "'constant' stays at warmup_factor until then.",
    )
    warmup_factor: float = Field(
        default=0.01, ge=0, le=1, description="Factor on the rate at the very start, 0 to 1."
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

    With W = ``warmup_epochs`` and F = ``warmup_factor``, linear is F (1 - t / W) + t / W and
    constant is F for t < W; both are 1 from W on. The rule (t + 1) / V, which reaches 1 in its
    last epoch, is the same line: W = V - 1, F = 1 / V.

    Args:
        time: t, epochs since the start (>= 0).
        params: Length, form and first factor.

    Returns:
        A number from F to 1.
    """
    if time >= params.warmup_epochs:
        return 1.0
    if params.warmup == "constant":
        return params.warmup_factor
    done = time / params.warmup_epochs
    return params.warmup_factor * (1.0 - done) + done

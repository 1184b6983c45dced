"""The time, the first epochs with small rates, and the fraction done after; all schedules use it.

Reference: Goyal et al., "Accurate, Large Minibatch SGD", arXiv:1706.02677, section 2.2
(constant and gradual warm-up).
"""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field, model_validator

from reid_core import Params
from reid_core.contracts import Progress
from reid_core.limits import LONGEST_EPOCHS


class WarmupParams(Params):
    """Params that all schedules share."""

    warmup_epochs: float = Field(
        default=0,
        ge=0,
        le=LONGEST_EPOCHS,
        description="Length of the warm-up in epochs (>= 0); 0 is off.",
    )
    warmup: Literal["linear", "exponential", "constant"] = Field(
        default="linear",
        description="'linear' rises from warmup_factor at the start to 1 after warmup_epochs, "
        "'exponential' likewise by equal ratios, 'constant' stays at warmup_factor until then.",
    )
    warmup_factor: float = Field(
        default=0.01, ge=0, le=1, description="Factor on the rate at the very start, 0 to 1."
    )
    per: Literal["epoch", "iteration"] = Field(
        default="epoch",
        description="How often the rate changes: at the start of each epoch, or at each step, "
        "with the time in fractions of an epoch.",
    )

    @model_validator(mode="after")
    def _has_ratios(self) -> WarmupParams:
        if self.warmup == "exponential" and self.warmup_factor == 0:
            raise ValueError("an exponential warm-up needs a 'warmup_factor' above 0")
        return self


def time_of(progress: Progress, per: str) -> float:
    """Return the time in epochs: a whole number per epoch, a fraction per iteration."""
    return progress.epoch if per == "epoch" else progress.fraction_of_epochs


def warmup_factor(time: float, params: WarmupParams) -> float:
    """Return the factor of the warm-up at a time.

    With W = ``warmup_epochs`` and F = ``warmup_factor``, linear is F (1 - t / W) + t / W,
    exponential is F ** (1 - t / W) and constant is F, each for t < W; all are 1 from W on. The
    rule (t + 1) / V, which reaches 1 in its last epoch, is the linear one: W = V - 1, F = 1 / V.

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
    if params.warmup == "exponential":
        return math.pow(params.warmup_factor, 1.0 - done)
    return params.warmup_factor * (1.0 - done) + done


def fraction_after_warmup(time: float, params: WarmupParams, epochs: int) -> float:
    """Return u: 0 until the end of the warm-up, 1 at the end of the training, a line between.

    Args:
        time: Epochs since the start of the training.
        params: Length of the warm-up.
        epochs: Length of the training.
    """
    start = params.warmup_epochs
    if time <= start:
        return 0.0
    return min(1.0, (time - start) / max(epochs - start, 1e-12))

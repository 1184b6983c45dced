"""A margin that may change during training: a number, a ramp, or steps.

A full margin from the first step can keep a fresh network from learning anything. The losses over
identities with a margin stand on it.
"""

from __future__ import annotations

import math
from typing import Literal

from pydantic import AfterValidator, Field

from reid_core import Params
from reid_core.contracts import Progress
from reid_core.limits import LONGEST_EPOCHS


class MarginRamp(Params):
    """A margin that moves from one value to another and stays there."""

    start: float = Field(default=0.0, description="Margin of the first step.")
    end: float = Field(description="Margin after 'epochs' epochs and from then on.")
    epochs: float = Field(
        gt=0, le=LONGEST_EPOCHS, description="Length of the ramp in epochs, above 0."
    )
    shape: Literal["linear", "cosine"] = Field(
        default="linear",
        description="'linear', or 'cosine': half a wave, slow at both ends.",
    )


Margin = float | MarginRamp | list[list[float]]
"""A number; a ramp; or steps ``[[epoch, value], ...]``."""


def up_to(highest: float) -> AfterValidator:
    """Return what a loss adds to the type ``Margin``: every value is from 0 to a bound.

    After the union, because its own checks would be reported for each of its branches.
    """

    def check(margin: Margin) -> Margin:
        values = _values(margin)
        wrong = [value for value in values if not 0 <= value <= highest]
        if wrong:
            raise ValueError(f"must be from 0 to {highest:g}, got {wrong[0]:g}")
        return margin

    return AfterValidator(check)


def _values(margin: Margin) -> list[float]:
    """Return every value that the margin has been given; refuse steps that leave a gap."""
    if isinstance(margin, MarginRamp):
        return [margin.start, margin.end]
    if not isinstance(margin, list):
        return [margin]
    epochs = [step[0] for step in margin if len(step) == 2]
    if len(epochs) < len(margin) or epochs[:1] != [0] or epochs != sorted(set(epochs)):
        raise ValueError("steps are pairs [epoch, value]; the first epoch is 0, then they rise")
    return [value for _, value in margin]


def margin_at(margin: Margin, progress: Progress) -> float:
    """Return the margin of one step.

    Args:
        margin: As the params give it.
        progress: Its fractional epoch is the time of ramps and steps.

    Returns:
        The number itself; the ramp's value; or the value of the last step that has begun.
    """
    time = progress.fraction_of_epochs
    if isinstance(margin, MarginRamp):
        done = min(1.0, time / margin.epochs)
        if margin.shape == "cosine":
            done = (1 - math.cos(math.pi * done)) / 2
        return (1 - done) * margin.start + done * margin.end
    if isinstance(margin, list):
        return next(value for epoch, value in reversed(margin) if epoch <= time)
    return margin

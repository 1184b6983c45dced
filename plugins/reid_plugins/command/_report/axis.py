"""An axis of a chart: from values to places, and the round values written beside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

Scale = Literal["linear", "sqrt", "log"]


@dataclass(frozen=True)
class Axis:
    """One direction of a chart.

    Attributes:
        label: What it measures, with the unit.
        low: Value at its start.
        high: Value at its end, above ``low``.
        scale: How values become places.
    """

    label: str
    low: float
    high: float
    scale: Scale = "linear"

    def places(self, values: npt.ArrayLike) -> Floats:
        """Return where values lie, 0 at the start of the axis and 1 at its end."""
        low, high = _scaled([self.low, self.high], self.scale)
        found: Floats = (_scaled(values, self.scale) - low) / (high - low)
        return np.clip(found, 0, 1)

    def ticks(self) -> list[float]:
        """Return round values to write beside the axis.

        >>> Axis("AP", 0, 1).ticks()
        [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
        >>> Axis("rank", 1, 50, "log").ticks()
        [1.0, 2.0, 5.0, 10.0, 20.0, 50.0]
        """
        low, high = (float(end) for end in _scaled([self.low, self.high], self.scale))
        if self.scale == "log":
            digits = (1, 2, 5) if high - low < 2.5 else (1,)
            powers = range(int(np.floor(low)), int(np.ceil(high)) + 1)
            values = [digit * 10.0**power for power in powers for digit in digits]
            return [v for v in values if self.low <= v * 1.0001 and v <= self.high * 1.0001]
        ticks = _round_steps(low, high)
        return [tick**2 for tick in ticks] if self.scale == "sqrt" else ticks


def _scaled(values: npt.ArrayLike, scale: Scale) -> Floats:
    array = np.asarray(values, dtype=np.float64)
    if scale == "sqrt":
        return np.asarray(np.sqrt(array))
    return np.asarray(np.log10(array)) if scale == "log" else array


def _round_steps(low: float, high: float, most: int = 6) -> list[float]:
    """Return at most ``most`` multiples of 1, 2 or 5 times a power of ten."""
    power = 10.0 ** np.floor(np.log10((high - low) / most))
    steps = (digit * power for digit in (1, 2, 5, 10, 20))
    step = next(s for s in steps if (high - low) / s <= most - 1)
    first, last = np.ceil(low / step - 1e-9), np.floor(high / step + 1e-9)
    return [float(f"{i * step:.6g}") + 0.0 for i in np.arange(first, last + 1)]  # no -0


def short(value: float) -> str:
    """Write a round number with or without exponent, whichever is shorter.

    >>> short(0.2), short(0.0005)
    ('0.2', '5e-4')
    """
    digits, exponent = f"{value:e}".split("e")
    return min(f"{value:g}", f"{float(digits):g}e{int(exponent)}", key=len)

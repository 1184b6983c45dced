"""What all vectors have in common, which no Euclidean distance sees and every rounding does.

A squared distance made of dot products is a small difference of large numbers where the vectors
lie far from the origin: at a mean 1,000 times the spread, float32 has nothing left of it.
Shapes: N images, D size of a feature.
"""

from __future__ import annotations

import torch
from torch import Tensor

_DWARFS = 100.0
"""Mean vector's square over the mean square of what is left, from which it is taken off.

Below, the products cost two decimal digits of float32's seven at most, and no copy is made.
"""

NARROW = 1e-3
"""Spread of directions below which the cosines of float32 tell images apart by rounding.

Measured on 60 drawn identities with D = 128 and 2048, against float64: mAP is off by less than
0.001 above it, by 0.005 at 1e-4, by 0.1 at 1e-5, and is lost at 1e-6.
"""

_ROWS_AT_ONCE = 4096


def dwarfing_mean(features: Tensor, squares: Tensor) -> Tensor | None:
    """Return the mean vector ``(1, D)`` float64 if it dwarfs what the vectors differ by.

    Args:
        features: ``(N, D)`` float32, finite.
        squares: ``(N,)`` float64, their squared norms.
    """
    if not len(features):
        return None
    # A product takes a tenth of the time of a sum in float64; any point near the mean serves.
    mean = (features.new_ones(1, len(features)) @ features).double() / len(features)
    common = float(mean.square().sum())
    left = float(squares.mean()) - common
    return mean if common > _DWARFS * left else None


def moved(features: Tensor, shift: Tensor) -> Tensor:
    """Return ``features (N, D)`` plus ``shift (1, D)`` float64, rounded once, as float32."""
    found = torch.empty_like(features)
    for start in range(0, len(found), _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        found[rows] = features[rows].double() + shift
    return found


def spread_of_directions(features: Tensor, inverse_norm: Tensor) -> float:
    """Return 1 - the squared length of the mean unit vector, within about 1e-6.

    It is the mean of 1 - cosine over all pairs: 0 for one direction, near 1 for all of them.

    Args:
        features: ``(N, D)`` float32, as ``Cosine.prepare`` returns them.
        inverse_norm: ``(N,)`` float32, likewise; 0 for vectors of zeros, which do not count.
    """
    count = int(inverse_norm.count_nonzero())
    if count < 2:
        return 1.0  # there is nothing to tell apart
    mean = (inverse_norm @ features).double() / count
    return max(0.0, 1.0 - float(mean.square().sum()))

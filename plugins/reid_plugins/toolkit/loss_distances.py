"""Distances and cosines between all pairs of vectors, whose gradients stay finite.

The losses that compare images stand on it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from reid_plugins.toolkit.margin_logits import unit_rows

if TYPE_CHECKING:
    from torch import Tensor

Distance = Annotated[
    Literal["euclidean", "cosine"],
    Field(description='"euclidean", or "cosine" (1 - cosine, 0 to 2).'),
]


def pairwise_cosine(a: Tensor, b: Tensor) -> Tensor:
    """Return the cosine of every row of ``a`` and every row of ``b``.

    A zero vector has the cosine 0 to everything.

    Args:
        a: ``(A, d)``, of any length.
        b: ``(B, d)``, likewise.

    Returns:
        ``(A, B)``, -1 to 1.
    """
    one = unit_rows(a)
    return one @ (one if b is a else unit_rows(b)).T


def squared_distance(a: Tensor, b: Tensor) -> Tensor:
    """Return the squared Euclidean distance of every row of ``a`` to every row of ``b``.

    Only matrices of size (A, B) are made, never (A, B, d). Rows are measured from the mean of
    ``b``: a difference of squares far from the origin, and its gradient, is rounding alone.

    Args:
        a: ``(A, d)``.
        b: ``(B, d)``.

    Returns:
        ``(A, B)``, at least 1e-12.
    """
    center = common_center(b)
    one = a - center
    other = one if b is a else b - center
    lengths = one.square().sum(1)
    others = lengths if b is a else other.square().sum(1)
    squared = lengths[:, None] + others[None, :] - 2 * (one @ other.T)
    # Below the bound lie rounding errors, also negative ones; the clamp passes no gradient
    # there, where that of a square root would grow without limit.
    return squared.clamp(min=1e-12)


def common_center(vectors: Tensor) -> Tensor:
    """Return the mean of the rows ``(N, d)`` as ``(d,)``, a constant; 0 where it is not finite.

    Distances between vectors do not depend on what all of them are measured from, and neither
    do their gradients, so that none passes through it.
    """
    import torch

    center = (vectors.detach() / max(1, len(vectors))).sum(0)  # a sum of large rows overflows
    return torch.nan_to_num(center, nan=0.0, posinf=0.0, neginf=0.0)


def pairwise_distance(a: Tensor, b: Tensor, distance: Distance = "euclidean") -> Tensor:
    """Return the distance of every row of ``a`` to every row of ``b``.

    Args:
        a: ``(A, d)``.
        b: ``(B, d)``.
        distance: ``"euclidean"``, at least 1e-6, or ``"cosine"``: 1 - cosine, 0 to 2.

    Returns:
        ``(A, B)``, the distmat.
    """
    if distance == "cosine":
        return 1 - pairwise_cosine(a, b)
    return squared_distance(a, b).sqrt()

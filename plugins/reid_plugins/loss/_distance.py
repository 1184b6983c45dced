"""Distances between all pairs of vectors, for the losses that compare images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import Tensor

Distance = Literal["euclidean", "cosine"]


def pairwise_distance(a: Tensor, b: Tensor, distance: Distance = "euclidean") -> Tensor:
    """Return the distance of every row of ``a`` to every row of ``b``.

    Only matrices of size (A, B) are made, never (A, B, d).

    Args:
        a: ``(A, d)``.
        b: ``(B, d)``.
        distance: ``"euclidean"``, at least 1e-6, or ``"cosine"``: 1 - cosine, 0 to 2.

    Returns:
        ``(A, B)``, the distmat.
    """
    import torch.nn.functional as F

    if distance == "cosine":
        return 1 - F.normalize(a, dim=1) @ F.normalize(b, dim=1).T
    squared = a.square().sum(1)[:, None] + b.square().sum(1)[None, :] - 2 * (a @ b.T)
    # Below the bound lie rounding errors, also negative ones; the clamp passes no gradient
    # there, where that of the square root would grow without limit.
    return squared.clamp(min=1e-12).sqrt()

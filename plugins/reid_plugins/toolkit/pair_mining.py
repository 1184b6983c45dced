"""Pairs of images within a batch: which are of one person, and sums over some of them.

The losses that compare images stand on it.

Nothing here picks rows by a mask, because a GPU would have to tell the host how many there are:
what a mask leaves out is replaced by a value that adds nothing and passes no gradient.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def pair_masks(pids: Tensor) -> tuple[Tensor, Tensor]:
    """Return which pairs of images show one person and which show two.

    Args:
        pids: ``(B,)`` int64; identities may have different numbers of images.

    Returns:
        ``(B, B)`` bool each, the positive and the negative pairs; an image and itself are
        neither.
    """
    import torch

    same = pids[:, None] == pids[None, :]  # (B, B)
    itself = torch.eye(len(pids), dtype=torch.bool, device=pids.device)
    return same & ~itself, ~same


def hardest_pairs(distmat: Tensor, pids: Tensor) -> tuple[Tensor, Tensor]:
    """Return each anchor's distance to its farthest positive and its nearest negative.

    Args:
        distmat: ``(B, B)``.
        pids: ``(B,)`` int64; identities may have different numbers of images.

    Returns:
        ``(B,)`` each; minus infinity without a positive, plus infinity without a negative.
    """
    positive, negative = pair_masks(pids)
    farthest = distmat.masked_fill(~positive, -math.inf).amax(dim=1)
    nearest = distmat.masked_fill(~negative, math.inf).amin(dim=1)
    return farthest, nearest


def weighted_pairs(distmat: Tensor, pids: Tensor) -> tuple[Tensor, Tensor]:
    """Return each anchor's weighted mean distance to its positives and to its negatives.

    The weights are the softmax of the distances among the positives, and of the negated
    distances among the negatives: hard pairs count most, and none is forgotten.

    Args:
        distmat: ``(B, B)``.
        pids: ``(B,)`` int64; identities may have different numbers of images.

    Returns:
        ``(B,)`` each; minus infinity without a positive, plus infinity without a negative.
    """
    positive, negative = pair_masks(pids)
    far = (masked_softmax(distmat, positive) * distmat).sum(dim=1)
    near = (masked_softmax(-distmat, negative) * distmat).sum(dim=1)
    far = far.masked_fill(~positive.any(dim=1), -math.inf)
    return far, near.masked_fill(~negative.any(dim=1), math.inf)


def masked_softmax(values: Tensor, mask: Tensor) -> Tensor:
    """Return the softmax of every row over the entries of a mask.

    Args:
        values: ``(A, B)``, finite.
        mask: ``(A, B)`` bool.

    Returns:
        ``(A, B)``, exactly 0 outside the mask, and in a row without any entry.
    """
    # The lowest finite number instead of minus infinity: a row of these has no NaN.
    return _outside_lowest(values, mask).softmax(dim=1) * mask


def masked_logsumexp(values: Tensor, mask: Tensor, empty: float = -math.inf) -> Tensor:
    """Return the logarithm of the sum of exponentials over the last dimension, within a mask.

    Args:
        values: ``(..., B)``, finite.
        mask: ``(..., B)`` bool.
        empty: Result where the mask has no entry; the gradient is 0 there.

    Returns:
        ``(...)``.
    """
    result = _outside_lowest(values, mask).logsumexp(dim=-1)
    return result.masked_fill(~mask.any(dim=-1), empty)


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Return the mean over the entries of a mask, a scalar; 0 without any.

    Args:
        values: Of any shape, finite.
        mask: Bool, of the same shape.
    """
    return values.masked_fill(~mask, 0).sum() / mask.sum().clamp(min=1)


def pair_means(what: str, values: Tensor, positive: Tensor, negative: Tensor) -> dict[str, Tensor]:
    """Return monitors: the means over positive and over negative pairs, detached.

    Args:
        what: What the values are, e.g. ``"distance"``: the monitors are ``positive_distance``
            and ``negative_distance``.
        values: ``(B, B)``, finite.
        positive: ``(B, B)`` bool.
        negative: ``(B, B)`` bool.
    """
    return {
        f"positive_{what}": masked_mean(values.detach(), positive),
        f"negative_{what}": masked_mean(values.detach(), negative),
    }


def _outside_lowest(values: Tensor, mask: Tensor) -> Tensor:
    """Replace what is outside the mask by the lowest number, whose exponential is 0."""
    import torch

    return values.masked_fill(~mask, torch.finfo(values.dtype).min)

"""Cosines to the classes, and the cross entropy with another value for the right one.

The losses over identities with a margin or a scale stand on it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

if TYPE_CHECKING:
    from torch import Tensor

Scale = Annotated[float, Field(gt=0.0)] | Literal["norm"]
"""A number, or ``"norm"``: the length of each feature."""

SHORTEST = 1e-12
"""Vectors that are not longer have no direction."""


def inverse_length(vectors: Tensor) -> Tensor:
    """Return 1 / length of each row ``(N, d)`` as ``(N,)``; 0, without gradient, if too short."""
    length: Tensor = vectors.norm(dim=1)
    return length.clamp(min=SHORTEST).reciprocal().masked_fill(length <= SHORTEST, 0.0)


def unit_rows(vectors: Tensor) -> Tensor:
    """Return the rows ``(N, d)`` at length 1; a row of length 0 stays 0."""
    return vectors * inverse_length(vectors)[:, None]


def cosine_similarity(features: Tensor, weight: Tensor) -> Tensor:
    """Return the cosine of every feature and every class.

    A zero vector has the cosine 0 to everything.

    Args:
        features: ``(B, d)``.
        weight: ``(num_pids, d)``, one row per class.

    Returns:
        ``(B, num_pids)``, -1 to 1 but for rounding.
    """
    # The classes are scaled after the product: a second (num_pids, d) matrix costs more.
    return (unit_rows(features) @ weight.T) * inverse_length(weight)


def own_cosine(cosine: Tensor, pids: Tensor) -> Tensor:
    """Return each row's entry of its own identity, ``(B, 1)``.

    Args:
        cosine: ``(B, num_pids)``.
        pids: ``(B,)`` int64.
    """
    return cosine.gather(1, pids[:, None])


def scale_factor(features: Tensor, scale: Scale) -> float | Tensor:
    """Return what the cosines are multiplied by: the number, or the lengths ``(B, 1)``."""
    return features.norm(dim=1, keepdim=True) if scale == "norm" else scale


def margin_cross_entropy(
    others: Tensor, own: Tensor, pids: Tensor, scale: float | Tensor
) -> Tensor:
    """Return the mean cross entropy of scaled values, those of the right identities replaced.

    Args:
        others: ``(B, num_pids)``; what stands at the right identity is not read.
        own: ``(B, 1)``, what stands there instead.
        pids: ``(B,)`` int64.
        scale: Factor on all values, a number or ``(B, 1)``.
    """
    import torch.nn.functional as F

    # In place: the product is a fresh matrix that nothing else reads.
    logits = (scale * others).scatter_(1, pids[:, None], scale * own)
    return F.cross_entropy(logits, pids)


def cosine_monitors(cosine: Tensor, pids: Tensor, **settings: float) -> dict[str, Tensor]:
    """Return the monitors of a loss over cosines, detached.

    Args:
        cosine: ``(B, num_pids)``, without margin.
        pids: ``(B,)`` int64.
        **settings: What a schedule gives this step, such as its margin.

    Returns:
        ``own_cosine``, the mean cosine to the right identity, and the settings.
    """
    plain = cosine.detach()
    return {
        "own_cosine": own_cosine(plain, pids).mean(),
        # Filled on the device: a copy from the host could make it wait.
        **{name: plain.new_full((), value) for name, value in settings.items()},
    }

"""Pooling of feature maps over their last two dimensions: average, max and GeM; for the heads.

All three keep the leading dimensions, so they pool a whole map ``(B, C, h, w)`` to
``(B, C)`` and its stripes ``(B, C, parts, h / parts, w)`` to ``(B, C, parts)``.

Reference: GeM: Radenović et al., "Fine-tuning CNN Image Retrieval with No Human
Annotation", arXiv:1711.02512, equation 3.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

Pooling = Literal["avg", "max", "gem"]


def generalized_mean(x: Tensor, p: Tensor | float, eps: float = 1e-6) -> Tensor:
    """Return ``mean(x ** p) ** (1 / p)`` over the last two dimensions.

    p = 1 is the average, and the larger p, the closer the result to the maximum.

    Args:
        x: ``(..., h, w)``; values below ``eps`` count as ``eps``.
        p: The exponent, above 0.
        eps: Keeps the power's gradient finite at 0.
    """
    # Powers leave the range of half precision already at moderate activations.
    wide = x.to(torch.promote_types(x.dtype, torch.float32)).clamp(min=eps)
    return wide.pow(p).mean((-2, -1)).pow(1 / p).to(x.dtype)


class AveragePooling(nn.Module):
    """The mean of each channel."""

    def forward(self, x: Tensor) -> Tensor:
        """Pool ``(..., h, w)`` to ``(...)``."""
        return x.mean((-2, -1))


class MaxPooling(nn.Module):
    """The maximum of each channel; equal maxima share the gradient."""

    def forward(self, x: Tensor) -> Tensor:
        """Pool ``(..., h, w)`` to ``(...)``."""
        return x.amax((-2, -1))


class GeMPooling(nn.Module):
    """The generalised mean of each channel, with one learned exponent ``p``."""

    def __init__(self, p: float = 3.0) -> None:
        """Start from the exponent ``p``."""
        super().__init__()
        self.p = nn.Parameter(torch.tensor([p]))

    def forward(self, x: Tensor) -> Tensor:
        """Pool ``(..., h, w)`` to ``(...)``."""
        return generalized_mean(x, self.p)


def make_pooling(name: Pooling) -> nn.Module:
    """Return the pooling of a params entry."""
    return {"avg": AveragePooling, "max": MaxPooling, "gem": GeMPooling}[name]()

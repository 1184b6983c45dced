"""From the norm of a vector to its uncertainty: a learned function of one number.

The norm is standardised by batch normalisation, goes through a weighted sum of fixed basis
functions, and the mean over images is taken off: no image gets its uncertainty for free.

Reference: Huang et al., "Norm-Aware Margin Assignment for Person Re-Identification", 2022:
margin assignment module and margin re-balance.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Basis = Literal["hinges", "taylor", "legendre"]

FARTHEST = 16.0
"""Polynomials are evaluated at most this far from the mean norm, in standard deviations: no image
of a batch of up to 257 is farther, and in evaluation the powers stay within float32."""

RANGE = 0.5
"""Largest absolute value with which one image enters the mean over images."""

MEAN_STEP = 0.01
"""Weight of a batch in the running mean of the uncertainty."""


def hinges(x: Tensor, count: int) -> Tensor:
    """Return piecewise linear functions that bend at fixed places between x = -4 and 4.

    Beyond these they are constant. The gradient to ``x`` is a tenth of the true one, as in
    the authors' code: the function learns faster than the features can run away from it.

    Args:
        x: ``(B,)``, standardised.
        count: Number of functions, from 1.

    Returns:
        ``(B, count)``.
    """
    z = (0.1 * x).clamp(-0.4, 0.4)
    z = 0.1 * z + 0.9 * z.detach()
    offsets = torch.linspace(-0.8, 0.8, count, dtype=x.dtype, device=x.device)
    return F.leaky_relu(z[:, None] + offsets, 0.1) / math.sqrt(count)


def taylor(x: Tensor, orders: Sequence[int]) -> Tensor:
    """Return the powers ``x ** p`` of all ``orders``: ``(B, orders)`` for ``x (B,)``."""
    return torch.stack([x**p for p in orders], dim=1)


def legendre(x: Tensor, orders: Sequence[int]) -> Tensor:
    """Return the Legendre polynomials of all ``orders``: ``(B, orders)`` for ``x (B,)``."""
    values = [torch.ones_like(x), x]
    for n in range(1, max(orders)):  # Bonnet's recurrence
        values.append(((2 * n + 1) * x * values[n] - n * values[n - 1]) / (n + 1))
    return torch.stack([values[p] for p in orders], dim=1)


class NormToUncertainty(nn.Module):
    """Maps vectors to uncertainties with the mean 0: batch mean, or running mean in evaluation.

    Attributes:
        weight: ``(terms,)``, of the basis functions; starts at or near 0.
        mean: Running mean of the uncertainty before it is taken off, 0-d.
    """

    def __init__(
        self,
        basis: Basis = "hinges",
        terms: int = 32,
        *,
        even_orders: bool = False,
        log_norm: bool = False,
    ) -> None:
        """Choose the basis functions; the arguments are those of the head's params."""
        super().__init__()
        self.log_norm = log_norm
        self.standardize = nn.BatchNorm1d(1, affine=False)
        self.weight = nn.Parameter(torch.zeros(terms))
        self.mean: Tensor
        self.register_buffer("mean", torch.zeros(()))
        self.basis: Callable[[Tensor], Tensor]
        if basis == "hinges":
            nn.init.normal_(self.weight, std=1e-4 / math.sqrt(terms))
            self.basis = partial(hinges, count=terms)
        else:
            orders = range(1, terms + 1) if even_orders else range(1, 2 * terms, 2)
            functions = {"taylor": taylor, "legendre": legendre}
            self.basis = partial(functions[basis], orders=tuple(orders))
        self.farthest = math.inf if basis == "hinges" else FARTHEST

    def forward(self, vectors: Tensor) -> Tensor:
        """Map ``(B, d)`` to ``(B,)``, in float32 or wider also under autocast."""
        wide = torch.promote_types(vectors.dtype, torch.float32)
        norm = torch.linalg.vector_norm(vectors, dim=1, dtype=wide)
        if self.log_norm:
            norm = norm.clamp(min=1e-12).log()
        x = self.standardize(norm[:, None])[:, 0].clamp(-self.farthest, self.farthest)
        # No matrix product here, which autocast would do in half precision.
        return self.rebalanced((self.basis(x) * self.weight).sum(dim=1))

    def rebalanced(self, raw: Tensor) -> Tensor:
        """Take the mean off ``raw (B,)``; in training that of the batch, with its gradient."""
        if not self.standardize.training:  # as it is frozen: both means or none
            return raw - self.mean
        mean = raw.clamp(-RANGE, RANGE).mean()
        with torch.no_grad():
            self.mean.lerp_(mean.to(self.mean.dtype), MEAN_STEP)
        return raw - mean

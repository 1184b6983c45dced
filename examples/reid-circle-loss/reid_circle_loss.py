"""The loss `circle`: all pairs of the batch, each pulled as hard as it is still wrong.

Pairs of one person should have the cosine 1, pairs of two people the cosine 0. A pair's
weight grows with its distance from that goal, so that learned pairs leave the work to the
others. This is the form with one term for the whole batch, in which every positive pair
competes with every negative one; the form with one term per anchor is another loss.

Reference: Sun et al., "Circle Loss: A Unified Perspective of Pair Similarity Optimization",
arXiv:2002.10857, equations 5 and 6.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pydantic import Field

from reid_core import LossComponent, Params, hookimpl
from reid_core.contracts import LossInput, LossOutput

if TYPE_CHECKING:
    from torch import Tensor


class CircleParams(Params):
    """Params of the loss `circle`."""

    margin: float = Field(
        default=0.25,
        ge=0.0,
        lt=1.0,
        description="Relaxation m in [0, 1), a cosine: positive pairs aim above 1 - m, negative "
        "pairs below m.",
    )
    gamma: float = Field(
        default=64.0,
        gt=0.0,
        le=1024.0,
        description="Scale of the cosines in (0, 1024]; the paper uses 128 to 256 for people. "
        "The value of the loss grows with it.",
    )


def pair_masks(pids: Tensor) -> tuple[Tensor, Tensor]:
    """Return which entries of a ``(B, B)`` matrix are positive and negative pairs.

    Every pair counts once, so both masks lie above the diagonal.

    Args:
        pids: ``(B,)`` int64.
    """
    same = pids[:, None] == pids[None, :]  # (B, B)
    return same.triu(1), (~same).triu(1)


def circle_logits(cosine: Tensor, margin: float, gamma: float) -> tuple[Tensor, Tensor]:
    """Return what every pair adds as a positive and as a negative one, elementwise.

    Args:
        cosine: ``(B, B)``, -1 to 1.
        margin: The m of the paper.
        gamma: The scale of the paper.
    """
    # The weights are constants for the gradient: they say how hard to pull, not where to.
    alpha_p = (1 + margin - cosine).detach().clamp(min=0)  # equation 5, O_p = 1 + m
    alpha_n = (cosine + margin).detach().clamp(min=0)  # equation 5, O_n = -m
    return gamma * alpha_p * (1 - margin - cosine), gamma * alpha_n * (cosine - margin)


def circle_loss(
    positive_logits: Tensor, negative_logits: Tensor, positive: Tensor, negative: Tensor
) -> Tensor:
    """Return ``log(1 + sum(exp(positive)) * sum(exp(negative)))`` over the pairs.

    A batch without positive or without negative pairs gives exactly 0.

    Args:
        positive_logits: ``(B, B)``, from ``circle_logits``.
        negative_logits: ``(B, B)``, likewise.
        positive: ``(B, B)`` bool, from ``pair_masks``.
        negative: ``(B, B)`` bool, likewise.
    """
    import torch
    import torch.nn.functional as F

    # A sum over no pair is the logarithm of 0: the softplus and its gradient become 0.
    pull = positive_logits.masked_fill(~positive, -torch.inf).flatten().logsumexp(0)
    push = negative_logits.masked_fill(~negative, -torch.inf).flatten().logsumexp(0)
    return F.softplus(pull + push)


def mean_over(values: Tensor, mask: Tensor) -> Tensor:
    """Return the mean of ``values (B, B)`` where the mask is set, detached; 0 without any."""
    return values.detach().mul(mask).sum() / mask.sum().clamp(min=1)


def build(params: CircleParams) -> Callable[[LossInput], LossOutput]:
    """Build the loss; the core hands it L2-normalised vectors of all processes."""

    def loss(x: LossInput) -> LossOutput:
        cosine = x.features @ x.features.T  # (B, B)
        positive, negative = pair_masks(x.pids)
        logits = circle_logits(cosine, params.margin, params.gamma)
        monitors = {
            "positive_cosine": mean_over(cosine, positive),
            "negative_cosine": mean_over(cosine, negative),
        }
        return LossOutput(circle_loss(*logits, positive, negative), monitors)

    return loss


@hookimpl
def reid_loss() -> list[LossComponent]:
    """Offer the circle loss."""
    return [
        LossComponent(
            name="circle",
            params=CircleParams,
            build=build,
            summary="All pairs of a batch, weighted by how far each is from its goal.",
            reference="arXiv:2002.10857",
            role="metric",
            on="embedding",
            normalize=True,
            needs=frozenset({"pairs"}),
        )
    ]

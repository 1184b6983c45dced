"""The loss `circle`: pairs of the batch, each pulled as hard as it is still wrong.

Pairs of one person should have the cosine 1, pairs of two people the cosine 0. A pair's
weight grows with its distance from that goal, so that learned pairs leave the work to the
others. With equal weights this is the unified loss that the paper starts from, also known
as pairwise CosFace.

Stands on `toolkit/loss_distances.py` and `toolkit/pair_mining.py`.

Reference: Sun et al., "Circle Loss: A Unified Perspective of Pair Similarity Optimization",
arXiv:2002.10857, equations 5 and 6; equal weights: equation 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from reid_core import LossComponent, Params, hookimpl
from reid_core.contracts import Loss, LossInput, LossOutput
from reid_plugins.toolkit.loss_distances import pairwise_cosine
from reid_plugins.toolkit.pair_mining import masked_logsumexp, pair_masks, pair_means

if TYPE_CHECKING:
    from torch import Tensor


class CircleParams(Params):
    """Params of the loss `circle`."""

    margin: float = Field(
        default=0.25,
        ge=0.0,
        lt=1.0,
        description="Cosine m in [0, 1). Adaptive weights: positive pairs aim above 1 - m, "
        "negative pairs below m. Equal weights: positive pairs aim m above negative ones.",
    )
    gamma: float = Field(
        default=128.0,
        gt=0.0,
        le=1024.0,
        description="Scale of the cosines in (0, 1024]; the value of the loss grows with it.",
    )
    reduce: Literal["anchor", "batch"] = Field(
        default="anchor",
        description='"anchor": the positive pairs of an image compete with its own negative '
        'pairs, and the mean over images is taken; "batch": all pairs compete, once each.',
    )
    weights: Literal["adaptive", "equal"] = Field(
        default="adaptive",
        description='"adaptive": a pair pulls with the weight of how far it is from its goal; '
        '"equal": all pairs have the weight 1 (pairwise CosFace).',
    )


def circle_logits(cosine: Tensor, margin: float, gamma: float) -> tuple[Tensor, Tensor]:
    """Return what every pair adds as a positive and as a negative one, elementwise.

    Args:
        cosine: ``(B, B)``, -1 to 1.
        margin: The m of the paper.
        gamma: The scale of the paper.
    """
    # The weights are constants for the gradient: they say how hard to pull, not where to.
    alpha_p = (1 + margin - cosine.detach()).clamp(min=0)  # equation 5, O_p = 1 + m
    alpha_n = (cosine.detach() + margin).clamp(min=0)  # equation 5, O_n = -m
    return gamma * alpha_p * (1 - margin - cosine), gamma * alpha_n * (cosine - margin)


def equal_logits(cosine: Tensor, margin: float, gamma: float) -> tuple[Tensor, Tensor]:
    """Return the same for pairs of weight 1, where the margin lies between the two sorts."""
    return gamma * (margin - cosine), gamma * cosine


def unified_loss(
    pull: Tensor,
    push: Tensor,
    positive: Tensor,
    negative: Tensor,
    reduce: Literal["anchor", "batch"],
) -> Tensor:
    """Return ``log(1 + sum(exp(pull)) * sum(exp(push)))``, of every anchor or of the batch.

    Args:
        pull: ``(B, B)``, what every pair adds as a positive one.
        push: ``(B, B)``, what it adds as a negative one.
        positive: ``(B, B)`` bool.
        negative: ``(B, B)`` bool.
        reduce: ``"anchor"``: the mean over the rows with both sorts of pairs; ``"batch"``:
            one term of the pairs above the diagonal.

    Returns:
        A scalar, exactly 0 where there is no positive or no negative pair.
    """
    import torch.nn.functional as F

    if reduce == "batch":
        pull, push, positive, negative = (
            x.flatten() for x in (pull, push, positive.triu(1), negative.triu(1))
        )
    # A sum over no pair is the logarithm of 0: the softplus and its gradient become 0.
    losses = F.softplus(masked_logsumexp(pull, positive) + masked_logsumexp(push, negative))
    complete = positive.any(dim=-1) & negative.any(dim=-1)
    return losses.sum() / complete.sum().clamp(min=1)


def build(params: CircleParams) -> Loss:
    """Build the loss; the core hands it the batch of all processes."""
    logits = circle_logits if params.weights == "adaptive" else equal_logits

    def loss(x: LossInput) -> LossOutput:
        cosine = pairwise_cosine(x.features, x.features)
        masks = pair_masks(x.pids)
        value = unified_loss(*logits(cosine, params.margin, params.gamma), *masks, params.reduce)
        return LossOutput(value, pair_means("cosine", cosine, *masks))

    return loss


@hookimpl
def reid_loss() -> list[LossComponent]:
    """Offer the circle loss."""
    return [
        LossComponent(
            name="circle",
            params=CircleParams,
            build=build,
            summary="Cosines of pairs, each weighted by how far it is from its goal",
            reference="arXiv:2002.10857",
            role="metric",
            on="embedding",
            normalize=True,
            needs=frozenset({"pairs"}),
        )
    ]

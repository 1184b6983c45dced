"""The loss `multi_similarity`: informative pairs, weighted within their sort.

An anchor keeps the positive pairs that are not clearly nearer than its hardest negative
one, and the negative pairs that are not clearly farther than its hardest positive one.
Among those that it keeps, soft thresholds let the hard ones count most.

Stands on `toolkit/loss_distances.py` and `toolkit/pair_mining.py`.

Reference: Wang et al., "Multi-Similarity Loss with General Pair Weighting for Deep Metric
Learning", arXiv:1904.06627, equations 11 to 13 and 15.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from reid_core import LossComponent, Params, hookimpl
from reid_core.contracts import Loss, LossInput, LossOutput
from reid_plugins.toolkit.loss_distances import pairwise_cosine
from reid_plugins.toolkit.pair_mining import hardest_pairs, masked_logsumexp, pair_masks, pair_means

if TYPE_CHECKING:
    from torch import Tensor


class MultiSimilarityParams(Params):
    """Params of the loss `multi_similarity`."""

    alpha: float = Field(
        default=2.0, gt=0.0, description="Sharpness of the positive pairs' threshold, above 0."
    )
    beta: float = Field(
        default=50.0, gt=0.0, description="Sharpness of the negative pairs' threshold, above 0."
    )
    threshold: float = Field(
        default=1.0,
        ge=-1.0,
        le=1.0,
        description="Cosine in [-1, 1] that positive pairs shall exceed and negative pairs stay "
        "below; the authors' code has 0.5.",
    )
    epsilon: float = Field(
        default=0.1,
        ge=0.0,
        description="Cosine, from 0, by which a pair may be easier than the hardest of the other "
        "sort and still be kept; 2 keeps all.",
    )


def informative_pairs(cosine: Tensor, pids: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
    """Return which pairs are kept, ``(B, B)`` bool each: positive and negative ones.

    An anchor without a positive or without a negative pair keeps none.

    Args:
        cosine: ``(B, B)``, -1 to 1.
        pids: ``(B,)`` int64.
        epsilon: A cosine.
    """
    positive, negative = pair_masks(pids)
    distmat = -cosine.detach()
    farthest, nearest = hardest_pairs(distmat, pids)  # (B,)
    kept_positive = positive & (distmat > nearest[:, None] - epsilon)  # equation 12
    return kept_positive, negative & (distmat < farthest[:, None] + epsilon)  # equation 11


def multi_similarity_loss(
    cosine: Tensor,
    positive: Tensor,
    negative: Tensor,
    alpha: float,
    beta: float,
    threshold: float,
) -> Tensor:
    """Return the mean over all anchors of both sorts' ``log(1 + sum(exp(...)))``, a scalar.

    Args:
        cosine: ``(B, B)``, -1 to 1.
        positive: ``(B, B)`` bool, pairs to pull.
        negative: ``(B, B)`` bool, pairs to push.
        alpha: Of the positive pairs.
        beta: Of the negative pairs.
        threshold: The lambda of the paper, a cosine.
    """
    import torch.nn.functional as F

    pull = F.softplus(masked_logsumexp(alpha * (threshold - cosine), positive)) / alpha  # (B,)
    push = F.softplus(masked_logsumexp(beta * (cosine - threshold), negative)) / beta  # (B,)
    return (pull + push).mean()


def build(params: MultiSimilarityParams) -> Loss:
    """Build the loss; the core hands it the batch of all processes."""

    def loss(x: LossInput) -> LossOutput:
        cosine = pairwise_cosine(x.features, x.features)
        kept = informative_pairs(cosine, x.pids, params.epsilon)
        value = multi_similarity_loss(cosine, *kept, params.alpha, params.beta, params.threshold)
        positive, negative = pair_masks(x.pids)
        monitors = {
            **pair_means("cosine", cosine, positive, negative),
            "active": (kept[0].sum() + kept[1].sum()) / (positive | negative).sum().clamp(min=1),
        }
        return LossOutput(value, monitors)

    return loss


@hookimpl
def reid_loss() -> list[LossComponent]:
    """Offer the multi-similarity loss."""
    return [
        LossComponent(
            name="multi_similarity",
            params=MultiSimilarityParams,
            build=build,
            summary="Cosines of informative pairs, the hard ones counting most",
            reference="arXiv:1904.06627",
            role="metric",
            on="embedding",
            normalize=True,
            needs=frozenset({"pairs"}),
        )
    ]

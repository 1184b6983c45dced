"""The loss `contrastive`: pull the pairs of one person together, push all others apart.

A positive pair costs its distance beyond a margin, a negative pair what it lacks to another
margin. Both means are over the pairs that cost something, so that the many negative pairs
that are far apart already do not hide the few that are not.

Stands on `toolkit/loss_distances.py` and `toolkit/pair_mining.py`.

Reference: Hadsell et al., "Dimensionality Reduction by Learning an Invariant Mapping",
CVPR 2006, equation 4, with distances instead of their squares, as in
pytorch-metric-learning (arXiv:2008.09164).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from reid_core import LossComponent, Params, hookimpl
from reid_core.contracts import Loss, LossInput, LossOutput
from reid_plugins.toolkit.loss_distances import Distance, pairwise_distance
from reid_plugins.toolkit.pair_mining import masked_mean, pair_masks, pair_means

if TYPE_CHECKING:
    from torch import Tensor


class ContrastiveParams(Params):
    """Params of the loss `contrastive`."""

    positive_margin: float = Field(
        default=0.0,
        ge=0.0,
        description="Positive pairs nearer than this cost nothing; in units of the distance, "
        "from 0.",
    )
    negative_margin: float = Field(
        default=1.0,
        ge=0.0,
        description="Negative pairs farther than this cost nothing; in units of the distance, "
        "from 0.",
    )
    distance: Distance = "euclidean"


def contrastive_loss(
    distmat: Tensor, pids: Tensor, positive_margin: float, negative_margin: float
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the mean cost of positive pairs plus that of negative pairs, and its monitors.

    Args:
        distmat: ``(B, B)``.
        pids: ``(B,)`` int64.
        positive_margin: In units of the distance.
        negative_margin: Likewise.

    Returns:
        The value; a sort without a pair that costs anything adds 0. The monitors: both mean
        distances, and the fraction of negative pairs within their margin.
    """
    positive, negative = pair_masks(pids)
    pull, push = distmat - positive_margin, negative_margin - distmat  # (B, B)
    close = negative & (push > 0)
    value = masked_mean(pull, positive & (pull > 0)) + masked_mean(push, close)
    monitors = {
        **pair_means("distance", distmat, positive, negative),
        "active": close.sum() / negative.sum().clamp(min=1),
    }
    return value, monitors


def build(params: ContrastiveParams) -> Loss:
    """Build the loss; the core hands it the batch of all processes."""

    def loss(x: LossInput) -> LossOutput:
        distmat = pairwise_distance(x.features, x.features, params.distance)
        margins = params.positive_margin, params.negative_margin
        return LossOutput(*contrastive_loss(distmat, x.pids, *margins))

    return loss


@hookimpl
def reid_loss() -> list[LossComponent]:
    """Offer the contrastive loss."""
    return [
        LossComponent(
            name="contrastive",
            params=ContrastiveParams,
            build=build,
            summary="Distances of positive pairs, and of negative pairs within a margin",
            reference="Hadsell et al., CVPR 2006",
            role="metric",
            on="embedding",
            normalize=True,
            needs=frozenset({"pairs"}),
        )
    ]

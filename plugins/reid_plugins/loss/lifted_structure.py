"""The loss `lifted_structure`: every anchor against all images of the batch at once.

A smooth maximum over the distances to all positives must lie below a smooth minimum over
those to all negatives. This is the generalised form, in which each image is an anchor.

Stands on `toolkit/loss_distances.py` and `toolkit/pair_mining.py`.

Reference: Hermans et al., "In Defense of the Triplet Loss for Person Re-Identification",
arXiv:1703.07737, section 2, "Lifted Embedding loss" in its generalised form, after Oh Song et
al., "Deep Metric Learning via Lifted Structured Feature Embedding", arXiv:1511.06452.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from reid_core import LossComponent, Params, hookimpl
from reid_core.contracts import Loss, LossInput, LossOutput
from reid_plugins.toolkit.loss_distances import Distance, pairwise_distance
from reid_plugins.toolkit.pair_mining import masked_logsumexp, pair_masks, pair_means

if TYPE_CHECKING:
    from torch import Tensor


class LiftedStructureParams(Params):
    """Params of the loss `lifted_structure`."""

    margin: float = Field(
        default=1.0,
        ge=0.0,
        description="Margin between positive and negative distances, in units of the distance, "
        "from 0.",
    )
    distance: Distance = "euclidean"


def lifted_structure_loss(
    distmat: Tensor, pids: Tensor, margin: float
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the mean over all anchors of ``[LSE(d_p) + LSE(margin - d_n)]+``, and its monitors.

    The logarithm of the sum of exponentials over no pair counts as 0: an anchor without a
    positive is still pushed away from its negatives.

    Args:
        distmat: ``(B, B)``.
        pids: ``(B,)`` int64.
        margin: In units of the distance.

    Returns:
        The value, and the monitors: the fraction of anchors that cost something, and both
        mean distances.
    """
    positive, negative = pair_masks(pids)
    farthest = masked_logsumexp(distmat, positive, empty=0.0)  # (B,)
    nearest = masked_logsumexp(margin - distmat, negative, empty=0.0)  # (B,)
    losses = (farthest + nearest).relu()
    monitors = {
        "active": (losses > 0).to(losses).mean(),
        **pair_means("distance", distmat, positive, negative),
    }
    return losses.mean(), monitors


def build(params: LiftedStructureParams) -> Loss:
    """Build the loss; the core hands it the batch of all processes."""

    def loss(x: LossInput) -> LossOutput:
        distmat = pairwise_distance(x.features, x.features, params.distance)
        return LossOutput(*lifted_structure_loss(distmat, x.pids, params.margin))

    return loss


@hookimpl
def reid_loss() -> list[LossComponent]:
    """Offer the generalised lifted structure loss."""
    return [
        LossComponent(
            name="lifted_structure",
            params=LiftedStructureParams,
            build=build,
            summary="Smooth maximum of positive and minimum of negative distances per anchor",
            reference="arXiv:1703.07737",
            role="metric",
            on="embedding",
            normalize=True,
            needs=frozenset({"pairs"}),
        )
    ]

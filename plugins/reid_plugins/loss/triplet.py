"""The loss `triplet`: every anchor against its hardest positive and negative.

Every image in turn is the anchor. Its farthest image of the same person must be nearer, by
a margin, than its nearest image of anybody else in the batch. Anchors without an image of
either sort are left out. Weighted mining takes means of all distances instead, in which
hard pairs count most. An image is no positive of itself here. In the code of AGW, and in
fast-reid, which follows it, and pytorch-reid-lite, it is, at the distance 0: their positive
distance is ours times ``1 - 1 / (1 + sum_k exp(d_k))`` over the anchor's positives k. That is
nearly 1 for features of any length, and with K = 4 about 0.89 for unit vectors at distance 1.

Stands on `toolkit/loss_distances.py` and `toolkit/pair_mining.py`.

Reference: Hermans et al., "In Defense of the Triplet Loss for Person Re-Identification",
arXiv:1703.07737, equation 5; soft margin: section 2, "Soft-margin". Weighted mining: Ye et
al., "Deep Learning for Person Re-identification: A Survey and Outlook", arXiv:2001.04193,
"Weighted Regularization Triplet".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from reid_core import LossComponent, Params, hookimpl
from reid_core.contracts import Loss, LossInput, LossOutput
from reid_plugins.toolkit.loss_distances import Distance, pairwise_distance
from reid_plugins.toolkit.pair_mining import hardest_pairs, weighted_pairs

if TYPE_CHECKING:
    from torch import Tensor


class TripletParams(Params):
    """Params of the loss `triplet`."""

    margin: Annotated[float, Field(ge=0.0)] | Literal["soft"] = Field(
        default=0.3,
        description='Margin in units of the distance, from 0; or "soft": log(1 + exp(p - n)).',
    )
    distance: Distance = "euclidean"
    mining: Literal["hard", "weighted"] = Field(
        default="hard",
        description='"hard": the farthest positive and the nearest negative; "weighted": means '
        "of all, weighted by the softmax of the distances and of the negated distances.",
    )
    hard_factor: float = Field(
        default=0.0,
        ge=0.0,
        lt=1.0,
        description="Fraction in [0, 1) by which the positive's distance is lengthened and the "
        "negative's shortened before they are compared; 0 changes nothing.",
    )


def triplet_loss(
    positive: Tensor,
    negative: Tensor,
    margin: float | Literal["soft"],
    hard_factor: float = 0.0,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the mean loss of all complete triplets and its monitors.

    Args:
        positive: ``(B,)``, from ``hardest_pairs`` or ``weighted_pairs``.
        negative: ``(B,)``, likewise.
        margin: In units of the distance, or ``"soft"``.
        hard_factor: Fraction by which positives are lengthened and negatives shortened.

    Returns:
        The value, 0 when no triplet is complete, and the monitors: the fraction of
        triplets that break the margin (0 for ``"soft"``), and both mean distances.
    """
    import torch
    import torch.nn.functional as F

    complete = positive.isfinite() & negative.isfinite()
    count = complete.sum().clamp(min=1)
    # An incomplete triplet has the gap minus infinity: loss and gradient are exactly 0,
    # without an index whose size the host would have to wait for.
    gap = (1 + hard_factor) * positive - (1 - hard_factor) * negative
    gap = gap + (0.0 if margin == "soft" else margin)
    value = (F.softplus(gap) if margin == "soft" else F.relu(gap)).sum() / count
    zero = torch.zeros_like(gap)
    monitors = {
        "active": (gap > 0).sum() / count,
        "positive_distance": torch.where(complete, positive, zero).detach().sum() / count,
        "negative_distance": torch.where(complete, negative, zero).detach().sum() / count,
    }
    return value, monitors


def build(params: TripletParams) -> Loss:
    """Build the loss; the core hands it the batch of all processes."""
    mine = hardest_pairs if params.mining == "hard" else weighted_pairs

    def loss(x: LossInput) -> LossOutput:
        distmat = pairwise_distance(x.features, x.features, params.distance)
        pairs = mine(distmat, x.pids)
        return LossOutput(*triplet_loss(*pairs, params.margin, params.hard_factor))

    return loss


@hookimpl
def reid_loss() -> list[LossComponent]:
    """Offer the triplet loss."""
    return [
        LossComponent(
            name="triplet",
            params=TripletParams,
            build=build,
            summary="Hardest or weighted triplets with a margin or the soft margin",
            reference="arXiv:1703.07737",
            role="metric",
            on="feature",
            needs=frozenset({"pairs"}),
        )
    ]

"""The loss `ranked_list`: a sphere for every person, and all others at a distance from it.

Positive pairs are pulled together only as far as a radius, so that an identity keeps its
inner variety. Negative pairs nearer than a boundary are pushed out, the nearest ones most.
With clusters, an anchor's negatives are those that k-means puts into its own cluster.

Stands on `toolkit/loss_distances.py` and `toolkit/pair_mining.py`.

Reference: Wang et al., "Ranked List Loss for Deep Metric Learning", arXiv:1903.03238.
Clusters and the mean over all positives: Ranked_Person_ReID, which adds both parts (the sum
is twice the value at ``negative_weight`` 0.5) and sums over clusters; here all is a mean.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from reid_core import LossComponent, Params, hookimpl
from reid_core.contracts import Loss, LossInput, LossOutput
from reid_core.limits import MOST_CLUSTERS
from reid_plugins.toolkit.loss_distances import Distance, pairwise_distance
from reid_plugins.toolkit.pair_mining import masked_softmax, pair_masks, pair_means

if TYPE_CHECKING:
    from torch import Tensor


class RankedListParams(Params):
    """Params of the loss `ranked_list`."""

    alpha: float = Field(
        default=1.2,
        gt=0.0,
        description="Boundary that negative pairs shall lie beyond, above 0; between vectors of "
        "length 1 distances are 0 to 2. People: 2.0.",
    )
    margin: float = Field(
        default=0.4,
        ge=0.0,
        description="Positive pairs shall be nearer than alpha - margin; a distance from 0 to "
        "alpha. People: 1.3.",
    )
    temperature: float = Field(
        default=10.0,
        ge=0.0,
        description="Negative pairs weigh exp(temperature * (alpha - distance)), from 0, which "
        "weighs them alike. People: 1.0.",
    )
    negative_weight: float = Field(
        default=0.5,
        ge=0.0,
        le=1.0,
        description="Share in [0, 1] of the negative pairs in the value; the rest is that of the "
        "positive pairs.",
    )
    positive_mean: Literal["violating", "all"] = Field(
        default="violating",
        description="The positive pairs' cost is divided by the number of those beyond their "
        "radius, or of all.",
    )
    clusters: int = Field(
        default=0,
        ge=0,
        le=MOST_CLUSTERS,
        description="Number of k-means clusters, from which an anchor takes its negatives; 0 "
        "takes them from the whole batch.",
    )
    distance: Distance = "euclidean"

    @model_validator(mode="after")
    def _has_radius(self) -> RankedListParams:
        if self.margin > self.alpha:
            raise ValueError(
                "margin must be at most alpha: positive pairs cannot be nearer than alpha - "
                f"margin = {self.alpha - self.margin:g}"
            )
        return self


def positive_part(
    distmat: Tensor, positive: Tensor, radius: float, mean: Literal["violating", "all"]
) -> Tensor:
    """Return every anchor's mean of what its positive pairs lie beyond the radius.

    Args:
        distmat: ``(B, B)``.
        positive: ``(B, B)`` bool.
        radius: A distance.
        mean: Over the pairs beyond the radius, or over all positive pairs.

    Returns:
        ``(B,)``, 0 without such a pair.
    """
    beyond = positive & (distmat > radius)
    counted = beyond if mean == "violating" else positive
    cost = (distmat - radius).masked_fill(~beyond, 0)
    return cost.sum(dim=1) / counted.sum(dim=1).clamp(min=1)


def negative_part(distmat: Tensor, negative: Tensor, alpha: float, temperature: float) -> Tensor:
    """Return every anchor's weighted mean of what its negative pairs lie within the boundary.

    Args:
        distmat: ``(B, B)``.
        negative: ``(B, B)`` bool.
        alpha: The boundary, a distance.
        temperature: The larger, the more the nearest pairs count.

    Returns:
        ``(B,)``, 0 without such a pair.
    """
    gap = alpha - distmat
    weights = masked_softmax(temperature * gap, negative & (gap > 0))  # (B, B)
    return (weights * gap).sum(dim=1)


def build(params: RankedListParams) -> Loss:
    """Build the loss; the core hands it the batch of all processes."""
    from reid_plugins.loss._kmeans import kmeans

    radius, share = params.alpha - params.margin, params.negative_weight

    def loss(x: LossInput) -> LossOutput:
        distmat = pairwise_distance(x.features, x.features, params.distance)
        positive, negative = pair_masks(x.pids)
        monitors = pair_means("distance", distmat, positive, negative)
        if params.clusters:
            draws = x.progress.generator("ranked_list.clusters")
            cluster = kmeans(x.features, params.clusters, draws)
            negative = negative & (cluster[:, None] == cluster[None, :])
        pull = positive_part(distmat, positive, radius, params.positive_mean)
        push = negative_part(distmat, negative, params.alpha, params.temperature)
        return LossOutput(((1 - share) * pull + share * push).mean(), monitors)

    return loss


@hookimpl
def reid_loss() -> list[LossComponent]:
    """Offer the ranked list loss."""
    return [
        LossComponent(
            name="ranked_list",
            params=RankedListParams,
            build=build,
            summary="Positive pairs within a radius, negative pairs beyond a boundary",
            reference="arXiv:1903.03238",
            role="metric",
            on="embedding",
            normalize=True,
            needs=frozenset({"pairs"}),
        )
    ]

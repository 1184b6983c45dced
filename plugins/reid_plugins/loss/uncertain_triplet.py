"""The loss `uncertain_triplet`: batch-hard triplets with a margin for each image.

As `uncertain_pair`, but only the hardest positive and the hardest negative pair of each anchor
count. What is hard is judged with the uncertainties, of which a larger one is a smaller margin.
As published, an image is a positive of itself, at distance 0. Without uncertainties this is the
triplet loss on unit vectors.

Stands on `toolkit/uncertainty.py`.

Reference: Huang et al., "Norm-Aware Margin Assignment for Person Re-Identification" (NAMA),
2022. Names of its code: ``uc-tri-hard`` is the default; ``uc-tri`` and ``uc-atri`` have a fixed
``uncertainty``, ``sharpness`` 20 and the distances "chord" and "arc". Its term for the norm is
the loss `norm_regularizer`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from reid_core import LossComponent, hookimpl
from reid_core.contracts import Loss, LossInput, LossOutput
from reid_plugins.toolkit.uncertainty import (
    PairParams,
    pair_gaps,
    pair_monitors,
    reads_uncertainty,
    sphere_distance,
    uncertainty_of,
)

if TYPE_CHECKING:
    from torch import Tensor

NAME = "uncertain_triplet"


class UncertainTripletParams(PairParams):
    """Params of the loss `uncertain_triplet`."""

    sharpness: float | None = Field(
        default=None,
        gt=0.0,
        le=1024.0,
        description="b of the soft hinge log(1 + exp(b z)) / b, in (0, 1024]; null: max(0, z).",
    )


def hardest_gaps(positive: Tensor, negative: Tensor, same: Tensor) -> Tensor:
    """Return each anchor's largest positive gap plus its largest negative gap.

    Args:
        positive: ``(B, B)`` gaps of positive pairs, anchors in rows.
        negative: ``(B, B)`` gaps of negative pairs.
        same: ``(B, B)`` bool, pairs of one person, the diagonal included.

    Returns:
        ``(B,)``; minus infinity without a negative.
    """
    import torch

    return positive.masked_fill(~same, -torch.inf).amax(dim=1) + negative.masked_fill(
        same, -torch.inf
    ).amax(dim=1)


def build(params: UncertainTripletParams) -> Loss:
    """Build the loss; the core hands it the batch of all processes."""
    import torch.nn.functional as F

    def loss(x: LossInput) -> LossOutput:
        uc = uncertainty_of(x, params.uncertainty, NAME)
        same = x.pids[:, None] == x.pids[None, :]
        distmat = sphere_distance(x.features, params.distance)
        gap = hardest_gaps(*pair_gaps(distmat, uc, params), same)
        beta = params.sharpness
        value = (F.relu(gap) if beta is None else F.softplus(gap, beta)).mean()
        active = (gap > 0).float().mean()
        return LossOutput(value, {"active": active, **pair_monitors(distmat, x.pids, uc)})

    return loss


@hookimpl
def reid_loss() -> list[LossComponent]:
    """Offer the loss on the hardest pairs."""
    return [
        LossComponent(
            name=NAME,
            params=UncertainTripletParams,
            build=build,
            summary="Batch-hard triplets, with a margin by the uncertainty of each image",
            reference="Huang et al., Norm-Aware Margin Assignment, 2022",
            role="metric",
            on="feature",
            needs=frozenset({"pairs"}),
            reads=reads_uncertainty,
        )
    ]

"""The loss `uncertain_pair`: all pairs of the batch, with a margin for each image.

Every image in turn is the anchor. A smooth maximum over its positive pairs must stay below a
smooth minimum over its negative pairs by a margin, less the uncertainties of the three images
(the anchor's counts twice): a larger uncertainty is a smaller margin. Uncertainties have the
mean 0, so that a margin that one image is spared is put on others. As published, an image is a
positive of itself, at distance 0.

Stands on `toolkit/pair_mining.py` and `toolkit/uncertainty.py`.

Reference: Huang et al., "Norm-Aware Margin Assignment for Person Re-Identification" (NAMA),
2022. Names of its code: ``uc-tri-n`` is distance "chord", ``uc-pair-n`` "arc", ``uc-atri-n``
"chord_of_arc", ``uc-tri-dpn`` "chord" with ``detach_partners``. Its term for the norm is the
loss `norm_regularizer`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from reid_core import LossComponent, hookimpl
from reid_core.contracts import Loss, LossInput, LossOutput
from reid_plugins.toolkit.pair_mining import masked_logsumexp
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

NAME = "uncertain_pair"


class UncertainPairParams(PairParams):
    """Params of the loss `uncertain_pair`."""

    scale: float = Field(
        default=32.0,
        gt=0.0,
        le=1024.0,
        description="Sharpness of the smooth maximum, in (0, 1024], per unit of the distance.",
    )


def smooth_pair_loss(positive: Tensor, negative: Tensor, same: Tensor, scale: float) -> Tensor:
    """Return the mean over anchors of ``softplus(LSE(s positive) + LSE(s negative)) / s``.

    LSE is the logarithm of the sum of exponentials; an anchor without negatives costs 0.

    Args:
        positive: ``(B, B)`` gaps of positive pairs, anchors in rows.
        negative: ``(B, B)`` gaps of negative pairs.
        same: ``(B, B)`` bool, pairs of one person, the diagonal included.
        scale: The s of the formula.
    """
    import torch.nn.functional as F

    pull = masked_logsumexp(scale * positive, same)  # (B,)
    push = masked_logsumexp(scale * negative, ~same)
    return F.softplus(pull + push).mean() / scale


def build(params: UncertainPairParams) -> Loss:
    """Build the loss; the core hands it the batch of all processes."""

    def loss(x: LossInput) -> LossOutput:
        uc = uncertainty_of(x, params.uncertainty, NAME)
        same = x.pids[:, None] == x.pids[None, :]
        distmat = sphere_distance(x.features, params.distance)
        value = smooth_pair_loss(*pair_gaps(distmat, uc, params), same, params.scale)
        return LossOutput(value, pair_monitors(distmat, x.pids, uc))

    return loss


@hookimpl
def reid_loss() -> list[LossComponent]:
    """Offer the loss on all pairs."""
    return [
        LossComponent(
            name=NAME,
            params=UncertainPairParams,
            build=build,
            summary="All pairs of a batch, with a margin by the uncertainty of each image",
            reference="Huang et al., Norm-Aware Margin Assignment, 2022",
            role="metric",
            on="feature",
            needs=frozenset({"pairs"}),
            reads=reads_uncertainty,
        )
    ]

"""The loss `triplet`: batch-hard triplets.

Every image in turn is the anchor. Its farthest image of the same person must be nearer, by
a margin, than its nearest image of anybody else in the batch. Anchors without an image of
either sort are left out.

Reference: Hermans et al., "In Defense of the Triplet Loss for Person Re-Identification",
arXiv:1703.07737, equation 5; soft margin: section 2, "Soft-margin".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from reid_core import LossComponent, Params, hookimpl
from reid_core.contracts import LossInput, LossOutput
from reid_plugins.loss._distance import pairwise_distance

if TYPE_CHECKING:
    from torch import Tensor


class TripletParams(Params):
    """Params of the loss `triplet`."""

    margin: Annotated[float, Field(ge=0.0)] | Literal["soft"] = Field(
        default=0.3,
        description='Margin in units of the distance, from 0; or "soft": log(1 + exp(p - n)).',
    )
    distance: Literal["euclidean", "cosine"] = Field(
        default="euclidean",
        description='"euclidean", or "cosine" (1 - cosine, 0 to 2).',
    )


def hardest_pairs(distmat: Tensor, pids: Tensor) -> tuple[Tensor, Tensor]:
    """Return each anchor's distance to its farthest positive and its nearest negative.

    Args:
        distmat: ``(B, B)``.
        pids: ``(B,)`` int64; identities may have different numbers of images.

    Returns:
        ``(B,)`` each; minus infinity without a positive, plus infinity without a negative.
    """
    import torch

    same = pids[:, None] == pids[None, :]  # (B, B)
    itself = torch.eye(len(pids), dtype=torch.bool, device=pids.device)
    positive = distmat.masked_fill(~same | itself, -torch.inf).amax(dim=1)
    negative = distmat.masked_fill(same, torch.inf).amin(dim=1)
    return positive, negative


def triplet_loss(
    positive: Tensor, negative: Tensor, margin: float | Literal["soft"]
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the mean loss of all complete triplets and its monitors.

    Args:
        positive: ``(B,)``, from ``hardest_pairs``.
        negative: ``(B,)``, likewise.
        margin: In units of the distance, or ``"soft"``.

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
    gap = positive - negative + (0.0 if margin == "soft" else margin)
    value = (F.softplus(gap) if margin == "soft" else F.relu(gap)).sum() / count
    zero = torch.zeros_like(gap)
    monitors = {
        "active": (gap > 0).sum() / count,
        "positive_distance": torch.where(complete, positive, zero).detach().sum() / count,
        "negative_distance": torch.where(complete, negative, zero).detach().sum() / count,
    }
    return value, monitors


def build(params: TripletParams) -> Callable[[LossInput], LossOutput]:
    """Build the loss; the core hands it the batch of all processes."""

    def loss(x: LossInput) -> LossOutput:
        distmat = pairwise_distance(x.features, x.features, params.distance)
        return LossOutput(*triplet_loss(*hardest_pairs(distmat, x.pids), params.margin))

    return loss


@hookimpl
def reid_loss() -> list[LossComponent]:
    """Offer the triplet loss."""
    return [
        LossComponent(
            name="triplet",
            params=TripletParams,
            build=build,
            summary="Batch-hard triplets with a margin or the soft margin.",
            reference="arXiv:1703.07737",
            role="metric",
            on="feature",
            needs=frozenset({"pairs"}),
        )
    ]

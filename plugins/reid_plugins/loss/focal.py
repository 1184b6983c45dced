"""The loss `focal`: cross entropy in which images that are already right count less.

Each image's cross entropy is multiplied by a power of the probability that is still
missing, so that the hard ones lead the training. The paper's factor alpha, here the same for all
identities, is the entry's ``weight``.

Stands on `toolkit/accuracy.py`.

Reference: Lin et al., "Focal Loss for Dense Object Detection", arXiv:1708.02002,
equations 4 and 5.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from reid_core import LossComponent, Params, hookimpl
from reid_core.contracts import Loss, LossInput, LossOutput
from reid_plugins.toolkit.accuracy import accuracy

if TYPE_CHECKING:
    from torch import Tensor


class FocalParams(Params):
    """Params of the loss `focal`."""

    gamma: float = Field(
        default=2.0,
        ge=0.0,
        description="Exponent of the missing probability, from 0; 0 is plain cross entropy.",
    )


def focal_terms(log_p: Tensor, gamma: float) -> Tensor:
    """Return ``-(1 - p)^gamma log p`` of each image.

    Args:
        log_p: ``(B,)``, logarithm of the right identity's probability.
        gamma: The exponent of the paper, from 0.
    """
    import torch

    # A base of exactly 0 would give a power below 1 an infinite derivative.
    missing = (-torch.expm1(log_p)).clamp(min=torch.finfo(log_p.dtype).tiny)
    return -missing.pow(gamma) * log_p


def build(params: FocalParams) -> Loss:
    """Build the loss; the core hands it the logits of the branch's classifier."""

    def loss(x: LossInput) -> LossOutput:
        import torch.nn.functional as F

        assert x.logits is not None, "declared in needs"
        log_p = -F.cross_entropy(x.logits, x.pids, reduction="none")  # (B,)
        return LossOutput(
            focal_terms(log_p, params.gamma).mean(),
            {"probability": log_p.detach().exp().mean()},
            accuracy(x.logits, x.pids),
        )

    return loss


@hookimpl
def reid_loss() -> list[LossComponent]:
    """Offer the focal loss."""
    return [
        LossComponent(
            name="focal",
            params=FocalParams,
            build=build,
            summary="Cross entropy in which images that are already right count less",
            reference="arXiv:1708.02002",
            role="id",
            on="embedding",
            needs=frozenset({"classifier"}),
        )
    ]

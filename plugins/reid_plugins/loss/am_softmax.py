"""The loss `am_softmax`: cross entropy over cosines with an additive margin.

Features and class weights are compared by angle alone. The right identity's cosine is
lowered by a margin, so it must win by that much: classes move apart.

Reference: Wang et al., "Additive Margin Softmax for Face Verification",
arXiv:1801.05599, section 3.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pydantic import Field

from reid_core import LossComponent, Params, hookimpl
from reid_core.contracts import LossInput, LossOutput
from reid_plugins.loss._accuracy import accuracy

if TYPE_CHECKING:
    from torch import Tensor


class AMSoftmaxParams(Params):
    """Params of the loss `am_softmax`."""

    scale: float = Field(
        default=30.0, gt=0.0, description="Multiplies the cosines before the softmax, above 0."
    )
    margin: float = Field(
        default=0.35,
        ge=0.0,
        le=2.0,
        description="Cosine in [0, 2] taken from the right identity; 0 is no margin.",
    )


def cosine_similarity(features: Tensor, weight: Tensor) -> Tensor:
    """Return the cosine of features ``(B, d)`` and class weights ``(num_pids, d)``.

    A zero vector has the cosine 0 to everything. The result is ``(B, num_pids)``.
    """
    import torch.nn.functional as F

    return F.normalize(features, dim=1) @ F.normalize(weight, dim=1).T


def additive_margin_loss(cosine: Tensor, pids: Tensor, scale: float, margin: float) -> Tensor:
    """Return the mean cross entropy of ``scale * (cosine - margin * onehot)``.

    Args:
        cosine: ``(B, num_pids)``, -1 to 1.
        pids: ``(B,)`` int64.
        scale: The s of the paper.
        margin: The m of the paper, a cosine.
    """
    import torch.nn.functional as F

    onehot = F.one_hot(pids, cosine.shape[1]).to(cosine.dtype)  # (B, num_pids)
    return F.cross_entropy(scale * (cosine - margin * onehot), pids)


def build(params: AMSoftmaxParams) -> Callable[[LossInput], LossOutput]:
    """Build the loss; it reads the classifier's weight and ignores its bias."""

    def loss(x: LossInput) -> LossOutput:
        assert x.weight is not None, "declared in needs"
        cosine = cosine_similarity(x.features, x.weight)
        value = additive_margin_loss(cosine, x.pids, params.scale, params.margin)
        return LossOutput(value, {"accuracy": accuracy(cosine, x.pids)})

    return loss


@hookimpl
def reid_loss() -> list[LossComponent]:
    """Offer the AM-softmax loss."""
    return [
        LossComponent(
            name="am_softmax",
            params=AMSoftmaxParams,
            build=build,
            summary="Cross entropy over scaled cosines with an additive margin.",
            reference="arXiv:1801.05599",
            role="id",
            on="embedding",
            needs=frozenset({"classifier"}),
        )
    ]

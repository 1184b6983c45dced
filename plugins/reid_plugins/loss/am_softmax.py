"""The loss `am_softmax`: cross entropy over cosines with an additive margin (CosFace).

Features and class weights are compared by angle alone. The right identity's cosine is
lowered by a margin, so it must win by that much: classes move apart.

Stands on `toolkit/accuracy.py`, `toolkit/margin_logits.py` and `toolkit/margin_schedule.py`.

Reference: Wang et al., "Additive Margin Softmax for Face Verification",
arXiv:1801.05599, section 3; the same loss: Wang et al., "CosFace: Large Margin Cosine Loss
for Deep Face Recognition", arXiv:1801.09414.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from reid_core import LossComponent, Params, hookimpl
from reid_core.contracts import Loss, LossInput, LossOutput
from reid_plugins.toolkit.accuracy import accuracy
from reid_plugins.toolkit.margin_logits import (
    Scale,
    cosine_monitors,
    cosine_similarity,
    margin_cross_entropy,
    own_cosine,
    scale_factor,
)
from reid_plugins.toolkit.margin_schedule import Margin, margin_at, up_to

if TYPE_CHECKING:
    from torch import Tensor


class AMSoftmaxParams(Params):
    """Params of the loss `am_softmax`."""

    scale: Scale = Field(
        default=30.0,
        description='Multiplies the cosines before the softmax, above 0; "norm": the length of '
        "each feature.",
    )
    margin: Annotated[Margin, up_to(2.0)] = Field(
        default=0.35,
        description="Cosine in [0, 2] taken from the right identity; 0 is no margin. A number, a "
        "ramp or steps [[epoch, value], ...].",
    )
    form: Literal["additive", "slope"] = Field(
        default="additive",
        description="'additive': cos - m, the paper's. 'slope', for pytorch-reid-lite's results: "
        "((1 + m) cos - m) times the feature's length, which a number as 'scale' multiplies again.",
    )


def additive_target(cosine: Tensor, margin: float) -> Tensor:
    """Return ``cos - m`` of the right identities ``(B, 1)``."""
    return cosine - margin


def slope_target(cosine: Tensor, margin: float) -> Tensor:
    """Return ``(1 + m) cos - m`` of the right identities ``(B, 1)``: nothing is lost at 1."""
    return (1 + margin) * cosine - margin


TARGETS = {"additive": additive_target, "slope": slope_target}


def build(params: AMSoftmaxParams) -> Loss:
    """Build the loss; it reads the classifier's weight and ignores its bias."""

    def loss(x: LossInput) -> LossOutput:
        assert x.weight is not None, "declared in needs"
        margin = margin_at(params.margin, x.progress)
        cosine = cosine_similarity(x.features, x.weight)
        own, scale = own_cosine(cosine, x.pids), scale_factor(x.features, params.scale)
        own = TARGETS[params.form](own, margin)
        if params.form == "slope" and params.scale != "norm":
            # The published results multiply by the length beside the number.
            own = own * scale_factor(x.features, "norm")
        value = margin_cross_entropy(cosine, own, x.pids, scale)
        monitors = cosine_monitors(cosine, x.pids, margin=margin)
        return LossOutput(value, monitors, accuracy(cosine, x.pids))

    return loss


@hookimpl
def reid_loss() -> list[LossComponent]:
    """Offer the AM-softmax loss."""
    return [
        LossComponent(
            name="am_softmax",
            params=AMSoftmaxParams,
            build=build,
            summary="CosFace: cross entropy over scaled cosines with an additive margin",
            reference="arXiv:1801.05599",
            role="id",
            on="embedding",
            needs=frozenset({"classifier"}),
        )
    ]

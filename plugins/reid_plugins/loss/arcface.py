"""The loss `arcface`: cross entropy over cosines with a margin added to the angle.

The angle between a feature and its own class counts as larger than it is, by the same
margin whether the angle is small or large, so features gather around their class.

Stands on `toolkit/accuracy.py`, `toolkit/margin_logits.py` and `toolkit/margin_schedule.py`.

Reference: Deng et al., "ArcFace: Additive Angular Margin Loss for Deep Face Recognition",
arXiv:1801.07698, equation 3.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from reid_core import LossComponent, Params, hookimpl
from reid_core.contracts import Loss, LossInput, LossOutput
from reid_plugins.toolkit.accuracy import accuracy
from reid_plugins.toolkit.margin_logits import (
    cosine_monitors,
    cosine_similarity,
    margin_cross_entropy,
    own_cosine,
)
from reid_plugins.toolkit.margin_schedule import Margin, margin_at, up_to

if TYPE_CHECKING:
    from torch import Tensor

Beyond = Literal["falling", "formula"]


class ArcFaceParams(Params):
    """Params of the loss `arcface`."""

    scale: float = Field(
        default=64.0, gt=0.0, description="Multiplies the cosines before the softmax, above 0."
    )
    margin: Annotated[Margin, up_to(1.57)] = Field(
        default=0.5,
        description="Angle in radians in [0, 1.57] added to that of the right identity; 0 is no "
        "margin. A number, a ramp or steps [[epoch, value], ...].",
    )
    beyond: Beyond = Field(
        default="falling",
        description="Where angle + m exceeds pi: 'falling' goes on with cos - m sin m, so that a "
        "worse angle never scores better; 'formula' keeps cos(angle + m), which rises again.",
    )


def arc_target(cosine: Tensor, margin: float, beyond: Beyond = "falling") -> Tensor:
    """Return ``cos(theta + m)`` of the right identities ``(B, 1)``.

    Args:
        cosine: ``(B, 1)``, cos(theta), -1 to 1 but for rounding.
        margin: The m of the paper, radians, 0 to pi / 2.
        beyond: What stands where theta is above pi - m, see the params.
    """
    import torch

    # Through the sum of two angles: no acos, whose derivative is infinite at a cosine of 1.
    # Below the bound lie rounding errors, also negative ones; no gradient passes there.
    sine = (1 - cosine.square()).clamp(min=1e-12).sqrt()
    moved = cosine * math.cos(margin) - sine * math.sin(margin)
    if beyond == "formula":
        return moved
    lowered = cosine - margin * math.sin(margin)
    return torch.where(cosine > math.cos(math.pi - margin), moved, lowered)


def build(params: ArcFaceParams) -> Loss:
    """Build the loss; it reads the classifier's weight and ignores its bias."""

    def loss(x: LossInput) -> LossOutput:
        assert x.weight is not None, "declared in needs"
        margin = margin_at(params.margin, x.progress)
        cosine = cosine_similarity(x.features, x.weight)
        own = arc_target(own_cosine(cosine, x.pids), margin, params.beyond)
        value = margin_cross_entropy(cosine, own, x.pids, params.scale)
        monitors = cosine_monitors(cosine, x.pids, margin=margin)
        return LossOutput(value, monitors, accuracy(cosine, x.pids))

    return loss


@hookimpl
def reid_loss() -> list[LossComponent]:
    """Offer the ArcFace loss."""
    return [
        LossComponent(
            name="arcface",
            params=ArcFaceParams,
            build=build,
            summary="Cross entropy over scaled cosines with a margin on the angle",
            reference="arXiv:1801.07698",
            role="id",
            on="embedding",
            needs=frozenset({"classifier"}),
        )
    ]

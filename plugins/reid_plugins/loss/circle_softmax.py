"""The loss `circle_softmax`: circle loss between features and class weights.

The cosine to the right class should be 1, to every other class 0. Each term's weight grows
with its distance from that goal, so that what is learned leaves the work to the rest.

Stands on `toolkit/accuracy.py`, `toolkit/margin_logits.py` and `toolkit/margin_schedule.py`.

Reference: Sun et al., "Circle Loss: A Unified Perspective of Pair Similarity Optimization",
arXiv:2002.10857, equations 5 and 6 with class-level labels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

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


class CircleSoftmaxParams(Params):
    """Params of the loss `circle_softmax`."""

    scale: float = Field(
        default=64.0,
        gt=0.0,
        description="Multiplies the weighted cosines before the softmax, above 0 (gamma).",
    )
    margin: Annotated[Margin, up_to(1.0)] = Field(
        default=0.35,
        description="Relaxation m in [0, 1], a cosine: the right identity aims above 1 - m, the "
        "others below m. A number, a ramp or steps [[epoch, value], ...].",
    )


def circle_terms(cosine: Tensor, own: Tensor, margin: float) -> tuple[Tensor, Tensor]:
    """Return the weighted distances from the two goals, before the scale.

    Args:
        cosine: ``(B, num_pids)``, -1 to 1.
        own: ``(B, 1)``, the cosines to the right identities.
        margin: The m of the paper.

    Returns:
        ``(B, num_pids)``, every cosine as one to a wrong identity; ``(B, 1)``, those of
        ``own`` as ones to the right identities.
    """
    # The weights are constants for the gradient: they say how hard to pull, not where to.
    alpha_n = (cosine.detach() + margin).clamp(min=0)  # equation 5, O_n = -m
    alpha_p = (1 + margin - own.detach()).clamp(min=0)  # equation 5, O_p = 1 + m
    return alpha_n * (cosine - margin), alpha_p * (own - (1 - margin))


def build(params: CircleSoftmaxParams) -> Loss:
    """Build the loss; it reads the classifier's weight and ignores its bias."""

    def loss(x: LossInput) -> LossOutput:
        assert x.weight is not None, "declared in needs"
        margin = margin_at(params.margin, x.progress)
        cosine = cosine_similarity(x.features, x.weight)
        others, own = circle_terms(cosine, own_cosine(cosine, x.pids), margin)
        value = margin_cross_entropy(others, own, x.pids, params.scale)
        monitors = cosine_monitors(cosine, x.pids, margin=margin)
        return LossOutput(value, monitors, accuracy(cosine, x.pids))

    return loss


@hookimpl
def reid_loss() -> list[LossComponent]:
    """Offer the class-level circle loss."""
    return [
        LossComponent(
            name="circle_softmax",
            params=CircleSoftmaxParams,
            build=build,
            summary="Circle loss over classes: cosines weighted by distance from their goal",
            reference="arXiv:2002.10857",
            role="id",
            on="embedding",
            needs=frozenset({"classifier"}),
        )
    ]

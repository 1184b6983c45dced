"""The loss `uncertain_softmax`: cross entropy over angles, with a margin for each image.

Features and class weights are compared by angle alone. An image's uncertainty puts it off the
right identity and nearer to all others: a larger uncertainty is a larger margin. That is
opposite to the losses on pairs, so here the uncertain images are those with the small value.

Stands on `toolkit/accuracy.py`, `toolkit/margin_logits.py` and `toolkit/uncertainty.py`.

Reference: Huang et al., "Norm-Aware Margin Assignment for Person Re-Identification" (NAMA),
2022, ``uc-cls`` of its code. Unlike there, a positive ``margin`` makes every metric harder (in
"cos" and "linear" that code adds it to the right identity), and the gradient ends at the cosine
1 - 1e-6 instead of 0.99. Its term for the norm is the loss `norm_regularizer`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from reid_core import LossComponent, hookimpl
from reid_core.contracts import Loss, LossInput, LossOutput
from reid_plugins.toolkit.accuracy import accuracy
from reid_plugins.toolkit.margin_logits import (
    cosine_monitors,
    cosine_similarity,
    margin_cross_entropy,
    own_cosine,
)
from reid_plugins.toolkit.uncertainty import (
    UncertaintyParams,
    reads_uncertainty,
    uncertainty_monitors,
    uncertainty_of,
)

if TYPE_CHECKING:
    from torch import Tensor

NAME = "uncertain_softmax"

Metric = Literal["arc", "cos", "linear"]


class UncertainSoftmaxParams(UncertaintyParams):
    """Params of the loss `uncertain_softmax`."""

    metric: Metric = Field(
        default="linear",
        description='Where margins are added and what the logits are. "arc": to the angle, its '
        'cosine; "cos": to the cosine; "linear": to the angle, minus the angle.',
    )
    margin: float = Field(
        default=0.0,
        ge=-1.0,
        le=2.0,
        description="Margin of all images in [-1, 2], in radians or, for cos, a cosine; positive "
        "is harder.",
    )
    scale: float = Field(
        default=16.0, gt=0.0, description="Multiplies the logits before the softmax, above 0."
    )


def uncertain_values(
    cosine: Tensor, pids: Tensor, uc: Tensor, metric: Metric, margin: float
) -> tuple[Tensor, Tensor]:
    """Return the logits before the scale: of all identities as wrong ones, and of the right one.

    Args:
        cosine: ``(B, num_pids)``, -1 to 1 but for rounding.
        pids: ``(B,)`` int64.
        uc: ``(B,)``, the uncertainties u.
        metric: Of the right identity and of others, ``"cos"``: cosine - u - margin and
            cosine + u; ``"arc"``: cos(angle + u + margin) and cos(angle - u); ``"linear"``:
            minus these angles.
        margin: Of the right identity.

    Returns:
        ``(B, num_pids)`` and ``(B, 1)``.
    """
    own, u = own_cosine(cosine, pids), uc[:, None]
    if metric == "cos":
        return cosine + u, own - u - margin
    if metric == "linear":
        return u - angle(cosine), -angle(own) - u - margin
    return turned(cosine, -u), turned(own, u + margin)


def angle(cosine: Tensor) -> Tensor:
    """Return the angle of every cosine, in radians; no gradient within 1e-6 of 1 and -1."""
    return cosine.clamp(-1 + 1e-6, 1 - 1e-6).acos()


def turned(cosine: Tensor, by: Tensor) -> Tensor:
    """Return the cosines of the angles plus ``by``, which are radians and may be broadcast."""
    # Through the sum of two angles: no acos, whose derivative is infinite at the ends.
    sine = (1 - cosine.square()).clamp(min=1e-12).sqrt()
    return cosine * by.cos() - sine * by.sin()


def build(params: UncertainSoftmaxParams) -> Loss:
    """Build the loss; it reads the classifier's weight and ignores its bias."""

    def loss(x: LossInput) -> LossOutput:
        assert x.weight is not None, "declared in needs"
        uc = uncertainty_of(x, params.uncertainty, NAME)
        cosine = cosine_similarity(x.features, x.weight)
        others, own = uncertain_values(cosine, x.pids, uc, params.metric, params.margin)
        value = margin_cross_entropy(others, own, x.pids, params.scale)
        monitors = {**cosine_monitors(cosine, x.pids), **uncertainty_monitors(uc)}
        return LossOutput(value, monitors, accuracy(cosine, x.pids))

    return loss


@hookimpl
def reid_loss() -> list[LossComponent]:
    """Offer the classification loss."""
    return [
        LossComponent(
            name=NAME,
            params=UncertainSoftmaxParams,
            build=build,
            summary="Cross entropy over angles, with a margin by the uncertainty of each image",
            reference="Huang et al., Norm-Aware Margin Assignment, 2022",
            role="id",
            on="embedding",
            needs=frozenset({"classifier"}),
            reads=reads_uncertainty,
        )
    ]

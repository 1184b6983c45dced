"""The loss `sphereface`: cross entropy over cosines with the angle multiplied.

The right identity scores the cosine of m times its angle, continued so that it falls over
the whole half circle: a feature must lie m times nearer to its class than to any other.
The features keep their length.

Stands on `toolkit/accuracy.py`, `toolkit/margin_logits.py` and `toolkit/margin_schedule.py`.

Reference: Liu et al., "SphereFace: Deep Hypersphere Embedding for Face Recognition",
arXiv:1704.08063, section 3.2 (A-Softmax).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated

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


class SphereFaceParams(Params):
    """Params of the loss `sphereface`."""

    margin: int = Field(
        default=4, ge=1, le=8, description="Factor m on the angle, 1 to 8; 1 is no margin."
    )
    scale: Scale = Field(
        default="norm",
        description='Multiplies the cosines before the softmax: "norm", the length of each '
        "feature, as in the paper; or a number above 0.",
    )
    strength: Annotated[Margin, up_to(1.0)] = Field(
        default=1.0,
        description="Share of the margin in [0, 1], the rest is the plain cosine: 1 / (1 + lambda) "
        "of the paper's annealing. A number, a ramp or steps [[epoch, value], ...].",
    )


def sphere_target(cosine: Tensor, margin: int) -> Tensor:
    """Return ``psi = (-1)^k cos(m theta) - 2k`` of the right identities ``(B, 1)``.

    k counts the whole multiples of pi / m in theta, so psi falls from 1 to 1 - 2m.

    Args:
        cosine: ``(B, 1)``, cos(theta), -1 to 1 but for rounding.
        margin: The m of the paper, 1 or more.
    """
    import torch

    # Chebyshev polynomials: cos((n + 1) theta) = 2 cos(theta) cos(n theta) - cos((n - 1) theta).
    before, multiple = torch.ones_like(cosine), cosine
    k = torch.zeros_like(cosine)
    for n in range(1, margin):
        before, multiple = multiple, 2 * cosine * multiple - before
        k = k + (cosine <= math.cos(n * math.pi / margin))
    return (1 - 2 * (k % 2)) * multiple - 2 * k


def build(params: SphereFaceParams) -> Loss:
    """Build the loss; it reads the classifier's weight and ignores its bias."""

    def loss(x: LossInput) -> LossOutput:
        assert x.weight is not None, "declared in needs"
        strength = margin_at(params.strength, x.progress)
        cosine = cosine_similarity(x.features, x.weight)
        plain = own_cosine(cosine, x.pids)
        own = (1 - strength) * plain + strength * sphere_target(plain, params.margin)
        value = margin_cross_entropy(cosine, own, x.pids, scale_factor(x.features, params.scale))
        monitors = cosine_monitors(cosine, x.pids, strength=strength)
        return LossOutput(value, monitors, accuracy(cosine, x.pids))

    return loss


@hookimpl
def reid_loss() -> list[LossComponent]:
    """Offer the SphereFace loss."""
    return [
        LossComponent(
            name="sphereface",
            params=SphereFaceParams,
            build=build,
            summary="Cross entropy over cosines with a multiple of the angle",
            reference="arXiv:1704.08063",
            role="id",
            on="embedding",
            needs=frozenset({"classifier"}),
        )
    ]

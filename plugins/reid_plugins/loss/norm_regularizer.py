"""The loss `norm_regularizer`: features should have long norms, up to a limit.

A convex function of the norm pushes from a lower norm towards an upper one, where it is least.
Of all forms, the derivative by the norm's place in the range is -1 at its lower end and 0 at
its upper end, so that one weight suits all. It keeps norms in the range in which the losses
with an uncertainty read them.

The authors' code adds only the gradient of this term to its losses, not the value; the training
is the same, but here the value counts in the logged total.

Stands on `toolkit/uncertainty.py`.

Reference: Meng et al., "MagFace: A Universal Representation for Face Recognition and Quality
Assessment", arXiv:2103.06795, section 3.2; forms: code of Huang et al., "Norm-Aware Margin
Assignment for Person Re-Identification" (NAMA), 2022.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from reid_core import LossComponent, hookimpl
from reid_core.contracts import Loss, LossInput, LossOutput
from reid_plugins.toolkit.uncertainty import NormRange

if TYPE_CHECKING:
    from torch import Tensor


LARGEST_GROWTH = 20
"""Largest logarithm of how much steeper than at lower_norm ``exp`` may be for a zero vector."""


class NormRegularizerParams(NormRange):
    """Params of the loss `norm_regularizer`."""

    form: Literal["exp", "quad", "log", "arc"] = Field(
        default="exp",
        description='With x from 0 at lower_norm to 1 at upper_norm. "exp": exp(-k x) / k + '
        'exp(-k) x; "quad": (1 - x)^2 / 2; "log": minus the logarithm of the norm plus a linear '
        'term; "arc": 1 / norm plus a linear term, MagFace\'s. log and arc are constant below '
        "lower_norm.",
    )
    k: float = Field(
        default=3.0, gt=0.0, le=20.0, description="Rate of exp, in (0, 20]; not read by others."
    )

    @model_validator(mode="after")
    def _check_growth(self) -> NormRegularizerParams:
        growth = self.k * self.lower_norm / (self.upper_norm - self.lower_norm)
        if self.form == "exp" and growth > LARGEST_GROWTH:
            raise ValueError(
                f"the range is too narrow for 'exp': k * lower_norm / (upper_norm - lower_norm) "
                f"must be at most {LARGEST_GROWTH}, got {growth:.3g}; lower k or widen the range"
            )
        return self


def regularized_norm(norm: Tensor, params: NormRegularizerParams) -> Tensor:
    """Return the function of the norm, elementwise.

    Args:
        norm: ``(B,)``, 0 or larger.
        params: Its form, range and rate.
    """
    low, high, k = params.lower_norm, params.upper_norm, params.k
    width = high - low
    x = (norm - low) / width
    if params.form == "exp":
        return ((-k * x).exp() / k + math.exp(-k) * x) / (1 - math.exp(-k))
    if params.form == "quad":
        return (1 - x).square() / 2
    q = norm.clamp(min=low) / width
    upper, lower = width / high, width / low
    if params.form == "log":
        return (upper * q - q.log()) / (lower - upper)
    return (1 / q + upper**2 * q) / (lower**2 - upper**2)


def build(params: NormRegularizerParams) -> Loss:
    """Build the loss; it wants features that are not normalised."""
    import torch

    def loss(x: LossInput) -> LossOutput:
        norm = torch.linalg.vector_norm(x.features, dim=1)
        seen = norm.detach()
        monitors = {"norm": seen.mean(), "norm_min": seen.amin(), "norm_max": seen.amax()}
        return LossOutput(regularized_norm(norm, params).mean(), monitors)

    return loss


@hookimpl
def reid_loss() -> list[LossComponent]:
    """Offer the regulariser."""
    return [
        LossComponent(
            name="norm_regularizer",
            params=NormRegularizerParams,
            build=build,
            summary="Pushes the norms of features up, to the end of a range",
            reference="arXiv:2103.06795",
            role="metric",
            on="feature",
        )
    ]

"""An uncertainty for each image: where it comes from, and the pairs that it moves.

The losses `uncertain_pair`, `uncertain_triplet`, `uncertain_softmax` and `norm_regularizer` stand
on it.

Of images i and j with uncertainties u, a positive pair should be nearer than u_i + u_j - margin
and a negative pair farther than -(u_i + u_j): in pairs, a larger uncertainty is a smaller margin.

Reference: Huang et al., "Norm-Aware Margin Assignment for Person Re-Identification" (NAMA),
2022. Fixed map from norm to margin: Meng et al., "MagFace", arXiv:2103.06795, section 3.2.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from reid_core import Params, ReidError
from reid_core.contracts import LossInput
from reid_core.errors import name_list
from reid_plugins.toolkit.loss_distances import pairwise_distance
from reid_plugins.toolkit.margin_logits import unit_rows
from reid_plugins.toolkit.pair_mining import pair_masks, pair_means

if TYPE_CHECKING:
    from torch import Tensor

PairDistance = Literal["chord", "arc", "chord_of_arc"]


class NormRange(Params):
    """The norms between which features tell apart good and bad images."""

    lower_norm: float = Field(
        default=10.0, gt=0.0, description="Norm of features of bad images, above 0."
    )
    upper_norm: float = Field(
        default=110.0, gt=0.0, description="Norm of features of good images, above lower_norm."
    )

    @model_validator(mode="after")
    def _check(self) -> NormRange:
        if self.lower_norm >= self.upper_norm:
            raise ValueError(
                f"upper_norm must be above lower_norm, got {self.upper_norm} and {self.lower_norm}"
            )
        return self


class FixedUncertainty(NormRange):
    """An uncertainty that is linear in the norm and constant beyond the range."""

    lower: float = Field(description="Uncertainty at lower_norm and below.")
    upper: float = Field(description="Uncertainty at upper_norm and above.")


class UncertaintyParams(Params):
    """What every loss with an uncertainty has."""

    uncertainty: Literal["head"] | FixedUncertainty = Field(
        default="head",
        description="\"head\": the value 'uc' of the head 'uncertain'; or {\"lower\": ..., "
        '"upper": ...}: a fixed function of the feature\'s norm, for any head.',
    )


class PairParams(UncertaintyParams):
    """What the losses on pairs have."""

    margin: float = Field(
        default=0.2,
        ge=0.0,
        description="Margin between positive and negative pairs, from 0, in units of the distance "
        "(chord_of_arc: radians).",
    )
    distance: PairDistance = Field(
        default="chord",
        description='Distance on the unit sphere. "chord": Euclidean, 0 to 2; "arc": angle, 0 to '
        'pi; "chord_of_arc": margin and uncertainty change the angle, whose chord is compared.',
    )
    detach_partners: bool = Field(
        default=False,
        description="Whether a pair's gradient reaches the uncertainty of its anchor alone.",
    )


def reads_uncertainty(params: UncertaintyParams) -> tuple[str, ...]:
    """Return the names of the heads' values that a loss with these params needs."""
    return ("uc",) if params.uncertainty == "head" else ()


def uncertainty_of(x: LossInput, source: Literal["head"] | FixedUncertainty, loss: str) -> Tensor:
    """Return the uncertainty ``(B,)`` of every image.

    Raises:
        ReidError: The head does not give it.
    """
    if source != "head":
        return fixed_uncertainty(x.features, source)
    if "uc" not in x.aux:
        raise ReidError(
            f"loss '{loss}' needs the head 'uncertain', without an 'alias' (no value 'uc' among "
            f"those of the heads: {name_list(x.aux)})"
        )
    return x.aux["uc"]


def fixed_uncertainty(features: Tensor, to: FixedUncertainty) -> Tensor:
    """Map the norms of features ``(B, d)`` linearly to uncertainties ``(B,)``."""
    import torch

    norm: Tensor = torch.linalg.vector_norm(features, dim=1)
    share = (norm - to.lower_norm) / (to.upper_norm - to.lower_norm)
    return to.lower + (to.upper - to.lower) * share.clamp(0, 1)


def sphere_distance(features: Tensor, distance: PairDistance) -> Tensor:
    """Return the distances ``(B, B)`` of the directions of features ``(B, d)``, 0 to themselves.

    A zero vector has the chord 1 to others. The gradient is 0 for zero vectors, for directions
    nearer than 1e-6 and, in arcs, within 0.003 of opposite ones.
    """
    import torch

    unit = unit_rows(features)
    itself = torch.eye(len(unit), dtype=torch.bool, device=unit.device)
    chord = pairwise_distance(unit, unit).masked_fill(itself, 0)
    return chord if distance == "chord" else 2 * (chord / 2).clamp(max=1 - 1e-6).asin()


def pair_gaps(distmat: Tensor, uc: Tensor, params: PairParams) -> tuple[Tensor, Tensor]:
    """Return by how much each pair misses its goal, as a positive and as a negative one.

    Args:
        distmat: ``(B, B)``, rows are anchors.
        uc: ``(B,)``, the uncertainties u.
        params: Margin, distance, and whether partners are detached.

    Returns:
        ``(B, B)`` each: ``d - u_i - u_j + margin`` and ``-d - u_i - u_j``; for
        ``chord_of_arc`` ``2 sin(gap / 2)`` of these, constant where a gap is beyond pi.
    """
    partner = uc.detach() if params.detach_partners else uc
    moved = uc[:, None] + partner[None, :]
    positive, negative = distmat - moved + params.margin, -distmat - moved
    if params.distance == "chord_of_arc":
        # Beyond the diameter chords become shorter: the wrong way for a gap that grows.
        positive, negative = (g.clamp(-math.pi, math.pi) for g in (positive, negative))
        return 2 * (positive / 2).sin(), 2 * (negative / 2).sin()
    return positive, negative


def pair_monitors(distmat: Tensor, pids: Tensor, uc: Tensor) -> dict[str, Tensor]:
    """Return mean distances of pairs of one and of two people, and the range of ``uc``.

    Args:
        distmat: ``(B, B)``; the diagonal is left out.
        pids: ``(B,)`` int64.
        uc: ``(B,)``.
    """
    means = pair_means("distance", distmat, *pair_masks(pids))
    return {**means, **uncertainty_monitors(uc)}


def uncertainty_monitors(uc: Tensor) -> dict[str, Tensor]:
    """Return the least and the largest uncertainty of ``uc (B,)``, detached."""
    return {"uncertainty_min": uc.detach().amin(), "uncertainty_max": uc.detach().amax()}

"""The angle between two vectors, less a part of the gallery image's uncertainty.

``2 asin(chord / 2) - factor * uc``: the uncertainty is that of the head `uncertain`. That of
the query, the same for its whole gallery, is left out.

Reference: Huang et al., "Norm-Aware Margin Assignment for Person Re-Identification" (NAMA),
2022: ``TEST.NORM_K`` of its code, where it is usually 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from reid_core import DistanceComponent, Params, hookimpl

if TYPE_CHECKING:
    from reid_evaluate.distances.comparison import Distance


class UncertainDistanceParams(Params):
    """Params of the distance `uncertain`."""

    factor: float = Field(
        default=0.0,
        description="Radians per unit of uncertainty that are taken off; 0 ranks as the cosine "
        "does. Where a larger uc is less certain, as losses on pairs teach it, a negative factor "
        "puts uncertain gallery images behind and a positive one in front; after "
        "uncertain_softmax it is the other way round.",
    )


def build(params: UncertainDistanceParams) -> Distance:
    """Return the distance."""
    from reid_evaluate.distances.uncertain_distance import UncertainAngle

    return UncertainAngle(params.factor)


@hookimpl
def reid_distance() -> list[DistanceComponent]:
    """Offer ``uncertain``."""
    return [
        DistanceComponent(
            name="uncertain",
            params=UncertainDistanceParams,
            build=build,
            summary="Angle less a part of the gallery image's uncertainty (head 'uncertain')",
            reference="Huang et al., Norm-Aware Margin Assignment, 2022",
            aux=("uc",),
        )
    ]

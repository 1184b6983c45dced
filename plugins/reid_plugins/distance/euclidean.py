"""The Euclidean distance of the vectors as they come, and its square.

Both give the same ranking; they differ in the distances that are stored, in thresholds, and
in what re-ranking makes of them.

Reference: Luo et al., "Bag of Tricks and A Strong Baseline for Deep Person
Re-identification", arXiv:1903.07071 (squared).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reid_core import DistanceComponent, Params, hookimpl

if TYPE_CHECKING:
    from reid_evaluate.distances.comparison import Distance


def build_euclidean(params: Params) -> Distance:
    """Return the distance."""
    from reid_evaluate.distances.distance_matrix import Euclidean

    return Euclidean()


def build_squared(params: Params) -> Distance:
    """Return the squared distance."""
    from reid_evaluate.distances.distance_matrix import SquaredEuclidean

    return SquaredEuclidean()


@hookimpl
def reid_distance() -> list[DistanceComponent]:
    """Offer ``euclidean`` and ``squared_euclidean``."""
    return [
        DistanceComponent(
            name="euclidean",
            build=build_euclidean,
            summary="Euclidean distance of the vectors as they come",
        ),
        DistanceComponent(
            name="squared_euclidean",
            build=build_squared,
            summary="Squared Euclidean distance of the vectors as they come",
            reference="Luo et al., arXiv:1903.07071",
        ),
    ]

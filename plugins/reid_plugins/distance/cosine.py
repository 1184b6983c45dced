"""1 - the cosine of the angle between two vectors.

The vectors are L2-normalised; one of zeros stays zero and has distance 1 from all.

Reference: the test distance of most re-identification systems, e.g. Zheng et al., "Scalable
Person Re-identification: A Benchmark", ICCV 2015.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reid_core import DistanceComponent, Params, hookimpl

if TYPE_CHECKING:
    from reid_evaluate.distances.comparison import Distance


def build(params: Params) -> Distance:
    """Return the distance."""
    from reid_evaluate.distances.distance_matrix import Cosine

    return Cosine()


@hookimpl
def reid_distance() -> list[DistanceComponent]:
    """Offer ``cosine``."""
    return [
        DistanceComponent(
            name="cosine",
            build=build,
            summary="1 - the dot product of the L2-normalised vectors",
            reference="Zheng et al., ICCV 2015",
        )
    ]

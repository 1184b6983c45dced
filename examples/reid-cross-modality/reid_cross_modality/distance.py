"""The distance `modality_cosine`: images of one modality look alike for the wrong reason.

``1 - cosine + bias`` for two images of one modality, ``1 - cosine`` for two of different ones, and
``factor`` times a value of the head less for the gallery image.

Reads the column ``modality`` and, with a factor, one value of a head, such as the ``uc`` of the
head `uncertain`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from reid_core import DistanceComponent, Params, hookimpl

if TYPE_CHECKING:
    from reid_evaluate.distances.comparison import Distance

MODALITY = "modality"


class ModalityCosineParams(Params):
    """Params of the distance `modality_cosine`."""

    bias: float = Field(
        default=0.1, ge=0, le=2, description="Added to pairs of one modality, 0 to 2; cosines."
    )
    factor: float = Field(
        default=0.0, description="Taken off per unit of the gallery image's value; 0: none is read."
    )
    value: str = Field(
        default="uc", min_length=1, description="Name of that value, one number of each image."
    )


def aux(params: ModalityCosineParams) -> tuple[str, ...]:
    """Return the values of heads that it reads."""
    return (params.value,) if params.factor else ()


def build(params: ModalityCosineParams) -> Distance:
    """Return the distance."""
    from reid_cross_modality._modality_cosine import ModalityCosine

    return ModalityCosine(params)


@hookimpl
def reid_distance() -> list[DistanceComponent]:
    """Offer ``modality_cosine``."""
    return [
        DistanceComponent(
            name="modality_cosine",
            params=ModalityCosineParams,
            build=build,
            summary="1 - cosine, more for two images of one modality, less by a head's value",
            aux=aux,
            columns=(MODALITY,),
        )
    ]

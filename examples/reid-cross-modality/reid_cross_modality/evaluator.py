"""The evaluator `cross_modality`: queries of one modality against a gallery of the other.

Reference: Wu et al., "RGB-Infrared Cross-Modality Person Re-Identification", ICCV 2017
(SYSU-MM01), whose rules for places and ranks these are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pydantic import Field

from reid_core import EvaluatorComponent, Params, hookimpl
from reid_core.contracts import Evaluator, NamedPart

if TYPE_CHECKING:
    from reid_evaluate.distances.comparison import Distance

MODALITY = "modality"


class CrossModalityParams(Params):
    """Params of the evaluator `cross_modality`."""

    query: str = Field(default="infrared", description="Value of 'modality' of the queries.")
    gallery: str = Field(default="visible", description="Likewise of the gallery images.")
    place: str = Field(
        default="location",
        min_length=1,
        description="Column of the places: gallery images of the query's place are left out. "
        "'camid' where every camera has a place of its own.",
    )
    shots: int = Field(
        default=1,
        ge=0,
        description="Images of every person and camera in a drawn gallery; 0: the whole gallery.",
    )
    draws: int = Field(default=10, ge=1, description="Galleries that are drawn, 1 or larger.")
    seed: int = Field(default=0, ge=0, description="Seed of the draws.")
    output: str = Field(
        default="embedding", pattern="^(embedding|feature)$", description="embedding or feature."
    )
    ranks: list[int] = Field(default=[1, 10, 20], min_length=1, description="Ranks of the CMC.")


def build(params: CrossModalityParams, *, distance: NamedPart[Distance], device: str) -> Evaluator:
    """Return the evaluator."""
    from reid_cross_modality._cross_modality import CrossModality

    return CrossModality(params, distance, device)


def columns(params: CrossModalityParams) -> tuple[str, ...]:
    """Return the columns that it reads."""
    return MODALITY, params.place


def outputs(params: CrossModalityParams) -> tuple[str, ...]:
    """Return the vector that it reads."""
    return (params.output,)


@hookimpl
def reid_evaluator() -> Sequence[EvaluatorComponent]:
    """Offer ``cross_modality``."""
    return [
        EvaluatorComponent(
            name="cross_modality",
            params=CrossModalityParams,
            build=build,
            summary="CMC of persons and mAP across modalities, over drawn galleries (SYSU-MM01)",
            reference="Wu et al., ICCV 2017",
            splits=("query", "gallery"),
            outputs=outputs,
            columns=columns,
            distance="cosine",
        )
    ]

"""The post-processing `k_reciprocal`: images are near when the same images hold them for near.

Every image is described by its k-reciprocal neighbours: those that have it among their own
nearest. The distance is a mixture of the Jaccard distance of two descriptions and of the distance
that was there before. No matrix of all pairs is made.

Reference: Zhong et al., "Re-ranking Person Re-identification with k-reciprocal Encoding",
CVPR 2017, arXiv:1701.08398. The definition is in ``reid_evaluate.reranking.k_reciprocal``.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from reid_core import Params, PostprocessComponent, hookimpl
from reid_core.limits import MOST_NEIGHBOURS

if TYPE_CHECKING:
    from reid_evaluate.distances.comparison import Postprocess


class KReciprocalParams(Params):
    """Params of the post-processing `k_reciprocal`."""

    k1: int = Field(
        default=20,
        ge=1,
        le=MOST_NEIGHBOURS,
        description="Nearest images, without itself, that may describe an image, from 1; fewer "
        "than there are queries and gallery images.",
    )
    k2: int = Field(
        default=6,
        ge=1,
        le=MOST_NEIGHBOURS,
        description="Nearest images, itself included, whose descriptions are averaged, 1 to "
        "k1 + 1; 1: nothing is averaged.",
    )
    lambda_value: float = Field(
        default=0.3,
        ge=0.0,
        le=1.0,
        description="Weight of the distance before re-ranking, 0 to 1; the rest is that of the "
        "Jaccard distance.",
    )
    power: Literal[1, 2] = Field(
        default=1,
        description="The distance is raised to this power first. With `cosine`, 1 is the form of "
        "reid-strong-baseline (squared Euclidean distance of unit vectors), 2 that of "
        "Person_reID_baseline_pytorch (its square).",
    )

    @model_validator(mode="after")
    def _k2_within_k1(self) -> KReciprocalParams:
        """Refuse to average over images that are not searched for."""
        if self.k2 > self.k1 + 1:
            raise ValueError(f"k2 must be at most k1 + 1, got k1 {self.k1} and k2 {self.k2}")
        return self


def build(params: KReciprocalParams) -> Postprocess:
    """Return ``callable(comparison)``."""
    from reid_evaluate.reranking.k_reciprocal import re_ranked

    return partial(
        re_ranked,
        k1=params.k1,
        k2=params.k2,
        lambda_value=params.lambda_value,
        power=params.power,
    )


@hookimpl
def reid_postprocess() -> list[PostprocessComponent]:
    """Offer ``k_reciprocal``."""
    return [
        PostprocessComponent(
            name="k_reciprocal",
            params=KReciprocalParams,
            build=build,
            summary="Agreement of k-reciprocal neighbours, mixed with the distance (re-ranking)",
            reference="Zhong et al., CVPR 2017, arXiv:1701.08398",
            stage="distances",
            first=True,
        )
    ]

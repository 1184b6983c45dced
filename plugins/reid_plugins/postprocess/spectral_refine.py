"""The post-processing `spectral_refine`: the first images of a ranking are sorted again.

They are compared to the query as means over the images that are similar to them, so that an
image unlike all others falls behind. Everything after the first k stays in its place.

Reference: Luo et al., "Spectral Feature Transformation for Person Re-identification",
arXiv:1811.11405 (local blurring re-ranking). The definition is in
``reid_evaluate.reranking.spectral_refinement``.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from pydantic import Field

from reid_core import Params, PostprocessComponent, hookimpl
from reid_core.limits import MOST_NEIGHBOURS

if TYPE_CHECKING:
    from reid_evaluate.distances.comparison import Postprocess


class SpectralRefineParams(Params):
    """Params of the post-processing `spectral_refine`."""

    k: int = Field(
        default=50,
        ge=1,
        le=MOST_NEIGHBOURS,
        description="Gallery images of each ranking, junk included, that are sorted again, 1 or "
        "larger.",
    )
    temperature: float = Field(
        default=0.5,
        gt=0.0,
        description="Divides the cosines of gallery images, above 0; the smaller, the fewer "
        "images a mean is over.",
    )


def build(params: SpectralRefineParams) -> Postprocess:
    """Return ``callable(comparison)``."""
    from reid_evaluate.reranking.spectral_refinement import spectral_refine

    return partial(spectral_refine, k=params.k, temperature=params.temperature)


@hookimpl
def reid_postprocess() -> list[PostprocessComponent]:
    """Offer ``spectral_refine``."""
    return [
        PostprocessComponent(
            name="spectral_refine",
            params=SpectralRefineParams,
            build=build,
            summary="First k images sorted again as means over each other",
            reference="arXiv:1811.11405",
            stage="distances",
        )
    ]

"""The post-processing `query_expansion`: features are mixed with those of their nearest images.

What an image and its nearest images have in common survives the mean; pose and background of
a single image do not.

Reference: Radenovic et al., "Fine-tuning CNN Image Retrieval with No Human Annotation",
arXiv:1711.02512 (alpha-weighted query expansion). The definition is in
``reid_evaluate.reranking.query_expansion``.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from reid_core import Params, PostprocessComponent, hookimpl
from reid_core.limits import MOST_NEIGHBOURS, MOST_ROUNDS

if TYPE_CHECKING:
    from reid_evaluate.distances.comparison import Postprocess


class QueryExpansionParams(Params):
    """Params of the post-processing `query_expansion`."""

    k: int = Field(
        default=5,
        ge=1,
        le=MOST_NEIGHBOURS,
        description='Nearest images by cosine that are mixed in, 1 or larger; "both" counts the '
        'image itself as the first of them, "query" does not.',
    )
    alpha: float = Field(
        default=3.0,
        ge=0.0,
        description="Power of the cosine that weighs a neighbour, 0 or larger; 0: all weigh the "
        "same. The image itself weighs 1, a negative cosine counts as 0.",
    )
    rounds: int = Field(
        default=1, ge=1, le=MOST_ROUNDS, description="How often it is done, 1 or larger."
    )
    sides: Literal["query", "both"] = Field(
        default="both",
        description='"query": queries are mixed with gallery images, one query at a time; "both": '
        "all images are mixed with their neighbours among queries and gallery.",
    )


def build(params: QueryExpansionParams) -> Postprocess:
    """Return ``callable(comparison)``."""
    from reid_evaluate.reranking.query_expansion import query_expansion

    return partial(
        query_expansion,
        k=params.k,
        alpha=params.alpha,
        rounds=params.rounds,
        sides=params.sides,
    )


@hookimpl
def reid_postprocess() -> list[PostprocessComponent]:
    """Offer ``query_expansion``."""
    return [
        PostprocessComponent(
            name="query_expansion",
            params=QueryExpansionParams,
            build=build,
            summary="Mean over the nearest images, weighted by a power of the cosine",
            reference="arXiv:1711.02512",
            stage="features",
        )
    ]

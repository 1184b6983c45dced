"""The post-processing `graph_rerank`: images with the same neighbours are similar.

Every image is described by its row of the graph of nearest neighbours, which is passed on to its
neighbours a few times. The graph is sparse: all images are never compared to all images at once.

Reference: Zhang et al., "Understanding Image Retrieval Re-Ranking: A Graph Neural Network
Perspective", arXiv:2012.07620. The definition is in ``reid_evaluate.reranking.graph_reranking``.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from pydantic import Field, model_validator

from reid_core import Params, PostprocessComponent, hookimpl
from reid_core.limits import MOST_NEIGHBOURS, MOST_ROUNDS

if TYPE_CHECKING:
    from reid_evaluate.distances.comparison import Postprocess


class GraphRerankParams(Params):
    """Params of the post-processing `graph_rerank`."""

    k1: int = Field(
        default=26,
        ge=1,
        le=MOST_NEIGHBOURS,
        description="Nearest images by cosine that describe an image, itself included, from 1.",
    )
    k2: int = Field(
        default=7,
        ge=1,
        le=MOST_NEIGHBOURS,
        description="Nearest images that pass their description on to an image, itself included, "
        "1 to k1; 1: nothing is passed on.",
    )
    lambda_value: float = Field(
        default=0.3,
        ge=0.0,
        le=1.0,
        description="Share of the plain cosine in the similarity, 0 to 1.",
    )
    rounds: int = Field(
        default=2,
        ge=1,
        le=MOST_ROUNDS,
        description="How often descriptions are passed on, 1 or larger.",
    )

    @model_validator(mode="after")
    def _k2_within_k1(self) -> GraphRerankParams:
        """Refuse to pass on along edges that are not in the graph."""
        if self.k2 > self.k1:
            raise ValueError(f"k2 must be at most k1, got k1 {self.k1} and k2 {self.k2}")
        return self


def build(params: GraphRerankParams) -> Postprocess:
    """Return ``callable(comparison)``."""
    from reid_evaluate.reranking.graph_reranking import graph_rerank

    return partial(
        graph_rerank,
        k1=params.k1,
        k2=params.k2,
        lambda_value=params.lambda_value,
        rounds=params.rounds,
    )


@hookimpl
def reid_postprocess() -> list[PostprocessComponent]:
    """Offer ``graph_rerank``."""
    return [
        PostprocessComponent(
            name="graph_rerank",
            params=GraphRerankParams,
            build=build,
            summary="Similarity of neighbourhoods after message passing (GNN re-ranking)",
            reference="arXiv:2012.07620",
            stage="distances",
            first=True,
        )
    ]

"""The post-processing `multi_query`: a query is all images of its person from its camera.

They are read from the split ``multi_query``, and the query becomes the mean of their features. A
query without any keeps its own.

Reference: Zheng et al., "Scalable Person Re-identification: A Benchmark", ICCV 2015. The
definition is in ``reid_evaluate.reranking.multi_query``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reid_core import Params, PostprocessComponent, hookimpl

if TYPE_CHECKING:
    from reid_evaluate.distances.comparison import Postprocess


def build(params: Params) -> Postprocess:
    """Return ``callable(comparison)``."""
    from reid_evaluate.reranking.multi_query import multi_query

    return multi_query


@hookimpl
def reid_postprocess() -> list[PostprocessComponent]:
    """Offer ``multi_query``."""
    return [
        PostprocessComponent(
            name="multi_query",
            build=build,
            summary="Mean of all images of the query's person from its camera",
            reference="Zheng et al., ICCV 2015",
            stage="features",
            splits=("multi_query",),
        )
    ]

"""Multi-query: a query is the mean of all images of its person from its camera.

A person who walks past a camera is seen more than once; the mean of these views is a better
description than any one of them.

Reference: Zheng et al., "Scalable Person Re-identification: A Benchmark", ICCV 2015
(multiple queries; the ``gt_bbox`` folder of Market-1501). The mean is not normalised again, as in
the published evaluation code; under the cosine distance that makes no difference.

Shapes: Q queries, M images of the split ``multi_query``.
"""

from __future__ import annotations

from collections import defaultdict

from reid_evaluate.distances.comparison import Comparison, Vectors
from reid_evaluate.reranking.query_expansion import unit_vectors

SPLIT = "multi_query"


def multi_query(comparison: Comparison) -> Comparison:
    """Replace each query by the mean of the unit features of its person and camera.

    A query without any such image keeps its own unit feature,
    and so does one whose camera is unknown: unknown cameras are never taken for the same one.

    Args:
        comparison: ``extra`` holds the split ``multi_query``.

    Returns:
        The comparison of the new queries with the gallery's unit features, so that a Euclidean
        distance compares like with like. Values in ``aux`` stay those of the query itself.

    Raises:
        ValueError: The split is missing, no query has an image in it, or the comparison's keys
            have been altered already.
    """
    if SPLIT not in comparison.extra:
        raise ValueError(f"there are no images of the split '{SPLIT}'")
    images = unit_vectors(comparison.extra[SPLIT])
    query = unit_vectors(comparison.query)
    views = _views(images)
    replaced = 0
    for i, who_and_where in enumerate(zip(query.pids.tolist(), query.camids.tolist(), strict=True)):
        if who_and_where in views:
            query.features[i] = images.features[views[who_and_where]].mean(dim=0)
            replaced += 1
    if not replaced:
        raise ValueError(
            f"none of the {len(query)} queries has an image of its pid and camera in the split "
            f"'{SPLIT}' ({len(images)} images)"
        )
    return comparison.with_vectors(query, unit_vectors(comparison.gallery))


def _views(images: Vectors) -> dict[tuple[str, int], list[int]]:
    """Return the positions of the images of each known pid and camera."""
    views: dict[tuple[str, int], list[int]] = defaultdict(list)
    for at, (pid, camid) in enumerate(
        zip(images.pids.tolist(), images.camids.tolist(), strict=True)
    ):
        if pid and camid >= 0:
            views[pid, camid].append(at)
    return views

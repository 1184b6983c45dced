"""Rank a gallery, by vectors or by somebody's own distances, and score the ranking."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from reid_core.api.comparing import Part, Vectors, distance_matrix
from reid_core.catalog import Catalog
from reid_core.contracts import UNKNOWN_CAMERA, Features
from reid_core.errors import ReidError

if TYPE_CHECKING:
    from reid_evaluate.protocols.rule_data import JunkRule
    from reid_evaluate.ranking.images import ImageSet


@dataclass(frozen=True)
class Ranked:
    """A gallery in the order of each query.

    Attributes:
        indices: ``(Q, k)`` int64, positions in the gallery, the nearest first; at equal
            distances the first one in the gallery comes first.
        distances: ``(Q, k)`` float32, ascending.
        metrics: ``mAP``, ``mINP``, ``rank1``, ``rank5``, ``rank10``, 0 to 1, over the queries that
            have a match; empty where identities are not known. A wrong image at exactly the
            distance of a match counts as nearer.
    """

    indices: npt.NDArray[np.int64]
    distances: npt.NDArray[np.float32]
    metrics: Mapping[str, float]


def rank(
    query: Vectors = None,
    gallery: Vectors = None,
    *,
    distances: Any = None,
    distance: Part = "cosine",
    output: str = "embedding",
    query_pids: Sequence[Any] | npt.NDArray[Any] | None = None,
    gallery_pids: Sequence[Any] | npt.NDArray[Any] | None = None,
    query_camids: Sequence[int] | npt.NDArray[Any] | None = None,
    gallery_camids: Sequence[int] | npt.NDArray[Any] | None = None,
    top_k: int | None = None,
    catalog: Catalog | None = None,
) -> Ranked:
    """Rank a gallery for every query, by vectors or by distances that are there already.

    Where identities are known the ranking is scored. With cameras on both sides, gallery images
    of the query's identity and camera are left out (Market-1501); without, none is. The whole
    matrix is in memory; ``evaluate`` keeps none.

    Args:
        query: ``(Q, D)`` or ``Features``, whose pids, camids and flags count.
        gallery: ``(G, D)`` or ``Features``.
        distances: ``(Q, G)``, smaller is nearer, instead of comparing vectors.
        distance: What vectors are compared by.
        output: Which vector of ``Features`` is compared.
        query_pids: ``(Q,)`` identities, where ``query`` is no ``Features``.
        gallery_pids: ``(G,)``, likewise.
        query_camids: ``(Q,)`` cameras, -1 unknown.
        gallery_camids: ``(G,)``, likewise.
        top_k: Gallery images per query that are returned; default: all.
        catalog: Where the distance is looked up; default: what is installed.

    Raises:
        ReidError: Neither vectors nor distances are given, an array has another length than the
            matrix, a distance is not finite, or no query has a match.
    """
    matrix = _matrix(query, gallery, distances, distance, output, catalog)
    k = matrix.shape[1] if top_k is None else top_k
    if not 1 <= k <= matrix.shape[1]:
        raise ReidError(f"rank: top_k must be 1 to {matrix.shape[1]}, got {top_k}")
    indices = np.argsort(matrix, axis=1, kind="stable")[:, :k]
    one = _labelled("query", query, query_pids, query_camids, matrix.shape[0])
    other = _labelled("gallery", gallery, gallery_pids, gallery_camids, matrix.shape[1])
    if (one is None) != (other is None):
        there, missing = ("gallery", "query") if one is None else ("query", "gallery")
        raise ReidError(
            f"rank: the identities of the {there} images are given, and those of the {missing} "
            f"images are not; give {missing}_pids too, or neither"
        )
    metrics: dict[str, float] = {}
    if one is not None and other is not None:
        sides = (query, query_camids), (gallery, gallery_camids)
        has_cameras = all(isinstance(side, Features) or c is not None for side, c in sides)
        metrics = _metrics(matrix, one, other, "cross_camera" if has_cameras else "none")
    return Ranked(indices, np.take_along_axis(matrix, indices, axis=1), metrics)


def _matrix(
    query: Vectors,
    gallery: Vectors,
    distances: Any,
    distance: Part,
    output: str,
    catalog: Catalog | None,
) -> npt.NDArray[np.float32]:
    """Return the distances ``(Q, G)`` that were given, or those of the vectors.

    Raises:
        ReidError: There are neither, or they are no matrix of numbers.
    """
    if distances is None:
        if query is None or gallery is None:
            raise ReidError("rank: give query= and gallery=, or distances=")
        return distance_matrix(query, gallery, distance, output=output, catalog=catalog)
    with np.errstate(over="ignore"):  # what overflows becomes infinite and is reported
        matrix: npt.NDArray[np.float32] = np.asarray(distances, dtype=np.float32)
    if matrix.ndim != 2 or 0 in matrix.shape:
        raise ReidError(f"rank: distances must be (Q, G), both 1 or more, got {matrix.shape}")
    if not np.isfinite(matrix).all():
        raise ReidError("rank: distances hold values that are NaN, or infinite in float32")
    return matrix


# ---- scores of a matrix -----------------------------------------------------------------


def _labelled(side: str, given: Vectors, pids: Any, camids: Any, count: int) -> ImageSet | None:
    """Return what is known of a side, without vectors; None without identities.

    Raises:
        ReidError: An array has another length than the side.
    """
    from reid_evaluate.ranking.images import ImageSet

    none = np.zeros(count, dtype=bool)
    junk = distractor = none
    if isinstance(given, Features):
        pids = given.pids if pids is None else pids
        camids = given.camids if camids is None else camids
        junk, distractor = given.junk, given.distractor
    if pids is None:
        return None
    camids = np.full(count, UNKNOWN_CAMERA) if camids is None else np.asarray(camids)
    pids = np.asarray(pids).astype(np.str_)
    for name, array in (("pids", pids), ("camids", camids), ("flags", junk)):
        if len(array) != count:
            raise ReidError(f"rank: {side}_{name} has {len(array)} entries for {count} images")
    return ImageSet(None, pids, camids, np.full(count, "", dtype=np.str_), junk, distractor)


def _metrics(
    matrix: npt.NDArray[np.float32], query: ImageSet, gallery: ImageSet, rule: JunkRule
) -> dict[str, float]:
    """Score a ranking.

    Raises:
        ReidError: No query has a match.
    """
    from reid_evaluate.ranking.ap_and_cmc import cmc
    from reid_evaluate.ranking.given_distances import keyed_by
    from reid_evaluate.ranking.rank_queries import rank_queries

    found = rank_queries(keyed_by(matrix, query, gallery), junk_rule=rule)
    counted = found.num_matches > 0
    if not counted.any():
        raise ReidError(
            "rank: no query has a match: no gallery image is of its identity"
            + (" under another known camera" if rule == "cross_camera" else "")
        )
    curve = cmc(found.first_rank[counted], 10)
    return {
        "mAP": float(found.ap[counted].mean()),
        "mINP": float(found.inp[counted].mean()),
        **{f"rank{k}": float(curve[k - 1]) for k in (1, 5, 10)},
    }

"""Graph re-ranking: images are similar when they have the same neighbours.

Every image is described by a row of the neighbour graph: which images are near it. A few rounds
of message passing mix each row with those of the nearest images; rows of two images of one person
then agree, even if their features do not.

Reference: Zhang et al., "Understanding Image Retrieval Re-Ranking: A Graph Neural Network
Perspective", arXiv:2012.07620. As in its published code, with X the unit features of queries and
gallery, N in all: A (N, N) has ones at the k1 nearest images of each row, itself included, and
M (N, N) the squared cosines of the k2 nearest. A round replaces A by M (A + A^T) with
L2-normalised rows. The similarity is (1 - lambda) A_q A_g^T + lambda X_q X_g^T. Unlike that code:
rows are unit vectors without any round (k2 = 1) too, so that lambda means the same.

Shapes: Q queries, G gallery images, N = Q + G, b queries of a block.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy import sparse
from torch import Tensor

from reid_evaluate.distances.comparison import Comparison, DistanceKeys, Vectors, repeated_rows
from reid_evaluate.distances.distance_matrix import Cosine
from reid_evaluate.reranking.neighbours import nearest

Floats = npt.NDArray[np.float32]

_ROWS_AT_ONCE = 1024


def graph_rerank(
    comparison: Comparison,
    *,
    k1: int = 26,
    k2: int = 7,
    lambda_value: float = 0.3,
    rounds: int = 2,
) -> Comparison:
    """Rank by agreement of neighbourhoods.

    Neighbours that tie at the end of a list are chosen in no particular order.

    Args:
        comparison: Queries and gallery. Similarities are cosines, whatever its distance.
        k1: Neighbours that describe an image, itself included, 1 or larger; cut to N.
        k2: Neighbours that it receives messages from, itself included, 1 to k1. With 1 nothing
            is passed on, and ``rounds`` has no effect.
        lambda_value: Share of the plain cosine in the similarity, 0 to 1.
        rounds: Rounds of message passing, 1 or larger.

    Returns:
        The comparison with minus the similarity as keys; the distance is 1 - similarity, 0 to 2.

    Raises:
        ValueError: An option is out of range, or the comparison's keys have been altered already,
            which would be lost.
    """
    for name, value in (("k1", k1), ("k2", k2), ("rounds", rounds)):
        if value < 1:
            raise ValueError(f"{name} must be 1 or larger, got {value}")
    if k2 > k1:
        raise ValueError(f"k2 must be at most k1, got k1 {k1} and k2 {k2}")
    if not 0 <= lambda_value <= 1:
        raise ValueError(f"lambda_value must be from 0 to 1, got {lambda_value}")
    if comparison.altered is not None:
        raise ValueError("graph re-ranking must be the first to change the distances")
    images = comparison.query.and_(comparison.gallery)
    factors = graph_factors(images, k1=k1, k2=k2, rounds=rounds)
    return comparison.with_keys(GraphKeys(comparison, *factors, lambda_value=lambda_value))


class GraphKeys:
    """Minus the similarities of graph re-ranking; equal gallery vectors have equal keys.

    The last A is never kept: its rows are long. They are made again, as a
    product of two sparse factors, for the queries of a block, and multiplied by the gallery's
    factors one after the other.
    """

    def __init__(
        self, comparison: Comparison, left: Any, right: Any, *, lambda_value: float
    ) -> None:
        """Take the factors ``(N, N)`` of A; the lengths of their rows do not matter."""
        query, gallery = comparison.query, comparison.gallery
        rows = np.arange(len(query), len(query) + len(gallery))
        copies, originals = repeated_rows(gallery)
        rows[copies] = rows[originals]  # ties in the graph may have told copies apart
        self._cosine = DistanceKeys(Cosine(), query, gallery)
        self._query, self._gallery, self._right = left[: len(query)], left[rows], right
        self._inverse_norm = np.concatenate(
            [
                _inverse_norms(self._gallery[start : start + _ROWS_AT_ONCE] @ right)
                for start in range(0, len(gallery), _ROWS_AT_ONCE)
            ]
        )
        self._lambda_value = lambda_value

    def fill(self, start: int, stop: int, out: Tensor) -> None:
        """Write the keys of queries start to stop, ``(stop - start, G)``, into ``out``."""
        self._cosine.fill(start, stop, out)
        rows = _unit_rows(self._query[start:stop] @ self._right)  # (b, N)
        agreement = self._gallery @ (self._right @ rows.T.toarray())  # (G, b)
        agreement *= self._inverse_norm[:, None]
        out.mul_(self._lambda_value)
        out.sub_(torch.from_numpy(agreement.T).to(out.device), alpha=1 - self._lambda_value)

    def values(self, keys: Tensor) -> Tensor:
        """Return 1 - the similarity."""
        return 1 + keys


def graph_factors(images: Vectors, *, k1: int, k2: int, rounds: int) -> tuple[Any, Any]:
    """Return two sparse matrices ``(N, N)``; the unit rows of their product are those of A.

    Args:
        images: Queries, then gallery.
        k1: As in ``graph_rerank``.
        k2: Likewise.
        rounds: Likewise.
    """
    found = nearest(Cosine(), images, min(k1, len(images)))
    indices = found.indices.cpu().numpy()
    adjacency = _sparse_rows(indices, np.ones(indices.shape, dtype=np.float32))
    if k2 == 1:
        itself = indices[:, :1]
        return _sparse_rows(itself, np.ones(itself.shape, dtype=np.float32)), adjacency
    weights = np.square(found.keys[:, :k2].cpu().numpy())
    messages = _sparse_rows(indices[:, :k2], weights)
    both_ways = adjacency + adjacency.T
    for _ in range(rounds - 1):
        adjacency = _unit_rows(messages @ both_ways)
        both_ways = adjacency + adjacency.T
    return messages, both_ways


def _sparse_rows(columns: npt.NDArray[np.int64], values: Floats) -> Any:
    """Return the sparse matrix ``(N, N)`` with some columns ``(N, k)`` of each row set."""
    size, count = columns.shape
    starts = np.arange(0, size * count + 1, count, dtype=np.int32)
    places = columns.ravel().astype(np.int32)  # scipy would keep 64 bits, for twice the memory
    return sparse.csr_array((values.ravel(), places, starts), shape=(size, size))


def _unit_rows(matrix: Any) -> Any:
    """Return a sparse matrix with L2-normalised rows; rows of zeros stay zero."""
    lengths = np.diff(matrix.indptr)
    values = matrix.data * np.repeat(_inverse_norms(matrix), lengths)
    return sparse.csr_array((values, matrix.indices, matrix.indptr), shape=matrix.shape)


def _inverse_norms(matrix: Any) -> Floats:
    """Return 1 / the L2 norm of each row of a sparse matrix, 0 for a row of zeros."""
    norms: Floats = np.sqrt(matrix.power(2).sum(axis=1))
    return np.divide(1, norms, out=np.zeros_like(norms), where=norms > 0)

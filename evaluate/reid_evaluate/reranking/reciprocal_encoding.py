"""Images described by their k-reciprocal neighbours, for re-ranking.

Two images are k-reciprocal neighbours when each is among the k nearest of the other. The
search for neighbours is nearly all of the work and is the same for every k1 and k2;
``encode`` turns its result into one description per image. No matrix of all pairs is ever
made: what is sparse in the paper is sparse here.

Reference: Zhong et al., "Re-ranking Person Re-identification with k-reciprocal Encoding",
CVPR 2017, arXiv:1701.08398, and the authors' code where the paper leaves a choice.

Shapes: N images of both splits, the queries first; n pairs of images.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy import sparse
from scipy.sparse.csgraph import reverse_cuthill_mckee
from torch import Tensor

from reid_evaluate.distances.comparison import Comparison, Distance, Vectors
from reid_evaluate.reranking.jaccard import Sparse
from reid_evaluate.reranking.neighbours import Neighbours, nearest

Integers = npt.NDArray[Any]
Floats = npt.NDArray[np.float32]

_PAIRS_AT_ONCE = 256
"""Pairs whose keys are made as one tile of their rows and columns. With more, most of the tile
would be for nothing; with fewer, the vectors would be copied more often."""


@dataclass(frozen=True)
class BaseDistance:
    """d of the paper: a power of the distance, as a fraction of the largest in the row.

    Attributes:
        distance: Compares the images.
        power: 1 or larger.
        farthest: ``(N,)`` the largest key of each image's row in the union.
    """

    distance: Distance
    power: int
    farthest: Tensor

    def of(self, keys: Tensor, rows: Tensor | slice) -> Tensor:
        """Return base distances.

        Args:
            keys: ``(n,)`` or ``(n, m)`` keys of the distance.
            rows: The n images that they are measured from.

        Returns:
            Shaped as ``keys``, 0 to 1; 0 where all images are at one point.
        """
        # Rounding leaves -0.0000001 for equal vectors.
        largest = self.distance.values(self.farthest[rows]).clamp(min=0)
        largest = torch.where(largest > 0, largest, 1.0)
        values = self.distance.values(keys).clamp(min=0)
        return values.div_(largest if keys.ndim == 1 else largest[:, None]).pow_(self.power)


@dataclass(frozen=True)
class Neighbourhood:
    """What every choice of k1, k2 and lambda has in common.

    Attributes:
        comparison: Queries, gallery and their distance.
        union: N prepared images, the queries first.
        neighbours: The nearest of each image in the union.
        base: The base distance.
    """

    comparison: Comparison
    union: Vectors
    neighbours: Neighbours
    base: BaseDistance


def neighbourhood(comparison: Comparison, k_max: int, *, power: int = 1) -> Neighbourhood:
    """Search the neighbours of all queries and gallery images in their union.

    Args:
        comparison: Queries and gallery under a symmetric distance.
        k_max: The largest k1 that will be asked for, 1 to N - 1.
        power: Which power of the distance is the base distance, 1 or larger.

    Returns:
        What ``encode`` needs, on the device of the features.

    Raises:
        ValueError: The distance is not symmetric, the keys were altered already, or a number
            is out of range.
    """
    distance = comparison.distance
    if not distance.symmetric:
        raise ValueError(
            "k-reciprocal re-ranking needs a symmetric distance, such as 'cosine', or 'uncertain' "
            "with the factor 0"
        )
    if comparison.altered is not None:
        raise ValueError("k-reciprocal re-ranking must be the first step that alters distances")
    images = len(comparison.query) + len(comparison.gallery)
    if not 1 <= k_max < images:
        raise ValueError(f"k1 must be from 1 to {images - 1} for {images} images, got {k_max}")
    if power < 1:
        raise ValueError(f"power must be 1 or larger, got {power}")
    union = comparison.query.and_(comparison.gallery)
    found = nearest(distance, union, k_max + 1)
    base = BaseDistance(distance, power, found.farthest)
    return Neighbourhood(comparison, distance.prepare(union), found, base)


def encode(found: Neighbourhood, k1: int, k2: int) -> Sparse:
    """Describe every image by its k-reciprocal neighbours.

    Args:
        found: The neighbours.
        k1: Neighbours that may be reciprocal, 1 to the ``k_max`` of the search.
        k2: Nearest images, itself included, whose descriptions are averaged, 1 to k1 + 1.

    Returns:
        ``(N, N)``, each row of sum 1: V of the paper.

    Raises:
        ValueError: A number is out of range.
    """
    k_max = found.neighbours.indices.shape[1] - 1
    if not 1 <= k1 <= k_max:
        raise ValueError(f"k1 must be from 1 to {k_max}, got {k1}")
    if not 1 <= k2 <= k1 + 1:
        raise ValueError(f"k2 must be from 1 to k1 + 1 = {k1 + 1}, got {k2}")
    indices = found.neighbours.indices[:, : k1 + 1].cpu().numpy()
    weights = _weights(found, _expanded_sets(indices, k1), indices)
    weights = sparse.diags_array(1 / weights.sum(axis=1)) @ weights
    return _rows_of(indices[:, :k2], 1 / k2) @ weights if k2 > 1 else weights


# ---- sets -------------------------------------------------------------------------------


def _expanded_sets(indices: Integers, k1: int) -> Sparse:
    """Return R*(i, k1), equation 5 of the paper, as rows of ones."""
    whole = _reciprocal(indices, k1)
    half = _reciprocal(indices, round(k1 / 2))  # a half is rounded to even, as published
    # To be reciprocal is symmetric, so that the product counts common members.
    similar = (whole @ half).multiply(whole).tocsr()
    sizes = np.diff(half.indptr)
    similar.data = (3 * similar.data > 2 * sizes[similar.indices]).astype(np.float32)
    expanded = (whole + similar @ half).tocsr()
    expanded.eliminate_zeros()
    expanded.data[:] = 1
    return expanded


def _reciprocal(indices: Integers, k: int) -> Sparse:
    """Return R(i, k), equation 3, with i itself: those that have i among their k nearest."""
    forward = _rows_of(indices[:, : k + 1], 1)
    return forward.multiply(forward.T).tocsr()


def _rows_of(columns: Integers, values: Floats | float) -> Sparse:
    """Return ``(N, N)`` with values at columns ``(N, k)`` of each row."""
    size, k = columns.shape
    data = np.broadcast_to(np.asarray(values, dtype=np.float32), columns.shape).ravel()
    starts = np.arange(0, size * k + 1, k, dtype=np.int32)
    parts = data, columns.astype(np.int32).ravel(), starts
    return sparse.csr_array(parts, shape=(size, size))


# ---- weights ----------------------------------------------------------------------------


def _weights(found: Neighbourhood, sets: Sparse, indices: Integers) -> Sparse:
    """Return exp(-d) for every member of every set.

    The search has the distances of ``indices (N, k)``; the others are made here.
    """
    keys = found.neighbours.keys[:, : indices.shape[1]]
    near = found.base.of(keys, slice(None)).neg_().exp_().cpu().numpy()
    known = sets.multiply(_rows_of(indices, near))
    others = sets - sets.multiply(_rows_of(indices, 1))
    others.eliminate_zeros()
    others = others.tocoo()
    if others.nnz:
        # Pairs that follow each other shall share images, which are then copied once: this
        # order puts neighbours together.
        place = np.argsort(reverse_cuthill_mckee(sets))
        order = np.argsort(place[others.row], kind="stable")
        for start in range(0, len(order), _PAIRS_AT_ONCE):
            some = order[start : start + _PAIRS_AT_ONCE]
            others.data[some] = _pair_weights(found, others.row[some], others.col[some])
    return (known + others).tocsr()


def _pair_weights(found: Neighbourhood, rows: Integers, columns: Integers) -> Floats:
    """Return exp(-d) of pairs ``(n,)``, d in the rows' terms."""
    device = found.union.features.device
    firsts, row = np.unique(rows, return_inverse=True)
    seconds, column = np.unique(columns, return_inverse=True)
    tile = torch.empty(len(firsts), len(seconds), device=device)
    found.base.distance.fill(found.union.at(firsts), found.union.at(seconds), tile)
    keys = tile[torch.from_numpy(row).to(device), torch.from_numpy(column).to(device)]
    weights = found.base.of(keys, torch.from_numpy(rows).to(device)).neg_().exp_()
    return np.asarray(weights.cpu().numpy(), dtype=np.float32)

"""Jaccard distances of sparse rows, without looking at the pairs that share nothing.

Shapes: Q query rows, G gallery rows, N columns, b queries of a block.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

Sparse = Any
"""A ``scipy.sparse.csr_array`` of float32; scipy declares no types."""

ROWS_AT_ONCE = 16
"""Rows of a block that are worked on together. The copies are then so small that the memory
allocator gives the same pages again: to be given new ones takes longer than the arithmetic."""

_SHARED_AT_ONCE = 250_000
"""Entries that queries share with the gallery, listed at a time: 3 MB."""


class JaccardDistances:
    """1 - the sum of the smaller by the sum of the larger of each two entries.

    Every column keeps a list of the gallery rows that have it. A query adds up the lists of
    its own columns.
    """

    def __init__(self, query: Sparse, gallery: Sparse) -> None:
        """Turn the gallery into lists.

        Args:
            query: ``(Q, N)``, no entry negative, each row of sum 1.
            gallery: ``(G, N)`` likewise.
        """
        self._query, self._lists = query, gallery.T.tocsr()
        self._lengths = np.diff(self._lists.indptr)
        shared = np.cumsum(self._lengths[query.indices], dtype=np.int64)
        self._shared = np.concatenate([[0], shared])[query.indptr]  # before each query

    def fill(self, start: int, stop: int, out: Tensor) -> None:
        """Write the distances of queries start to stop, ``(b, G)``, into ``out``.

        Of two rows of sum 1, the larger entries have the sum 2 - t, t that of the smaller:
        1 - t / (2 - t), which is 2 + 2 / (t - 2).
        """
        sums = np.empty((ROWS_AT_ONCE, out.shape[1]), dtype=np.float32)
        for first, last in self._parts(start, stop):
            smaller = sums[: last - first]
            self._sums_of_smaller(first, last).toarray(out=smaller)
            part = out[first - start : last - start]
            torch.sub(torch.from_numpy(smaller).to(out.device), 2, out=part)
            part.reciprocal_().mul_(2).add_(2)

    def _parts(self, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """Yield ranges of queries that share few entries with the gallery, or of one query."""
        while start < stop:
            limit = self._shared[start] + _SHARED_AT_ONCE
            fitting = int(np.searchsorted(self._shared, limit, side="right")) - 1
            end = min(stop, start + ROWS_AT_ONCE, max(start + 1, fitting))
            yield start, end
            start = end

    def _sums_of_smaller(self, first: int, last: int) -> Sparse:
        """Return ``(last - first, G)``; an image has one entry per column that it shares.

        They add up when the rows become dense.
        """
        begin = self._query.indptr[first : last + 1]
        columns = self._query.indices[begin[0] : begin[-1]]
        own = self._query.data[begin[0] : begin[-1]]
        lists = self._lists[columns]
        np.minimum(lists.data, np.repeat(own, self._lengths[columns]), out=lists.data)
        parts = lists.data, lists.indices, lists.indptr[begin - begin[0]]
        return sparse.csr_array(parts, shape=(last - first, lists.shape[1]))

"""Re-ranking with k-reciprocal encoding.

Two images are near when they are held for near by the same images. Three steps, of which a
search over parameters repeats only what changes: ``neighbourhood`` once, ``encode`` for every
k1 and k2, ``ReRanked`` for every lambda.

Reference: Zhong et al., "Re-ranking Person Re-identification with k-reciprocal Encoding",
CVPR 2017, arXiv:1701.08398.

Shapes: N images of both splits, the Q queries first, G gallery images, b queries of a block.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from reid_evaluate.distances.comparison import Comparison, repeated_rows
from reid_evaluate.reranking.jaccard import ROWS_AT_ONCE, JaccardDistances, Sparse
from reid_evaluate.reranking.reciprocal_encoding import Neighbourhood, encode, neighbourhood


class ReRanked:
    """The keys of re-ranking, which are the distances: (1 - lambda) J + lambda d.

    J is the Jaccard distance of two descriptions, d the base distance as a fraction of the
    largest of the query's; both are 0 to 1. A search over lambda takes the two from ``base``
    and ``jaccard`` once and mixes them with ``torch.lerp``. Gallery images with equal vectors
    have the description of the first of them, and so equal keys.
    """

    def __init__(self, found: Neighbourhood, encoding: Sparse, lambda_value: float) -> None:
        """Keep what the queries need; the copy of all vectors may be freed.

        Args:
            found: The neighbours.
            encoding: From ``encode``.
            lambda_value: Weight of the base distance, 0 to 1.

        Raises:
            ValueError: The weight is out of range.
        """
        if not 0 <= lambda_value <= 1:
            raise ValueError(f"lambda must be from 0 to 1, got {lambda_value}")
        queries, gallery = len(found.comparison.query), found.comparison.gallery
        rows = np.arange(queries, queries + len(gallery))
        copies, originals = repeated_rows(gallery)
        rows[copies] = rows[originals]  # ties in the search may have told copies apart
        self._jaccard = JaccardDistances(encoding[:queries], encoding[rows])
        self._keys, self._base, self._lambda = found.comparison.keys, found.base, lambda_value

    def fill(self, start: int, stop: int, out: Tensor) -> None:
        """Write the distances of queries start to stop, ``(b, G)``, into ``out``."""
        self.base(start, stop, out)
        for first in range(start, stop, ROWS_AT_ONCE):
            last = min(first + ROWS_AT_ONCE, stop)
            base = out[first - start : last - start]
            jaccard = torch.empty_like(base)
            self.jaccard(first, last, jaccard)
            torch.lerp(jaccard, base, self._lambda, out=base)

    def values(self, keys: Tensor) -> Tensor:
        """Return the keys: they are the distances."""
        return keys

    def base(self, start: int, stop: int, out: Tensor) -> None:
        """Write d of queries start to stop, ``(b, G)``, into ``out``."""
        self._keys.fill(start, stop, out)
        for first in range(start, stop, ROWS_AT_ONCE):
            last = min(first + ROWS_AT_ONCE, stop)
            part = out[first - start : last - start]
            part.copy_(self._base.of(part, slice(first, last)))

    def jaccard(self, start: int, stop: int, out: Tensor) -> None:
        """Write J of queries start to stop, ``(b, G)``, into ``out``."""
        self._jaccard.fill(start, stop, out)


def re_ranked(
    comparison: Comparison, *, k1: int = 20, k2: int = 6, lambda_value: float = 0.3, power: int = 1
) -> Comparison:
    """Return the comparison by re-ranked distances: all steps for one choice of parameters.

    Args:
        comparison: Queries and gallery under a symmetric distance.
        k1: Neighbours that may be reciprocal, 1 to N - 1.
        k2: Nearest images whose descriptions are averaged, 1 to k1 + 1.
        lambda_value: Weight of the base distance, 0 to 1.
        power: Which power of the distance is the base distance, 1 or larger.

    Raises:
        ValueError: As ``neighbourhood``, ``encode`` and ``ReRanked``.
    """
    found = neighbourhood(comparison, k1, power=power)
    return comparison.with_keys(ReRanked(found, encode(found, k1, k2), lambda_value))

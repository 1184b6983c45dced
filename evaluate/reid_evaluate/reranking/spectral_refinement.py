"""Spectral refinement: the first k of a ranking are compared as a group and sorted again.

Each of the first k gallery images is replaced by a mean of all k, weighted by how similar they
are to it, and compared to the query again. An image that looks like the query by chance, but not
like the others, falls behind. The rest of the ranking does not change.

Reference: Luo et al., "Spectral Feature Transformation for Person Re-identification",
arXiv:1811.11405 (local blurring re-ranking).

Shapes: Q queries, G gallery images, D size of a feature, b queries of a block, k refined images.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from reid_evaluate.distances.comparison import Comparison, Keys, repeated_rows
from reid_evaluate.distances.distance_matrix import Cosine
from reid_evaluate.distances.smallest import smallest

_FLOATS_AT_ONCE = 1 << 24
"""Bounds the features of the first k images of as many queries as are refined together."""


def spectral_refine(comparison: Comparison, *, k: int = 50, temperature: float = 0.5) -> Comparison:
    """Sort the first k gallery images of each query again.

    Args:
        comparison: Ranked by any keys, altered ones too; the refinement itself compares cosines.
        k: How many, 1 or larger; cut to the gallery. Junk takes part: a step knows no labels.
        temperature: Divides the cosines of gallery images before the softmax, above 0; the
            larger, the more alike the means become.

    Returns:
        The comparison with keys of which the first k have exchanged their places.

    Raises:
        ValueError: An option is out of range.
    """
    if k < 1:
        raise ValueError(f"k must be 1 or larger, got {k}")
    if not 0 < temperature < float("inf"):
        raise ValueError(f"temperature must be above 0, got {temperature}")
    return comparison.with_keys(RefinedKeys(comparison, k, temperature))


class RefinedKeys:
    """Keys whose first k have exchanged their places.

    The j-th best image of the new order receives the j-th smallest of the old keys, so images
    whose old keys are all equal still tie. Gallery images with equal vectors share one key, midway
    between those of their places: copies among the first k tie, wherever they stand.
    """

    def __init__(self, comparison: Comparison, k: int, temperature: float) -> None:
        """Prepare both sides; the arguments are those of ``spectral_refine``."""
        self._inner: Keys = comparison.keys
        self._query = Cosine().prepare(comparison.query)
        self._gallery = Cosine().prepare(comparison.gallery)
        self._k = min(k, len(comparison.gallery))
        self._temperature = temperature
        copies, originals = repeated_rows(comparison.gallery)
        first = np.arange(len(comparison.gallery))
        first[copies] = originals
        self._has_copies = len(copies) > 0
        self._first = torch.from_numpy(first).to(comparison.gallery.features.device)

    def fill(self, start: int, stop: int, out: Tensor) -> None:
        """Write the keys of queries start to stop, ``(stop - start, G)``, into ``out``."""
        self._inner.fill(start, stop, out)
        width = max(self._k, self._gallery.features.shape[1])
        height = max(1, _FLOATS_AT_ONCE // (self._k * width))
        for at in range(0, stop - start, height):
            part = out[at : at + height]
            keys, indices = smallest(part, self._k)
            scores = self._scores(start + at, indices)
            part.scatter_(1, indices, self._exchanged(keys, indices, scores))

    def values(self, keys: Tensor) -> Tensor:
        """Return the distances of keys: those that the exchanged keys had before."""
        return self._inner.values(keys)

    def _scores(self, start: int, indices: Tensor) -> Tensor:
        """Return the new similarities ``(b, k)`` to the queries from ``start`` on."""
        query = self._query.rows(start, start + len(indices))
        direction = query.features * query.aux["inverse_norm"][:, None]  # (b, D)
        group = self._gallery.features[indices]  # (b, k, D)
        group *= self._gallery.aux["inverse_norm"][indices][:, :, None]
        affinity = torch.bmm(group, group.transpose(1, 2)) / self._temperature  # (b, k, k)
        # (W G) q as W (G q): the means themselves are not needed.
        similarity = torch.bmm(group, direction[:, :, None])  # (b, k, 1)
        return torch.bmm(affinity.softmax(dim=2), similarity)[:, :, 0]

    def _exchanged(self, keys: Tensor, indices: Tensor, scores: Tensor) -> Tensor:
        """Return the new keys ``(b, k)`` of the images, given their ascending old ones."""
        order = scores.argsort(dim=1, descending=True, stable=True)
        exchanged = torch.empty_like(keys).scatter_(1, order, keys)
        if not self._has_copies:
            return exchanged
        first = self._first[indices]
        other = first[:, :, None] != first[:, None, :]  # (b, k, k)
        worst = exchanged[:, None, :].masked_fill(other, -torch.inf).amax(dim=2)
        best = exchanged[:, None, :].masked_fill(other, torch.inf).amin(dim=2)
        return (best + worst) / 2

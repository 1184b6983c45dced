"""What the distance `visible_parts` computes: two matrix products for each block of queries.

The sum of the cosines of all common parts is the dot product of the joined unit vectors, where
those of hidden parts are zero; the number of common parts is the dot product of what is visible.

Shapes: N images, K parts, D = (K + 1) d numbers of a vector, b queries, G gallery images.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from reid_evaluate.distances.comparison import Vectors

SEEN = "seen"
"""Name of what ``prepare`` adds: ``(N, K + 1)`` of ones and zeros, the foreground first."""


class VisibleParts:
    """The distance; its key is minus the mean cosine."""

    symmetric = True
    normalizes = True

    def prepare(self, vectors: Vectors) -> Vectors:
        """Make every part a unit vector, and those that are hidden zero.

        Raises:
            ValueError: The visibility is none, or the vectors are not those of one foreground and
                K parts.
        """
        visibility = vectors.aux["visibility"]
        if visibility.ndim != 2 or not bool(visibility.isfinite().all()):
            raise ValueError(
                f"expected a finite visibility of each part (N, K), got {tuple(visibility.shape)}"
            )
        seen = F.pad((visibility >= 0.5).float(), (1, 0), value=1.0)
        size, count = vectors.features.shape[1], seen.shape[1]
        if size % count:
            raise ValueError(
                f"vectors of {size} numbers are not a foreground and {count - 1} parts of one "
                "size; use the head 'visible_parts' alone"
            )
        joined = _unit(vectors.features.view(-1, count, size // count)) * seen[..., None]
        return replace(vectors, features=joined.flatten(1), aux={**vectors.aux, SEEN: seen})

    def fill(self, query: Vectors, gallery: Vectors, out: Tensor) -> None:
        """Write minus the mean cosines of what both images show."""
        torch.mm(query.features, gallery.features.T, out=out)
        out.div_(query.aux[SEEN] @ gallery.aux[SEEN].T).neg_()

    def values(self, keys: Tensor) -> Tensor:
        """Return 1 - the mean cosine."""
        return 1 + keys


def _unit(parts: Tensor) -> Tensor:
    """Return vectors ``(N, K, d)`` of length 1; those of zeros stay zero.

    Divided by the largest number first: the square of a large number would leave float32.
    """
    largest = parts.abs().amax(dim=2, keepdim=True)
    return F.normalize(parts / torch.where(largest > 0, largest, 1.0), dim=2)

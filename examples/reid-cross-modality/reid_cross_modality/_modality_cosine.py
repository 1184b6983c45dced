"""What `modality_cosine` computes; it needs torch, so it stands beside the declaration.

Shapes: N images, b queries, G gallery images.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from reid_evaluate.distances.comparison import Vectors
from reid_evaluate.distances.distance_matrix import Cosine

if TYPE_CHECKING:
    from reid_cross_modality.distance import ModalityCosineParams


class ModalityCosine:
    """The distance itself; its keys are the distances."""

    normalizes = True

    def __init__(self, params: ModalityCosineParams) -> None:
        """Keep the params."""
        self.params, self._cosine = params, Cosine()

    @property
    def symmetric(self) -> bool:
        """Say whether the gallery image's value does not count."""
        return self.params.factor == 0

    def prepare(self, vectors: Vectors) -> Vectors:
        """Add what the cosine needs.

        Raises:
            ValueError: The value is not one finite number of each image.
        """
        if self.params.factor:
            value = vectors.aux[self.params.value]
            if value.shape != (len(vectors),) or not bool(value.isfinite().all()):
                raise ValueError(
                    f"'{self.params.value}' must be one finite number of each of {len(vectors)} "
                    f"images, got the shape {tuple(value.shape)}"
                )
        return self._cosine.prepare(vectors)

    def fill(self, query: Vectors, gallery: Vectors, out: Tensor) -> None:
        """Write the distances ``(b, G)`` into ``out``."""
        self._cosine.fill(query, gallery, out)  # minus the cosine
        one, other = query.columns["modality"], gallery.columns["modality"]
        same = torch.from_numpy(one[:, None] == other[None, :])
        out.add_(1).add_(same.to(out), alpha=self.params.bias)
        if self.params.factor:
            out.sub_(gallery.aux[self.params.value], alpha=self.params.factor)

    def values(self, keys: Tensor) -> Tensor:
        """Return the keys."""
        return keys

"""The angle between two vectors, less a part of the gallery image's uncertainty.

Shapes: N images, b queries, G gallery images.
Reference: Huang et al., "Norm-Aware Margin Assignment for Person Re-Identification" (NAMA),
2022: test distance of its code.
"""

from __future__ import annotations

from torch import Tensor

from reid_evaluate.distances.comparison import Vectors
from reid_evaluate.distances.distance_matrix import Cosine


class UncertainAngle:
    """``angle - factor * uc``, with the angle in radians and ``uc`` of the gallery image.

    The uncertainty of the query would be the same for its whole gallery and is left out. In
    ``aux`` the images need ``uc (N,)``, where larger is less certain when it was learned by
    losses on pairs: a negative factor then puts uncertain gallery images behind.

    With the factor 0 the key is minus the cosine, of which angles that are rounded to float32
    would tell apart fewer.
    """

    normalizes = True

    def __init__(self, factor: float = 0.0) -> None:
        """Take ``factor`` times the uncertainty off the angle; 0 ranks as the cosine does."""
        self.factor = factor
        self._cosine = Cosine()

    @property
    def symmetric(self) -> bool:
        """Say whether the uncertainty does not count."""
        return self.factor == 0

    def prepare(self, vectors: Vectors) -> Vectors:
        """Add what the cosine needs.

        Raises:
            ValueError: There is no uncertainty, or not one finite number for each image.
        """
        uc = vectors.aux.get("uc")
        if uc is None:
            raise ValueError(
                "the distance 'uncertain' needs the value 'uc' of each image, which the head "
                f"'uncertain' gives; there is {', '.join(sorted(vectors.aux)) or 'none'}"
            )
        if uc.shape != (len(vectors),):
            raise ValueError(
                f"the distance 'uncertain' needs one 'uc' for each of {len(vectors)} images, got "
                f"the shape {tuple(uc.shape)}"
            )
        if wrong := int((~uc.isfinite()).sum()):
            raise ValueError(
                f"the distance 'uncertain' needs finite values 'uc'; {wrong} of {len(uc)} are NaN "
                "or infinite"
            )
        return self._cosine.prepare(vectors)

    def fill(self, query: Vectors, gallery: Vectors, out: Tensor) -> None:
        """Write angles less uncertainties, or minus cosines, ``(b, G)``."""
        self._cosine.fill(query, gallery, out)  # minus the cosine
        if self.factor:
            out.neg_().clamp_(-1, 1).acos_()
            out.sub_(gallery.aux["uc"], alpha=self.factor)

    def values(self, keys: Tensor) -> Tensor:
        """Return the distances in radians."""
        return keys if self.factor else keys.neg().clamp(-1, 1).acos()

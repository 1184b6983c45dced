"""The distances that everything here is measured by: cosine and Euclidean.

Both are a matrix product and one pass over its result.
Shapes: N images, D size of a feature, b queries, G gallery images.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from reid_evaluate.distances.common_mean import dwarfing_mean, moved
from reid_evaluate.distances.comparison import Vectors

_SAFE_NORM = 1e-15, 1e15
"""Between these, the product of a unit vector with a vector stays well inside float32."""

_ROWS_AT_ONCE = 4096

_CENTER = "center"
"""Name in ``aux`` of what was taken off each vector; the same row for all, kept once."""

_SMALLEST_SQUARE = 1e-35
"""Below, the squares of differences leave float32."""


class Cosine:
    """1 - the dot product of the L2-normalised vectors; a vector of zeros stays zero.

    The key is minus the dot product. The gallery is not copied: its norms divide the product.
    """

    symmetric = True
    normalizes = True

    def prepare(self, vectors: Vectors) -> Vectors:
        """Add ``inverse_norm (N,)``; vectors near the limits of float32 are normalised."""
        norm = vectors.norms
        low, high = _SAFE_NORM
        if bool(((norm < low) | (norm > high)).any()):
            unit = torch.empty_like(vectors.features)
            exact = squared_norms(vectors.features).sqrt()
            for start in range(0, len(unit), _ROWS_AT_ONCE):
                part = slice(start, start + _ROWS_AT_ONCE)
                unit[part] = vectors.features[part].double() / _nonzero(exact[part])[:, None]
            vectors, norm = replace(vectors, features=unit), (exact > 0).float()
        inverse = torch.where(norm > 0, 1 / _nonzero(norm), 0.0)
        return replace(vectors, aux={**vectors.aux, "inverse_norm": inverse})

    def fill(self, query: Vectors, gallery: Vectors, out: Tensor) -> None:
        """Write minus the dot products of the normalised vectors."""
        unit = query.features * query.aux["inverse_norm"][:, None]
        torch.mm(unit, gallery.features.T, out=out)
        out.mul_(-gallery.aux["inverse_norm"])

    def values(self, keys: Tensor) -> Tensor:
        """Return 1 - the dot product."""
        return 1 + keys


class SquaredEuclidean:
    """The squared Euclidean distance of the vectors as they come.

    It is made of dot products, so that differences below about 0.1 % of the vectors' length
    drown in the rounding of float32. Lengths are measured from the mean of the vectors where
    they all lie far from the origin: moving all of them together changes no distance.
    """

    symmetric = True
    normalizes = False

    def prepare(self, vectors: Vectors) -> Vectors:
        """Add ``square (N,)``, the squared norm, and ``center (N, D)`` if it was taken off.

        Raises:
            ValueError: The squares are too large or too small for float32.
        """
        squares = squared_norms(vectors.features)
        _check_scale(squares)
        center = dwarfing_mean(vectors.features, squares)
        if center is None:
            return replace(vectors, aux={**vectors.aux, "square": squares.float()})
        features = moved(vectors.features, -center)
        known = {
            "square": squared_norms(features).float(),
            _CENTER: center.expand(len(vectors), -1),
        }
        return replace(vectors, features=features, aux={**vectors.aux, **known})

    def fill(self, query: Vectors, gallery: Vectors, out: Tensor) -> None:
        """Write the squared distances."""
        query = _from_center_of(gallery, query)
        squares = gallery.aux["square"][None, :]
        torch.addmm(squares, query.features, gallery.features.T, alpha=-2, out=out)
        out.add_(query.aux["square"][:, None])
        out.clamp_(min=0)  # rounding may leave -0.0001 for equal vectors

    def values(self, keys: Tensor) -> Tensor:
        """Return the keys: they are the distances."""
        return keys


class Euclidean(SquaredEuclidean):
    """The Euclidean distance; its key is the square."""

    def values(self, keys: Tensor) -> Tensor:
        """Return the roots."""
        return keys.sqrt()


def _check_scale(squares: Tensor) -> None:
    """Raise ValueError if squared norms ``(N,)`` float64 leave no room in float32."""
    largest = float(squares.max()) if len(squares) else 0.0
    if largest > torch.finfo(torch.float32).max / 8:
        raise ValueError(
            "features are too large for float32 Euclidean distances: the longest vector has the "
            f"length {largest**0.5:.3g}; multiply all of them by one number"
        )
    if 0 < largest < _SMALLEST_SQUARE:
        raise ValueError(
            f"features are too small for float32 Euclidean distances: the longest vector has the "
            f"length {largest**0.5:.3g}; multiply all of them by one number"
        )


def _from_center_of(gallery: Vectors, query: Vectors) -> Vectors:
    """Return prepared queries, measured from the point that the gallery is measured from."""
    ours, theirs = query.aux.get(_CENTER), gallery.aux.get(_CENTER)
    if ours is None and theirs is None:
        return query
    shift = torch.zeros(1, 1, dtype=torch.float64, device=query.features.device)
    if ours is not None:
        shift = shift + ours[:1]
    if theirs is not None:
        shift = shift - theirs[:1]
    features = moved(query.features, shift)
    known = {**query.aux, "square": squared_norms(features).float()}
    return replace(query, features=features, aux=known)


def squared_norms(features: Tensor) -> Tensor:
    """Return the squared L2 norm of every row.

    Args:
        features: ``(N, D)``.

    Returns:
        ``(N,)`` float64; NaN or infinite where the row is.
    """
    norms: Tensor = torch.linalg.vector_norm(features, dim=1, dtype=torch.float64)
    return norms * norms


def _nonzero(norm: Tensor) -> Tensor:
    return torch.where(norm > 0, norm, 1.0)

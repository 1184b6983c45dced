"""Distances between images, for one block of queries at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Distance = Literal["cosine", "euclidean", "squared_euclidean"]

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]

ROUNDING = 1e-5
"""Distances up to this are 0 but for the rounding of float32 dot products. Of Euclidean ones it
is a fraction: of the square of the vector's length where they are squared."""

_NORMALIZED_ROWS_AT_ONCE = 1024


def distance_blocks(
    query: Floats, gallery: Floats, distance: Distance, block_size: int
) -> Iterator[Floats]:
    """Yield the distance matrix in blocks of queries.

    Args:
        query: ``(Q, D)`` float32, finite.
        gallery: ``(G, D)`` float32, finite.
        distance: What to compute, see ``rank_queries``.
        block_size: Queries at a time, 1 or larger.

    Yields:
        ``(b, G)`` float32 with b of at most ``block_size``.

    Raises:
        ValueError: A squared Euclidean distance does not fit into float32.
    """
    if distance == "cosine":
        query, gallery = l2_normalized(query), l2_normalized(gallery)
    gallery, column = _distinct_rows(gallery)
    squares = [np.einsum("nd,nd->n", x, x, dtype=np.float64) for x in (query, gallery)]
    if distance != "cosine" and sum(s.max() for s in squares) > np.finfo(np.float32).max / 4:
        raise ValueError("features are too large for float32 Euclidean distances")
    of_query, of_gallery = (s.astype(np.float32) for s in squares)
    for start in range(0, len(query), block_size):
        block = slice(start, start + block_size)
        found = query[block] @ gallery.T
        if distance == "cosine":
            np.subtract(1, found, out=found)
        else:
            found *= -2
            found += of_query[block, None]
            found += of_gallery
            np.maximum(found, 0, out=found)  # rounding may leave -0.0001 for equal rows
        if distance == "euclidean":
            np.sqrt(found, out=found)
        yield np.take(found, column, axis=1)


def zero_distances(query: Floats, distance: Distance) -> npt.NDArray[np.float64]:
    """Return up to which distance an image counts as identical to each query.

    Dot products in float32 seldom give the distance of a vector to itself as exactly 0.

    Args:
        query: ``(Q, D)`` float32, finite.
        distance: What is compared, see ``rank_queries``.

    Returns:
        ``(Q,)`` limits, see ``ROUNDING``.

    >>> zero_distances(np.array([[0.0, 2.0]]), "squared_euclidean").tolist()
    [4e-05]
    """
    if distance == "cosine":
        return np.full(len(query), ROUNDING)
    squares: npt.NDArray[np.float64] = ROUNDING * np.einsum(
        "nd,nd->n", query, query, dtype=np.float64
    )
    return squares if distance == "squared_euclidean" else np.sqrt(squares)


def l2_normalized(features: npt.NDArray[Any]) -> Floats:
    """Return the rows divided by their L2 norm; rows of zeros stay zero.

    Args:
        features: ``(N, D)``, finite.

    Returns:
        ``(N, D)`` float32. Norm and quotient are float64, so that a feature and its
        multiples give the same row, however large or small they are.
    """
    result = np.empty(features.shape, dtype=np.float32)
    for start in range(0, len(features), _NORMALIZED_ROWS_AT_ONCE):
        part = slice(start, start + _NORMALIZED_ROWS_AT_ONCE)
        wide = features[part].astype(np.float64)
        norms = np.sqrt(np.einsum("nd,nd->n", wide, wide))
        result[part] = wide / np.where(norms > 0, norms, 1)[:, None]
    return result


def finite_rows(what: str, values: npt.ArrayLike) -> Floats:
    """Return an array as float32 after checking that it has rows and all are finite.

    Args:
        what: Name of the split for the message.
        values: ``(N, D)`` with N and D of at least 1.

    Returns:
        ``(N, D)`` float32.

    Raises:
        ValueError: It has another shape, no rows, or rows with NaN or values beyond float32.
    """
    with np.errstate(over="ignore"):  # what overflows becomes infinite and is reported below
        array = np.asarray(values).astype(np.float32, copy=False)
    if len(array.shape) and array.shape[0] == 0:
        raise ValueError(f"the {what} split has no images")
    if array.ndim != 2 or array.shape[1] == 0:
        raise ValueError(f"{what} features must be (N, D) with D >= 1, got {array.shape}")
    bad = np.flatnonzero(~np.isfinite(array).all(axis=1))
    if len(bad):
        raise ValueError(
            f"{what} features: {len(bad)} of {len(array)} rows are NaN or infinite in "
            f"float32; the first is row {bad[0]} (counted from 0)"
        )
    return array


def _distinct_rows(features: Floats) -> tuple[Floats, Integers]:
    """Return the different rows in an order of their own, and where each row is in them.

    BLAS adds the products of a column in an order that depends on where the column stands.
    Multiplying the same matrix whatever the order of the gallery, with every row once,
    gives the same distances bit by bit, and equal rows tie.
    """
    rows = features + np.float32(0)  # -0 becomes 0: equal numbers have equal bytes
    as_bytes = np.ascontiguousarray(rows).view(np.dtype((np.void, rows.itemsize * rows.shape[1])))
    _, first, inverse = np.unique(as_bytes[:, 0], return_index=True, return_inverse=True)
    return rows[first], inverse

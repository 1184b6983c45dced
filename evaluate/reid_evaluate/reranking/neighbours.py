"""The nearest images of every image, without a matrix of all pairs.

Distances are made for a panel of rows at a time. With a symmetric distance only the columns
from the panel's own rows on are multiplied: read along the rows they are candidates for the
panel, read along the columns for the rows that come later. So half of the product is saved.

Shapes: N images, k neighbours, b rows of a panel.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from reid_evaluate.distances.comparison import Distance, Vectors

_COLUMNS_AT_ONCE = 2048
"""Columns that are looked through together, so that what is made of them stays in the cache."""


@dataclass(frozen=True)
class Neighbours:
    """The nearest images of every image, itself first.

    Attributes:
        indices: ``(N, k)`` int64; column 0 is the image itself, then by ascending key.
        keys: ``(N, k)`` float32, of those images.
        farthest: ``(N,)`` float32, the largest key of each row over all N images.
    """

    indices: Tensor
    keys: Tensor
    farthest: Tensor


def nearest(distance: Distance, vectors: Vectors, k: int, *, block_size: int = 1024) -> Neighbours:
    """Search all images for the nearest of each.

    Images at one key come in no particular order.

    Args:
        distance: Compares the images; half the work when it is symmetric.
        vectors: N images.
        k: How many to find, the image itself included, 1 to N.
        block_size: Rows at a time; memory is about ``4 * block_size * N`` bytes.

    Returns:
        The neighbours, on the device of the features.

    Raises:
        ValueError: ``k`` or ``block_size`` is out of range.
    """
    size = len(vectors)
    if not 1 <= k <= size:
        raise ValueError(f"{k} neighbours asked for, but there are {size} images")
    if block_size < 1:
        raise ValueError(f"block_size must be 1 or larger, got {block_size}")
    prepared = distance.prepare(vectors)
    search = _Search(size, k, vectors.features.device)
    buffer = torch.empty(min(block_size, size) * size, device=vectors.features.device)
    for start in range(0, size, block_size):
        stop = min(start + block_size, size)
        first = start if distance.symmetric else 0
        tile = buffer[: (stop - start) * (size - first)].view(stop - start, size - first)
        distance.fill(prepared.rows(start, stop), prepared.rows(first, size), tile)
        search.add_rows(tile, start, first)
        if distance.symmetric:
            search.add_columns(tile, start)
    return search.result()


class _Search:
    """The nearest images found so far."""

    def __init__(self, size: int, k: int, device: torch.device) -> None:
        self._keys = torch.full((size, k), torch.inf, device=device)
        self._indices = torch.zeros((size, k), dtype=torch.int64, device=device)
        self._farthest = torch.full((size,), -torch.inf, device=device)
        self._own = torch.empty(size, device=device)

    def add_rows(self, tile: Tensor, start: int, first: int) -> None:
        """Offer the columns of a tile to its rows, and put each image before all others."""
        rows = slice(start, start + len(tile))
        self._add_farthest(tile.amax(dim=1), rows)
        own = tile.diagonal(start - first)
        self._own[rows] = own
        own.fill_(-torch.inf)
        self._merge_best(tile, rows, first)

    def add_columns(self, tile: Tensor, start: int) -> None:
        """Offer the rows of a tile to the images that come later."""
        height = len(tile)
        self._add_farthest(tile[:, height:].amax(dim=0), slice(start + height, None))
        for column in range(height, tile.shape[1], _COLUMNS_AT_ONCE):
            part = tile[:, column : column + _COLUMNS_AT_ONCE]
            rows = slice(start + column, start + column + part.shape[1])
            # After the first panels few keys are below the worst that a list still holds:
            # to pick them out takes a fifth of the time of a full selection.
            better = part < self._keys[rows, -1]
            if int(better.count_nonzero()) * 8 > better.numel():
                self._merge_best(part.T.contiguous(), rows, start)
            else:
                self._merge_some(part, better, rows, start)

    def result(self) -> Neighbours:
        """Return the lists, with every image's own key in its place."""
        self._keys[:, 0] = self._own
        return Neighbours(self._indices, self._keys, self._farthest)

    def _add_farthest(self, keys: Tensor, rows: slice) -> None:
        self._farthest[rows] = torch.maximum(self._farthest[rows], keys)

    def _merge_best(self, keys: Tensor, rows: slice, first: int) -> None:
        """Offer keys ``(rows, n)`` of the images from ``first`` on."""
        count = min(self._keys.shape[1], keys.shape[1])
        found = keys.topk(count, dim=1, largest=False, sorted=False)
        self._merge(found.values, found.indices + first, rows)

    def _merge_some(self, part: Tensor, better: Tensor, rows: slice, first: int) -> None:
        """Offer those keys ``(n, rows)`` that are marked, of the images from ``first`` on."""
        image, row = better.nonzero(as_tuple=True)
        order = row.argsort()
        image, row = image[order], row[order]
        counts = row.bincount(minlength=part.shape[1])
        place = torch.arange(len(row), device=row.device) - (counts.cumsum(0) - counts)[row]
        shape = (part.shape[1], int(counts.max()))
        keys = part.new_full(shape, torch.inf)
        keys[row, place] = part[image, row]
        indices = image.new_zeros(shape)
        indices[row, place] = image + first
        self._merge(keys, indices, rows)

    def _merge(self, keys: Tensor, indices: Tensor, rows: slice) -> None:
        """Keep the best of the lists and of the offered keys ``(rows, n)``."""
        keys = torch.cat([self._keys[rows], keys], dim=1)
        indices = torch.cat([self._indices[rows], indices], dim=1)
        best = keys.topk(self._keys.shape[1], dim=1, largest=False)
        self._keys[rows] = best.values
        self._indices[rows] = indices.gather(1, best.indices)

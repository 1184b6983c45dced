"""Rank by somebody's own matrix of distances, whatever they were made from.

Rows are read when they are ranked: the matrix may be larger than the memory, as ``numpy.memmap``
has it, and is never copied as a whole.

Shapes: Q queries, G gallery images, b queries of a block.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from reid_evaluate.protocols.junk_rules import Labelled
from reid_evaluate.ranking.images import ImageSet, checked_labels
from reid_evaluate.ranking.keys import Keyed


class GivenKeys:
    """The rows of a matrix of distances as keys."""

    def __init__(self, distances: npt.NDArray[Any] | Tensor) -> None:
        """Keep the matrix ``(Q, G)`` of real numbers, the smaller the nearer.

        Raises:
            ValueError: It has another shape or type.
        """
        shape = tuple(distances.shape)
        real = (
            distances.dtype.is_floating_point
            if isinstance(distances, Tensor)
            else distances.dtype.kind == "f"
        )
        if len(shape) != 2 or not real:
            raise ValueError(
                f"distances must be a (queries, gallery) matrix of floats, got {distances.dtype} "
                f"of shape {shape}"
            )
        self._distances, self.shape = distances, shape

    def fill(self, start: int, stop: int, out: Tensor) -> None:
        """Write the rows start to stop, ``(stop - start, G)``, into ``out``.

        Raises:
            ValueError: One of them is not finite in float32.
        """
        rows = self._distances[start:stop]
        if not isinstance(rows, Tensor):
            with np.errstate(over="ignore"):  # what overflows becomes infinite and is reported
                rows = torch.from_numpy(np.array(rows, dtype=np.float32))
        out.copy_(rows)
        wrong = torch.nonzero(~out.isfinite().all(dim=1)).flatten().tolist()
        if wrong:
            raise ValueError(
                "distances must be finite in float32; the first row that is not is row "
                f"{start + wrong[0]} (counted from 0)"
            )

    def values(self, keys: Tensor) -> Tensor:
        """Return the keys: they are the distances."""
        return keys


def keyed_by(
    distances: npt.NDArray[Any] | Tensor,
    query: Labelled,
    gallery: Labelled,
    *,
    device: torch.device | None = None,
) -> Keyed:
    """Prepare to rank by a matrix of distances; see ``rank_queries``.

    Without vectors nothing is known of copies of a query: ``Ranking.copies`` is False everywhere.

    Args:
        distances: ``(Q, G)`` floats, finite in float32, the smaller the nearer; those that are
            equal in float32 tie. Rows are checked when they are ranked.
        query: Q images; anything with ``pids``, ``camids``, ``names``, ``junk``, ``distractor``
            and ``columns``.
        gallery: G images.
        device: Where to work; default: where the matrix is.

    Raises:
        ValueError: The matrix is none, or has another shape than the images ask for.

    >>> from reid_evaluate.ranking.rank_queries import rank_queries
    >>> def images(pids, camids):
    ...     names, flags = [f"{camids[0]}/{row}" for row in range(len(pids))], [False] * len(pids)
    ...     return ImageSet(None, pids, camids, names, junk=flags, distractor=flags)
    >>> query, gallery = images(["ann"], [0]), images(["bob", "ann", "ann"], [1, 1, 1])
    >>> rank_queries(keyed_by(np.array([[0.1, 0.2, 0.9]]), query, gallery)).first_rank.tolist()
    [2]
    """
    keys = GivenKeys(distances)
    expected = len(query.pids), len(gallery.pids)
    if keys.shape != expected:
        raise ValueError(
            f"distances must be {expected[0]} x {expected[1]}, for as many queries and gallery "
            f"images, got {keys.shape[0]} x {keys.shape[1]}"
        )
    if device is None and isinstance(distances, Tensor):
        device = distances.device
    return Keyed(
        _without_vectors("query", query, device), _without_vectors("gallery", gallery, device), keys
    )


def _without_vectors(split: str, images: Labelled, device: torch.device | None) -> ImageSet:
    """Return checked images whose vectors have no numbers."""
    features = torch.empty(len(images.pids), 0, device=device)
    if not len(features):
        raise ValueError(f"the {split} split has no images")
    return checked_labels(split, images, features)

"""Scores by the cameras of query and gallery.

Shapes: Q queries, b queries of a block, C gallery cameras, A query cameras.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from reid_evaluate.ranking.ap_and_cmc import precision_terms
from reid_evaluate.ranking.rank_queries import Block

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class CameraTable:
    """Scores of queries of one camera on the gallery images of one camera.

    Attributes:
        query_cameras: ``(A,)`` ascending; negative for unknown.
        gallery_cameras: ``(C,)`` ascending; negative for unknown.
        queries: ``(A, C)`` queries that have a match there.
        map: ``(A, C)`` their mean standard AP; NaN without queries.
        rank1: ``(A, C)`` share of them whose nearest image there is a match; NaN likewise.
    """

    query_cameras: Integers
    gallery_cameras: Integers
    queries: Integers
    map: Floats
    rank1: Floats


class CameraPairs:
    """Collects scores by pair of cameras from the blocks of a ranking; an ``Observer``.

    The ranking must have been given ``groups``: each is ranked on its own here.
    """

    def __init__(self, query_camids: Integers, gallery_camids: Integers) -> None:
        """Find the cameras."""
        self._query = query_camids
        self.cameras, self._of_gallery = np.unique(gallery_camids, return_inverse=True)
        self.groups = [np.flatnonzero(gallery_camids == c) for c in self.cameras]
        shape = len(query_camids), len(self.cameras)
        self._ap, self._first = np.zeros(shape), np.zeros(shape, dtype=np.int64)
        self._matches = np.zeros(shape, dtype=np.int64)

    def see(self, block: Block) -> None:
        """Score the queries of a block on the images of each camera."""
        query, image, _ = block.matches
        camera = self._of_gallery[image]
        for c in range(len(self.cameras)):
            at = np.flatnonzero(camera == c)
            row = query[at]
            found, starts, number = np.unique(row, return_index=True, return_counts=True)
            order = np.arange(len(row)) - np.repeat(starts, number) + 1
            ranks = block.before[at, c] + order
            terms = np.add.reduceat(precision_terms(order, ranks), starts) if len(row) else 0
            self._ap[found, c] = terms / number
            self._first[found, c] = ranks[starts]
            self._matches[found, c] = number

    def table(self) -> CameraTable:
        """Return the scores by pair of cameras."""
        cameras = np.unique(self._query)
        of_camera = self._query[None, :] == cameras[:, None]
        has = (self._matches > 0).astype(np.float64)
        queries = of_camera @ has
        with np.errstate(invalid="ignore"):
            return CameraTable(
                query_cameras=cameras,
                gallery_cameras=self.cameras,
                queries=queries.astype(np.int64),
                map=of_camera @ self._ap / queries,
                rank1=of_camera @ (self._first == 1).astype(np.float64) / queries,
            )

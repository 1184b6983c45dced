"""Which images are the same file: by the bytes that were packed, whatever their names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reid_core.storage.store import Store


@dataclass(frozen=True)
class Images:
    """Some images of a store.

    Attributes:
        store: Where they lie.
        at: ``(n,)`` int64 record numbers.
    """

    store: Store
    at: np.ndarray

    @property
    def digests(self) -> np.ndarray:
        """Return a number for the bytes of each picture, ``(n,)`` uint64; none is read."""
        found: np.ndarray = self.store.index.digest[self.at]
        return found


def same_as(images: Images, others: Sequence[Images]) -> np.ndarray:
    """Tell which images are also among others, byte for byte.

    Args:
        images: n images.
        others: Images of the same store or of other ones.

    Returns:
        ``(n,)`` bool.
    """
    theirs = [other.digests for other in others]
    return np.isin(images.digests, np.concatenate([np.zeros(0, np.uint64), *theirs]))

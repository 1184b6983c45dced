"""Which images are the same file: by the bytes that were packed, whatever their names."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import lmdb
import numpy as np

from reid_core.console import progress_bar
from reid_core.errors import ReidError
from reid_core.storage.store import Store, open_images, record_key


@dataclass(frozen=True)
class Images:
    """Some images of a store.

    Attributes:
        store: Where they lie.
        at: ``(n,)`` int64 record numbers.
    """

    store: Store
    at: np.ndarray


class SamePictures:
    """Compares images byte for byte; what was read of an image is kept for the next comparison."""

    def __init__(self) -> None:
        """Begin without knowing any image."""
        self._sizes: dict[Path, np.ndarray] = {}
        self._digests: dict[tuple[Path, int], bytes] = {}

    def among(self, images: Images, others: Sequence[Images]) -> np.ndarray:
        """Tell which images are also among the others.

        Only images of a size that both sides have are read.

        Args:
            images: n images.
            others: Images of the same store or of other ones.

        Returns:
            ``(n,)`` bool.

        Raises:
            ReidError: A store is damaged.
        """
        sizes = self._sizes_of(images)
        theirs = [self._sizes_of(part) for part in others]
        candidates = np.isin(sizes, np.concatenate([np.zeros(0, np.int64), *theirs]))
        wanted = [(images.store, int(p)) for p in images.at[candidates]]
        rest = [
            (part.store, int(p))
            for part, part_sizes in zip(others, theirs, strict=True)
            for p in part.at[np.isin(part_sizes, sizes)]
        ]
        found = self._digests_of([*wanted, *rest])
        known = set(found[len(wanted) :])
        same = np.zeros(len(images.at), dtype=bool)
        same[candidates] = [digest in known for digest in found[: len(wanted)]]
        return same

    def _sizes_of(self, images: Images) -> np.ndarray:
        """Return the bytes of each picture ``(n,)`` int64, which costs no reading of it."""
        path = images.store.path
        if path not in self._sizes:
            self._sizes[path] = _picture_sizes(images.store)
        sizes: np.ndarray = self._sizes[path][images.at]
        return sizes

    def _digests_of(self, pictures: Sequence[tuple[Store, int]]) -> list[bytes]:
        """Return the SHA-256 of the bytes of each picture."""
        new = [(s, p) for s, p in dict.fromkeys(pictures) if (s.path, p) not in self._digests]
        if new:
            self._read(new)
        return [self._digests[store.path, position] for store, position in pictures]

    def _read(self, pictures: Sequence[tuple[Store, int]]) -> None:
        with progress_bar("looking for images that are there twice") as tick:
            for done, (store, position) in enumerate(pictures, 1):
                digest = hashlib.sha256(store.read(position)).digest()
                self._digests[store.path, position] = digest
                tick(done, len(pictures))


def _picture_sizes(store: Store) -> np.ndarray:
    """Return how many bytes each picture of a store has, ``(N,)`` int64; -1 for a missing one."""
    environment = open_images(store.path)
    try:
        with environment.begin(buffers=True) as transaction:
            found = [transaction.get(record_key(p)) for p in range(len(store))]
            return np.array([-1 if v is None else len(v) for v in found], dtype=np.int64)
    except lmdb.Error as error:
        raise ReidError(
            f"{store.path}: images.lmdb is damaged ({error}); pack the dataset again"
        ) from None

"""The LMDB of a store, read-only: what would end the process or hang is found before.

LMDB maps its file into memory and follows the numbers in its pages unchecked, so a file that is
cut short or a wrong bit in a page ends the process when it is read. The pages that it follows,
not those that hold nothing but pictures, have a checksum, which is compared at opening.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from weakref import WeakValueDictionary

import lmdb
import numpy as np

from reid_core.errors import ReidError

_environments: WeakValueDictionary[tuple[int, int], lmdb.Environment] = WeakValueDictionary()
"""Open files by (device, inode). The one global of the core: LMDB itself allows a process one
environment per file, so stores of one path must share it. A forked child goes on with what it has
inherited: the map is read-only and has no lock. To close it there can hang for ever, when another
thread of the parent was reading."""

FLAGS, COUNT = slice(10, 12), slice(12, 16)
"""Where a page's header has its kind, and the number of pages of a large value."""

LARGE_VALUE = 4
"""The flag of a page that begins a value of one page or more."""

PORTION = 1 << 24
"""Bytes read at a time."""


class ImageFile:
    """The records of a store by their keys; safe to hand to other processes.

    Attributes:
        path: The store.
        size: Bytes that the file must have.
    """

    def __init__(self, path: Path, size: int) -> None:
        """Look at the file; it is opened when the first record is read.

        Raises:
            ReidError: It is missing, or has another size: it was not copied to its end.
        """
        self.path, self.size = path, size
        self._data = data_file(path)
        self._environment: lmdb.Environment | None = None
        found = self._data.stat().st_size if self._data.is_file() else 0
        if found != size:
            raise ReidError(
                f"{path}: images.lmdb has {found} bytes instead of {size}; "
                "copy it again or pack the dataset again"
            )

    def __getstate__(self) -> dict[str, object]:
        """Leave the open environment behind: every process opens its own."""
        return {**self.__dict__, "_environment": None}

    def get(self, key: bytes) -> bytes | None:
        """Return the value of a key, None if there is none.

        Raises:
            ReidError: The file is damaged, or has changed or vanished since it was opened.
        """
        try:
            state = os.stat(self._data)
            if state.st_size != self.size:
                raise ReidError(
                    f"{self.path}: images.lmdb was changed while it was read: it has "
                    f"{state.st_size} bytes instead of {self.size}; pack the dataset again"
                )
            if self._environment is None:
                self._environment = _opened(self._data, (state.st_dev, state.st_ino))
            with self._environment.begin(buffers=False) as transaction:
                value = transaction.get(key)
        except OSError as error:
            raise ReidError(
                f"{self.path}: images.lmdb cannot be read any more: {error.strerror or error}; "
                "bring its disk or folder back, or pack the dataset again, and run again"
            ) from None
        except lmdb.Error as error:
            raise ReidError(
                f"{self.path}: images.lmdb is damaged ({error}); pack the dataset again"
            ) from None
        return None if value is None else bytes(value)

    def close(self) -> None:
        """Let go of the open file; the next read opens it again."""
        self._environment = None

    def check_pages(self, page_bytes: int, pages: np.ndarray, checksum: str) -> None:
        """Compare the pages that LMDB follows with what was packed.

        Raises:
            ReidError: They differ, or cannot be read.
        """
        try:
            found = pages_checksum(self._data, page_bytes, pages)
        except (OSError, ValueError) as error:
            found = str(error)
        if found != checksum:
            raise ReidError(
                f"{self.path}: images.lmdb is damaged (the checksum of its pages differs); copy it "
                "again or pack the dataset again"
            )


def data_file(store: Path) -> Path:
    """Return the file of a store that LMDB maps."""
    return store / "images.lmdb" / "data.mdb"


def record_key(position: int, extra: str = "") -> bytes:
    """Return the LMDB key of an image by its record number, or of one of its extras."""
    return position.to_bytes(8, "big") + extra.encode()


def _opened(data: Path, identity: tuple[int, int]) -> lmdb.Environment:
    """Open a store's LMDB read-only, without a lock: a finished store never changes."""
    environment = _environments.get(identity)
    if environment is None:
        environment = lmdb.open(
            str(data.parent), readonly=True, lock=False, readahead=False, create=False
        )
        _environments[identity] = environment
    return environment


def followed_pages(data: Path, page_bytes: int) -> np.ndarray:
    """Return the numbers of the pages that are not within a large value, int64, ascending."""
    return np.fromiter(_followed(data, page_bytes), dtype=np.int64)


def _followed(data: Path, page_bytes: int) -> Iterator[int]:
    with data.open("rb") as file:
        number, count = 0, data.stat().st_size // page_bytes
        while number < count:
            header = os.pread(file.fileno(), 16, number * page_bytes)
            if int.from_bytes(header[FLAGS], "little") & LARGE_VALUE:
                number += max(1, int.from_bytes(header[COUNT], "little"))
            else:
                yield number
                number += 1


def pages_checksum(data: Path, page_bytes: int, pages: np.ndarray) -> str:
    """Return the SHA-256 of some pages and their numbers, in hexadecimal digits.

    Raises:
        ValueError: A page lies outside the file.
    """
    digest = hashlib.sha256(np.ascontiguousarray(pages, "<i8").tobytes())
    most = max(1, PORTION // page_bytes)
    with data.open("rb") as file:
        for run in np.split(pages, np.flatnonzero(np.diff(pages) != 1) + 1):
            for first in range(0, len(run), most):
                part = run[first : first + most]
                size = len(part) * page_bytes
                content = os.pread(file.fileno(), size, int(part[0]) * page_bytes)
                if len(content) != size:
                    raise ValueError("the file is shorter than it was")
                digest.update(content)
    return digest.hexdigest()

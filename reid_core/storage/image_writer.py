"""Write the images of a dataset into the LMDB of a store that is being packed."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lmdb

from reid_core.boundary import Origin
from reid_core.checksums import short_digest
from reid_core.contracts import Listing
from reid_core.storage.packed_content import read_record

COMMIT_BYTES = 1 << 25
"""Encoded images are written to the disk in portions of about this size."""
FIRST_MAP_SIZE = 1 << 26

Report = Callable[[int, int], None]
"""Called with (images done, images in all)."""


@dataclass
class Written:
    """What has gone into the LMDB.

    Attributes:
        kept: Positions in the listing of the images that could be read.
        problems: A line for each thing that could not.
        digests: Of every record, by its key.
        page_bytes: Size of a page of the file.
    """

    kept: list[int] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    digests: dict[bytes, int] = field(default_factory=dict)
    page_bytes: int = 0


def write_images(
    listing: Listing, folder: Path, digest: Any, report: Report, origin: Origin | None
) -> Written:
    """Write every image that can be read.

    Args:
        listing: The images.
        folder: The store.
        digest: Of all content; receives every image.
        report: Called after every image.
        origin: Where the dataset comes from.

    Raises:
        OSError: The disk is full, or refuses.
    """
    written = Written()
    size = FIRST_MAP_SIZE
    environment = lmdb.open(str(folder / "images.lmdb"), map_size=size, sync=False)
    pending: list[tuple[bytes, bytes]] = []
    needed = 0
    try:
        for position, record in enumerate(listing.records):
            content, found = read_record(record, listing, origin)
            written.problems += found
            if content is not None and not found:
                content.add_to(digest)
                pending += content.records(len(written.kept))
                written.kept.append(position)
                needed += content.size
            if needed >= COMMIT_BYTES or position == len(listing.records) - 1:
                size = _commit(environment, pending, size)
                written.digests |= {key: short_digest(data) for key, data in pending}
                pending.clear()
                needed = 0
            report(position + 1, len(listing.records))
        environment.sync(True)
        written.page_bytes = int(environment.stat()["psize"])
    except lmdb.Error as error:
        # A write that a full disk cuts short comes as a plain input/output error.
        full = isinstance(error, lmdb.DiskError) or shutil.disk_usage(folder).free < needed
        raise OSError(errno.ENOSPC if full else errno.EIO, str(error)) from error
    finally:
        environment.close()
    return written


def _commit(environment: lmdb.Environment, pending: list[tuple[bytes, bytes]], size: int) -> int:
    """Write pending records, enlarging the map when it is full; return the map's size."""
    while True:
        try:
            with environment.begin(write=True) as transaction:
                for key, data in pending:
                    transaction.put(key, data)
            return size
        except lmdb.MapFullError:
            size *= 2
            environment.set_mapsize(size)

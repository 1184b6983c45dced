"""Pack a dataset's images into a store: atomic, one process at a time, nothing unread."""

from __future__ import annotations

import errno
import glob
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lmdb
import numpy as np

from reid_core.boundary import Origin
from reid_core.contracts import Listing
from reid_core.errors import ReidError
from reid_core.files import atomic_path, saving, write_json
from reid_core.locks import file_lock
from reid_core.storage.listing_checks import check_listing, raise_problems
from reid_core.storage.packed_content import Content, add_index, index_of, new_digest, read_record
from reid_core.storage.store import FORMAT, Store

COMMIT_BYTES = 1 << 25
"""Encoded images are written to the disk in portions of about this size."""
FIRST_MAP_SIZE = 1 << 26

Report = Callable[[int, int], None]
"""Called with (images done, images in all)."""


def pack(
    listing: Listing,
    target: Path,
    source: dict[str, Any],
    report: Report | None = None,
    origin: Origin | None = None,
) -> Store:
    """Write a store, or wait for the process that is writing it.

    Args:
        listing: The images.
        target: The store's directory; an existing store is opened and returned as it is.
        source: What the store was made from (dataset name, params), kept in the manifest.
        report: Called after every image.
        origin: Where the dataset comes from, for what its functions raise.

    Returns:
        The store, opened.

    Raises:
        ReidError: The listing cannot be used, images or what lies beside them are unreadable, a
            function of the plugin failed, or the disk is full; nothing is left behind.
    """
    with saving(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    with saving(target), file_lock(Path(f"{target}.lock")):
        if (target / "manifest.json").exists():
            return Store(target)
        check_listing(listing, origin)
        for leftover in target.parent.glob(f".{glob.escape(target.name)}.packing-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        temporary = target.parent / f".{target.name}.packing-{os.getpid()}"
        try:
            temporary.mkdir()
            _write(listing, temporary, source, report or (lambda done, total: None), origin)
            temporary.replace(target)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return Store(target)


def verify(store: Store, report: Report | None = None) -> None:
    """Read and decode every image and extra of a store again and compare the content hash.

    Raises:
        ReidError: Some cannot be decoded, or the content differs from what was packed.
    """
    problems: list[str] = []
    digest = new_digest(store.extra_kinds)
    for position in range(len(store)):
        extras = sorted(name for name, has in store.index.extras.items() if has[position])
        content = Content(
            store.label(position),
            store.read(position),
            {name: store.read(position, name) for name in extras},
        )
        problems += content.problems(store.extra_kinds, content.label)
        content.add_to(digest)
        if report:
            report(position + 1, len(store))
    add_index(digest, store.index)
    raise_problems(problems, f"images of {store.path} are damaged; pack the dataset again")
    if digest.hexdigest() != store.manifest["content_hash"]:
        raise ReidError(f"{store.path}: the content differs from what was packed; pack it again")


def _write(
    listing: Listing,
    folder: Path,
    source: dict[str, Any],
    report: Report,
    origin: Origin | None,
) -> None:
    """Write the three parts of a store into an empty folder."""
    digest = new_digest(listing.extras)
    problems = _write_images(listing, folder, digest, report, origin)
    raise_problems(
        problems, "images cannot be read; nothing was packed", f"{origin}: " if origin else ""
    )
    index = index_of(listing)
    add_index(digest, index)
    arrays: dict[str, Any] = index.arrays()
    with atomic_path(folder / "index.npz") as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)
    write_json(
        folder / "manifest.json",
        {
            "format": FORMAT,
            "source": source,
            "images": len(index),
            "statistics": index.statistics(),
            "extras": dict(listing.extras),
            "content_hash": digest.hexdigest(),
            "lmdb_bytes": (folder / "images.lmdb" / "data.mdb").stat().st_size,
        },
    )


def _write_images(
    listing: Listing, folder: Path, digest: Any, report: Report, origin: Origin | None
) -> list[str]:
    """Write every image; return a line for each one that is missing or damaged."""
    records = listing.records
    problems: list[str] = []
    size = FIRST_MAP_SIZE
    environment = lmdb.open(str(folder / "images.lmdb"), map_size=size, sync=False)
    pending: list[tuple[bytes, bytes]] = []
    needed = 0
    try:
        for position, record in enumerate(records):
            content, found = read_record(record, listing, origin)
            problems += found
            if content is not None:
                content.add_to(digest)
                pending += content.records(position)
                needed += content.size
            if needed >= COMMIT_BYTES or position == len(records) - 1:
                size = _commit(environment, pending, size)
                pending.clear()
                needed = 0
            report(position + 1, len(records))
        environment.sync(True)
    except lmdb.Error as error:
        # A write that a full disk cuts short comes as a plain input/output error.
        full = isinstance(error, lmdb.DiskError) or shutil.disk_usage(folder).free < needed
        raise OSError(errno.ENOSPC if full else errno.EIO, str(error)) from error
    finally:
        environment.close()
    return problems


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

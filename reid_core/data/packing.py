"""Pack a dataset's images into a store: atomic, one process at a time, nothing unread."""

from __future__ import annotations

import errno
import glob
import hashlib
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
from filelock import FileLock

from reid_core.contracts import SPLITS, ImageRecord, Listing
from reid_core.data.decoding import UNREADABLE, decode
from reid_core.data.store import FORMAT, Index, Store, record_key
from reid_core.errors import ReidError
from reid_core.files import atomic_path, saving, write_json

SHOWN_PROBLEMS = 20
COMMIT_BYTES = 1 << 25
"""Encoded images are written to the disk in portions of about this size."""
FIRST_MAP_SIZE = 1 << 26

Report = Callable[[int, int], None]
"""Called with (images done, images in all)."""


def pack(
    listing: Listing, target: Path, source: dict[str, Any], report: Report | None = None
) -> Store:
    """Write a store, or wait for the process that is writing it.

    Args:
        listing: The images.
        target: The store's directory; an existing store is opened and returned as it is.
        source: What the store was made from (dataset name, params), kept in the manifest.
        report: Called after every image.

    Returns:
        The store, opened.

    Raises:
        ReidError: Images are unreadable, lie outside the dataset's root or are repeated;
            the disk is full; nothing is left behind.
    """
    with saving(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    with saving(target), FileLock(f"{target}.lock"):
        if (target / "manifest.json").exists():
            return Store(target)
        check_listing(listing)
        for leftover in target.parent.glob(f".{glob.escape(target.name)}.packing-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        temporary = target.parent / f".{target.name}.packing-{os.getpid()}"
        try:
            temporary.mkdir()
            _write(listing, temporary, source, report or (lambda done, total: None))
            temporary.replace(target)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return Store(target)


def check_listing(listing: Listing) -> None:
    """Check what can be checked without reading an image.

    Raises:
        ReidError: No images, an unknown split, a repeated name, a negative camera other
            than -1, or a file outside the root.
    """
    if not listing.records:
        raise ReidError("the dataset has no images")
    problems = []
    seen: set[tuple[str, str]] = set()
    root = listing.root.resolve() if listing.root else None
    for record in listing.records:
        if record.split not in SPLITS:
            problems.append(
                f"{record.name}: unknown split '{record.split}' (known: {', '.join(SPLITS)})"
            )
        if record.camid < -1:
            problems.append(
                f"{record.name}: camid {record.camid}; cameras count from 0, -1 is unknown"
            )
        if (record.split, record.name) in seen:
            problems.append(f"{record.name}: twice in split '{record.split}'")
        seen.add((record.split, record.name))
        if isinstance(record.source, Path) and not _inside(record.source, root):
            problems.append(f"{record.name}: lies outside the data folder {listing.root}")
    _raise_problems(problems, "images cannot be used")


def _inside(path: Path, root: Path | None) -> bool:
    """Return whether a file, links followed, lies in the data folder."""
    return root is None or path.resolve().is_relative_to(root)


def published_differences(listing: Listing) -> list[str]:
    """Compare the listing with the dataset's published numbers; one line per difference."""
    differences = []
    for split, expected in listing.published.items():
        records = [r for r in listing.records if r.split == split]
        real = {r.pid for r in records if not (r.junk or r.distractor)}
        if (len(real), len(records)) != tuple(expected):
            differences.append(
                f"{split}: {len(real)} identities in {len(records)} images; "
                f"published are {expected[0]} in {expected[1]}"
            )
    return differences


def fingerprint(
    dataset: str,
    params: dict[str, Any],
    listing: Listing,
    *,
    distribution: str = "",
    version: str = "",
) -> str:
    """Return 16 hex digits that change when the dataset's params or files change.

    Files are compared by name, size and time of change; they are not read. Images that code
    makes may change with its release.

    Args:
        dataset: The dataset's name.
        params: Its resolved params.
        listing: Its images.
        distribution: Who offers the dataset.
        version: Of the distribution; it counts only where code makes images.
    """
    release = version if any(callable(r.source) for r in listing.records) else ""
    facts = (FORMAT, distribution, release, dataset, sorted(params.items()))
    digest = hashlib.sha256(repr(facts).encode())
    for record in listing.records:
        digest.update(repr(_facts(record)).encode())
        if isinstance(record.source, Path):
            try:
                stat = record.source.stat()
            except OSError as error:
                raise ReidError(f"{record.source}: cannot be read: {error.strerror}") from None
            digest.update(repr((stat.st_size, stat.st_mtime_ns)).encode())
    return digest.hexdigest()[:16]


def verify(store: Store, report: Report | None = None) -> None:
    """Read and decode every image of a store again and compare the content hash.

    Raises:
        ReidError: Images cannot be decoded, or the content differs from what was packed.
    """
    problems, digest = [], hashlib.sha256()
    for done, (name, data) in enumerate(store.images(), 1):
        if (problem := _decoding_problem(name, data)) is not None:
            problems.append(problem)
        _update(digest, name, data)
        if report:
            report(done, len(store))
    _update_index(digest, store.index)
    _raise_problems(problems, f"images of {store.path} are damaged; pack the dataset again")
    if digest.hexdigest() != store.manifest["content_hash"]:
        raise ReidError(f"{store.path}: the content differs from what was packed; pack it again")


def _write(listing: Listing, folder: Path, source: dict[str, Any], report: Report) -> None:
    """Write the three parts of a store into an empty folder."""
    digest = hashlib.sha256()
    problems = _write_images(listing.records, folder, digest, report)
    _raise_problems(problems, "images cannot be read; nothing was packed")
    index = _index(listing.records)
    _update_index(digest, index)
    arrays = {n: getattr(index, n) for n in index.__dataclass_fields__ if n != "columns"}
    with atomic_path(folder / "index.npz") as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)
    write_json(
        folder / "manifest.json",
        {
            "format": FORMAT,
            "source": source,
            "images": len(index),
            "statistics": index.statistics(),
            "content_hash": digest.hexdigest(),
            "lmdb_bytes": (folder / "images.lmdb" / "data.mdb").stat().st_size,
        },
    )


def _write_images(
    records: list[ImageRecord], folder: Path, digest: Any, report: Report
) -> list[str]:
    """Write every image; return a line for each one that is missing or damaged."""
    problems: list[str] = []
    size = FIRST_MAP_SIZE
    environment = lmdb.open(str(folder / "images.lmdb"), map_size=size, sync=False)
    pending: list[tuple[bytes, bytes]] = []
    needed = 0
    try:
        for position, record in enumerate(records):
            data, problem = _read_source(record)
            if problem is not None:
                problems.append(problem)
            else:
                _update(digest, f"{record.split}/{record.name}", data)
                pending.append((record_key(position), data))
                needed += len(data)
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


def _read_source(record: ImageRecord) -> tuple[bytes, str | None]:
    """Return an image's bytes, or what is wrong with it."""
    try:
        data = record.source.read_bytes() if isinstance(record.source, Path) else record.source()
    except OSError as error:
        return b"", f"{record.name}: {error.strerror or error}"
    return data, _decoding_problem(record.name, data)


def _decoding_problem(name: str, data: bytes) -> str | None:
    try:
        decode(data)
    except UNREADABLE as error:
        return f"{name}: truncated or not an image ({error})"
    return None


def _index(records: list[ImageRecord]) -> Index:
    return Index(
        name=np.array([r.name for r in records], dtype=np.str_),
        split=np.array([r.split for r in records], dtype=np.str_),
        pid=np.array([r.pid for r in records], dtype=np.str_),
        camid=np.array([r.camid for r in records], dtype=np.int64),
        junk=np.array([r.junk for r in records], dtype=bool),
        distractor=np.array([r.distractor for r in records], dtype=bool),
    )


def _update(digest: Any, name: str, data: bytes) -> None:
    """Add one image to a content hash; its length keeps neighbours apart."""
    digest.update(repr((name, len(data))).encode())
    digest.update(data)


def _update_index(digest: Any, index: Index) -> None:
    """Add what the index says of every image to a content hash."""
    names = [name for name in index.__dataclass_fields__ if name != "columns"]
    columns = (getattr(index, name).tolist() for name in names)
    for row in zip(*columns, strict=True):
        digest.update(repr(row).encode())


def _facts(record: ImageRecord) -> tuple[str, str, str | None, int, bool, bool]:
    """Return what the index will say of an image."""
    r = record
    return r.name, r.split, r.pid, r.camid, r.junk, r.distractor


def _raise_problems(problems: Iterable[str], what: str) -> None:
    lines = list(problems)
    if lines:
        more = (
            f"\n  ... and {len(lines) - SHOWN_PROBLEMS} more" if len(lines) > SHOWN_PROBLEMS else ""
        )
        listed = "".join(f"\n  {line}" for line in lines[:SHOWN_PROBLEMS])
        raise ReidError(f"{len(lines)} {what}:{listed}{more}")

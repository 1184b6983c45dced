"""Pack a dataset's images into a store: atomic, one process at a time, nothing unread."""

from __future__ import annotations

import contextlib
import glob
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from filelock import Timeout

from reid_core.boundary import Origin
from reid_core.checksums import bytes_checksum
from reid_core.contracts import Listing
from reid_core.errors import ReidError
from reid_core.files import atomic_path, is_left_over, saving
from reid_core.locks import file_lock
from reid_core.problems import raise_problems
from reid_core.storage.image_file import data_file, followed_pages, pages_checksum, record_key
from reid_core.storage.image_writer import Report, Written, write_images
from reid_core.storage.left_out import LeftOut
from reid_core.storage.listing_checks import check_listing
from reid_core.storage.manifest import write_manifest
from reid_core.storage.packed_content import Content, add_index, index_of, new_digest
from reid_core.storage.store import DIGEST, PAGES, Index, Store

UNTOUCHED_FOR = 600.0
"""Seconds after which a half-packed store may be one that was left."""


def pack(
    listing: Listing,
    target: Path,
    source: dict[str, Any],
    report: Report | None = None,
    origin: Origin | None = None,
    *,
    skip_unreadable: bool = False,
    follow_links: bool = False,
) -> Store:
    """Write a store, or wait for the process that is writing it.

    Args:
        listing: The images.
        target: The store's directory; an existing store is opened and returned as it is.
        source: What the store was made from (dataset name, params), kept in the manifest.
        report: Called after every image.
        origin: Where the dataset comes from, for what its functions raise.
        skip_unreadable: Leave out images that cannot be read, and say so, instead of refusing all.
        follow_links: Whether links of the owner of the dataset's folder may lead out of it.

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
        check_listing(listing, origin, follow_links=follow_links)
        for leftover in target.parent.glob(f".{glob.escape(target.name)}.packing-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        temporary = target.parent / f".{target.name}.packing-{os.getpid()}"
        try:
            temporary.mkdir()
            left_out = _write(
                listing,
                temporary,
                source,
                report or (lambda done, total: None),
                origin,
                skip_unreadable=skip_unreadable,
            )
            temporary.replace(target)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    left_out.tell(str(source["name"]))
    return Store(target)


def remove_packing_leftovers(folder: Path) -> None:
    """Remove the half-packed stores of killed processes, unless somebody packs there now.

    Args:
        folder: Where stores are.
    """
    for leftover in folder.glob(".*.packing-*") if folder.is_dir() else ():
        name, _, process = leftover.name[1:].rpartition(".packing-")
        with contextlib.suppress(OSError, Timeout, ReidError):
            if is_left_over(process, leftover, UNTOUCHED_FOR):
                with file_lock(folder / f"{name}.lock", timeout=0):
                    shutil.rmtree(leftover, ignore_errors=True)


def verify(store: Store, report: Report | None = None) -> None:
    """Read and decode every image and extra of a store again and compare the content hash.

    Raises:
        ReidError: Some cannot be decoded, or the content differs from what was packed.
    """
    problems: list[str] = []
    digest = new_digest(store.extra_kinds)
    for position in range(len(store)):
        extras = sorted(name for name, has in store.index.extras.items() if has[position])
        try:
            content = Content(
                store.label(position),
                store.read(position),
                {name: store.read(position, name) for name in extras},
            )
        except ReidError as error:
            problems.append(str(error).removeprefix(f"{store.path}: "))
            continue
        problems += content.problems(store.extra_kinds, content.label)
        content.add_to(digest)
        if report:
            report(position + 1, len(store))
    add_index(digest, store.index)
    raise_problems(
        problems,
        f"images of {store.path} are damaged; pack the dataset again",
        one=f"image of {store.path} is damaged; pack the dataset again",
    )
    if digest.hexdigest() != store.manifest["content_hash"]:
        raise ReidError(f"{store.path}: the content differs from what was packed; pack it again")


def _write(
    listing: Listing,
    folder: Path,
    source: dict[str, Any],
    report: Report,
    origin: Origin | None,
    *,
    skip_unreadable: bool,
) -> LeftOut:
    """Write the three parts of a store into an empty folder; return what is not in it."""
    digest = new_digest(listing.extras)
    written = write_images(listing, folder, digest, report, origin)
    if not (skip_unreadable and written.kept):
        raise_problems(
            written.problems,
            "images cannot be read; nothing was packed",
            f"{origin}: " if origin else "",
            one="image cannot be read; nothing was packed",
        )
    left_out = LeftOut.of(listing, written.kept, written.problems)
    listing = replace(listing, records=[listing.records[position] for position in written.kept])
    index = index_of(listing)
    add_index(digest, index)
    pages = followed_pages(data_file(folder), written.page_bytes)
    arrays: dict[str, Any] = {**index.arrays(), **_digest_arrays(index, written), PAGES: pages}
    with atomic_path(folder / "index.npz") as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)
    write_manifest(
        folder,
        {
            "source": source,
            "images": len(index),
            "statistics": index.statistics(),
            "extras": dict(listing.extras),
            **left_out.entries(),
            "content_hash": digest.hexdigest(),
            "index_checksum": bytes_checksum((folder / "index.npz").read_bytes()),
            "lmdb_bytes": data_file(folder).stat().st_size,
            "page_bytes": written.page_bytes,
            "pages_checksum": pages_checksum(data_file(folder), written.page_bytes, pages),
        },
    )
    return left_out


def _digest_arrays(index: Index, written: Written) -> dict[str, np.ndarray]:
    """Return the digests of all records as arrays of ``index.npz``; 0: there is no record."""
    return {
        DIGEST + extra: np.array(
            [written.digests.get(record_key(position, extra), 0) for position in range(len(index))],
            dtype=np.uint64,
        )
        for extra in ("", *sorted(index.extras))
    }

"""Tell whether a dataset is the one that a store was packed from, without reading its images."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from reid_core.contracts import ImageRecord, Listing
from reid_core.errors import ReidError
from reid_core.storage.manifest import FORMAT


def fingerprint(
    dataset: str,
    params: dict[str, Any],
    listing: Listing,
    *,
    distribution: str = "",
    version: str = "",
) -> str:
    """Return 16 hex digits that change when the dataset's params or files change.

    Files are compared by name, size and time of change; they are not read. What code makes may
    change with its release.

    Args:
        dataset: The dataset's name.
        params: Its resolved params.
        listing: Its images.
        distribution: Who offers the dataset.
        version: Of the distribution; it counts only where code makes images or extras.
    """
    sources = [source for record in listing.records for _, source in _sources(record)]
    release = version if any(callable(source) for source in sources) else ""
    facts = (FORMAT, distribution, release, dataset, sorted(params.items()))
    digest = hashlib.sha256(repr((*facts, sorted(listing.extras.items()))).encode())
    for record in listing.records:
        digest.update(repr(_facts(record)).encode())
        for name, source in _sources(record):
            if isinstance(source, Path):
                digest.update(repr((name, *_state(source))).encode())
    return digest.hexdigest()[:16]


def _sources(record: ImageRecord) -> list[tuple[str, Path | Callable[[], bytes]]]:
    """Return where the picture, under no name, and its extras come from, by their names."""
    return [("", record.source), *sorted(record.extras.items(), key=lambda item: item[0])]


def _state(file: Path) -> tuple[int, int]:
    """Return the size of a file and the time of its last change."""
    try:
        stat = file.stat()
    except OSError as error:
        raise ReidError(f"{file}: cannot be read: {error.strerror}") from None
    return stat.st_size, stat.st_mtime_ns


def _facts(record: ImageRecord) -> tuple[object, ...]:
    """Return what the index will say of an image."""
    r = record
    facts = (r.name, r.split, r.pid, r.camid, r.junk, r.distractor)
    return *facts, sorted(map(repr, r.columns.items())), sorted(map(repr, r.extras))

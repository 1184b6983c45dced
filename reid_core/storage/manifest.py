"""A store's manifest: what it was made from, and the checksums of its other files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reid_core.checksums import check_signed, read_object, signed
from reid_core.errors import ReidError
from reid_core.files import DAMAGED, write_json

FORMAT = 3
"""Version of the store's layout; another version is refused."""

FILE = "manifest.json"

_TYPES = {
    **{"source": dict, "images": int, "extras": dict, "content_hash": str},
    **{"index_checksum": str, "lmdb_bytes": int, "page_bytes": int, "pages_checksum": str},
}
"""What a manifest must have; it may have more."""


def write_manifest(folder: Path, facts: Mapping[str, Any]) -> None:
    """Write a manifest with its own checksum, whole or not at all.

    Raises:
        ReidError: The disk is full or not writable.
    """
    write_json(folder / FILE, signed({"format": FORMAT, **facts}))


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read the manifest of a store.

    Raises:
        ReidError: There is no store, it is damaged or of another version.
    """
    if not folder.is_dir():
        raise ReidError(f"{folder}: no such store; make it with: reid pack")
    try:
        manifest = read_object(folder / FILE)
        version = manifest["format"]
    except DAMAGED:
        raise ReidError(
            f"{folder}: not a store of reid-core: {FILE} is missing or broken"
        ) from None
    if version != FORMAT:
        raise ReidError(
            f"{folder}: store of format {version}, this version reads format {FORMAT}; "
            "pack the dataset again"
        )
    try:
        check_signed(manifest)
        for name, kind in _TYPES.items():
            if not isinstance(manifest.get(name), kind):
                raise ValueError(f"'{name}' is missing or wrong")
        _ = manifest["source"]["name"]
    except DAMAGED as error:
        raise ReidError(
            f"{folder}: {FILE} is damaged ({error}); copy the store again or pack the dataset again"
        ) from None
    return manifest

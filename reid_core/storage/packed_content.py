"""What goes into a store: the bytes of one image, the index of all, and the hash over both."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from reid_core.boundary import Origin
from reid_core.contracts import UNKNOWN_CAMERA, ImageRecord, Listing
from reid_core.errors import ReidError
from reid_core.storage.decoding import decode
from reid_core.storage.extras import extra_problem
from reid_core.storage.image_file import record_key
from reid_core.storage.store import Index


@dataclass(frozen=True)
class Content:
    """All bytes of one image: of the picture, and of its extras in the order of their names."""

    label: str
    picture: bytes
    extras: Mapping[str, bytes]

    @property
    def size(self) -> int:
        """Return the bytes in all."""
        return len(self.picture) + sum(map(len, self.extras.values()))

    def problems(self, kinds: Mapping[str, str], name: str) -> list[str]:
        """Return what cannot be decoded, a line each that begins with a name of the image.

        Args:
            kinds: What the extras are.
            name: Of the image.
        """
        try:
            size = decode(self.picture, name).size
        except ReidError as error:
            return [str(error)]
        found = [
            extra_problem(data, kinds[extra], size, f"{name}: its '{extra}'")
            for extra, data in self.extras.items()
        ]
        return [problem for problem in found if problem]

    def add_to(self, digest: Any) -> None:
        """Add the content to a content hash; its lengths keep neighbours apart."""
        lengths = {name: len(data) for name, data in self.extras.items()}
        digest.update(repr((self.label, len(self.picture), lengths)).encode())
        for data in (self.picture, *self.extras.values()):
            digest.update(data)

    def records(self, position: int) -> list[tuple[bytes, bytes]]:
        """Return what goes into the LMDB."""
        beside = [(record_key(position, name), data) for name, data in self.extras.items()]
        return [(record_key(position), self.picture), *beside]


def read_record(
    record: ImageRecord, listing: Listing, origin: Origin | None
) -> tuple[Content | None, list[str]]:
    """Return the bytes of an image, or None, and what is wrong with them."""
    parts: dict[str, bytes] = {}
    problems = []
    for name, source in {"": record.source, **record.extras}.items():
        what = f"{record.name}: its '{name}'" if name else record.name
        data = _read(source, origin, f"for image '{record.name}'")
        if isinstance(data, bytes):
            parts[name] = data
        elif isinstance(data, OSError):
            problems.append(f"{what}: {data.strerror or data}")
        else:
            problems.append(f"{what}: its function gave a {type(data).__name__}; expected bytes")
    if problems:
        return None, problems
    extras = {name: parts[name] for name in sorted(record.extras)}
    content = Content(f"{record.split}/{record.name}", parts[""], extras)
    return content, content.problems(listing.extras, record.name)


def _read(source: Path | Callable[[], bytes], origin: Origin | None, place: str) -> Any:
    """Return the bytes of a file or of a plugin's function, or why they cannot be read."""
    with origin.calling(place) if origin else contextlib.nullcontext():
        try:
            return source.read_bytes() if isinstance(source, Path) else source()
        except OSError as error:
            return error


def index_of(listing: Listing) -> Index:
    """Return the index of all images of a listing."""
    records = listing.records
    columns = sorted({name for record in records for name in record.columns})
    return Index(
        name=np.array([r.name for r in records], dtype=np.str_),
        split=np.array([r.split for r in records], dtype=np.str_),
        pid=np.array([r.pid or "" for r in records], dtype=np.str_),
        camid=np.array([r.camid for r in records], dtype=np.int64),
        junk=np.array([r.junk for r in records], dtype=bool),
        distractor=np.array([r.distractor for r in records], dtype=bool),
        columns={name: _column(records, name) for name in columns},
        extras={
            name: np.array([name in r.extras for r in records], dtype=bool)
            for name in sorted(listing.extras)
        },
    )


def _column(records: list[ImageRecord], name: str) -> np.ndarray:
    """Return a column of all images; where it is left out, its value is unknown."""
    given = next(record.columns[name] for record in records if name in record.columns)
    unknown, dtype = ("", np.str_) if isinstance(given, str) else (UNKNOWN_CAMERA, np.int64)
    return np.array([record.columns.get(name, unknown) for record in records], dtype=dtype)


def new_digest(extra_kinds: Mapping[str, str]) -> Any:
    """Begin a content hash of images with these extras."""
    return hashlib.sha256(repr(sorted(extra_kinds.items())).encode())


def add_index(digest: Any, index: Index) -> None:
    """Add what the index says of every image to a content hash."""
    arrays = index.arrays()
    digest.update(repr(list(arrays)).encode())
    for row in zip(*(array.tolist() for array in arrays.values()), strict=True):
        digest.update(repr(row).encode())

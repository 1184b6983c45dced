"""The image store: an LMDB of encoded images, an index of arrays and a manifest.

A store is a directory with ``images.lmdb`` (key: 8-byte big-endian record number, value: the
image file's bytes as they came; an extra of the image has its name behind the number),
``index.npz`` (arrays, no pickle) and ``manifest.json``. Each of them is checked when it is read:
the manifest has a checksum of itself, of the index, and of the pages that LMDB follows; the index
has one of every record.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from reid_core.array_file import arrays_of
from reid_core.checksums import bytes_checksum, short_digest
from reid_core.errors import ReidError, counted, name_list
from reid_core.files import DAMAGED
from reid_core.storage.decoding import decode
from reid_core.storage.extras import decode_extra
from reid_core.storage.image_file import ImageFile, record_key
from reid_core.storage.manifest import read_manifest

FACTS = ("name", "split", "pid", "camid", "junk", "distractor")
"""What an index says of every image of every dataset."""

COLUMN, EXTRA, DIGEST = "column.", "extra.", "digest."
"""Beginnings of the names of further arrays in ``index.npz``."""

KINDS = {
    **{"name": "U", "split": "U", "pid": "U", "camid": "i", "junk": "b", "distractor": "b"},
    **{COLUMN: "iU", EXTRA: "b", DIGEST: "u"},
}
"""Kinds of numpy's types of the arrays in ``index.npz``, by name or its beginning."""

PAGES = "pages"
"""The array in ``index.npz`` that is not of images: the pages of the LMDB with a checksum."""


@dataclass(frozen=True)
class Index:
    """What is known of N images without reading them; one array entry per image.

    Attributes:
        name: Path relative to the dataset's root.
        split: ``train``, ``val``, ``query``, ``gallery``, ``multi_query`` or ``extra``.
        pid: Identity as the dataset spells it; ``""``: not known.
        camid: int64, -1 unknown.
        junk: bool, never counted.
        distractor: bool, never a right answer.
        columns: Further facts by name, int64 or strings; -1 and ``""`` unknown.
        extras: By name, bool: which images have this extra.
        digests: uint64, of the bytes of each extra by its name, 0 where there is none; of the
            picture under ``""``. Not of a listing that is not packed.
    """

    name: np.ndarray
    split: np.ndarray
    pid: np.ndarray
    camid: np.ndarray
    junk: np.ndarray
    distractor: np.ndarray
    columns: Mapping[str, np.ndarray] = field(default_factory=dict)
    extras: Mapping[str, np.ndarray] = field(default_factory=dict)
    digests: Mapping[str, np.ndarray] = field(default_factory=dict)

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Index:
        """Make an index of the arrays that ``arrays`` has returned.

        Raises:
            KeyError: One is missing.
            ValueError: They are of different lengths, or one is of another type.
        """
        found = {name: arrays[name] for name in arrays}
        for name, array in found.items():
            kinds = KINDS.get(name) or KINDS.get(f"{name.partition('.')[0]}.", "")
            if array.ndim != 1 or array.dtype.kind not in kinds:
                raise ValueError(f"'{name}' is {array.dtype} of shape {array.shape}")
        if len({len(array) for array in found.values()}) > 1:
            raise ValueError("its arrays are of different lengths")
        facts: dict[str, Any] = {name: found[name] for name in FACTS}
        return cls(
            **facts,
            columns=_below(COLUMN, found),
            extras=_below(EXTRA, found),
            digests=_below(DIGEST, found),
        )

    @property
    def digest(self) -> np.ndarray:
        """Return a number for the bytes of each picture, uint64: equal numbers, equal files."""
        return self.digests[""]

    def arrays(self) -> dict[str, np.ndarray]:
        """Return every fact by its name in ``index.npz``, always in one order; no digests."""
        facts = {name: getattr(self, name) for name in FACTS}
        columns = {COLUMN + name: self.columns[name] for name in sorted(self.columns)}
        extras = {EXTRA + name: self.extras[name] for name in sorted(self.extras)}
        return {**facts, **columns, **extras}

    def __len__(self) -> int:
        """Return N."""
        return len(self.name)

    def positions(self, split: str) -> np.ndarray:
        """Return the record numbers of a split, int64, in the order of the store."""
        return np.flatnonzero(self.split == split)

    def statistics(self) -> dict[str, dict[str, int]]:
        """Return per split the numbers of images, identities, cameras, junk, distractors.

        Junk and distractors are images, and are not counted as identities. Of the others, those
        without identity are ``"unidentified"``, and those without a camera, in a dataset where some
        image has one, ``"without camera"``.
        """
        result = {}
        has_cameras = bool((self.camid >= 0).any())
        for split in dict.fromkeys(self.split.tolist()):
            at = self.positions(split)
            real = at[~(self.junk[at] | self.distractor[at])]
            known = self.pid[real] != ""
            result[split] = {
                "images": len(at),
                "identities": len(np.unique(self.pid[real][known])),
                "unidentified": int((~known).sum()),
                "cameras": len(np.unique(self.camid[at][self.camid[at] >= 0])),
                "without camera": int((self.camid[real] < 0).sum()) if has_cameras else 0,
                "junk": int(self.junk[at].sum()),
                "distractors": int(self.distractor[at].sum()),
            }
        return result


class Store:
    """A packed dataset, opened read-only; safe to hand to other processes.

    Attributes:
        path: The store's directory.
        index: Facts about every image.
        manifest: Format version, dataset, statistics, content hash.
    """

    def __init__(self, path: Path) -> None:
        """Open a store.

        Raises:
            ReidError: There is no store, it is damaged or of another version.
        """
        self.path = path
        self.manifest = read_manifest(path)
        self.index, pages = _read_index(path, self.manifest)
        self._images = ImageFile(path, self.manifest["lmdb_bytes"])
        self._images.check_pages(
            self.manifest["page_bytes"], pages, self.manifest["pages_checksum"]
        )

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.index)

    def read(self, position: int, extra: str = "") -> bytes:
        """Return the encoded bytes of one image, or of one of its extras.

        Raises:
            ReidError: The record is missing or damaged, or the store has vanished.
        """
        value = self._images.get(record_key(position, extra))
        if value is not None and short_digest(value) == self.index.digests[extra][position]:
            return value
        what = f"'{extra}' of record {position}" if extra else f"record {position}"
        if value is None:
            raise ReidError(f"{self.path}: {what} is missing; pack the dataset again")
        raise ReidError(
            f"{self.path}: {what} ('{self.label(position)}') is damaged: its checksum differs from "
            "what was packed; copy the store again or pack the dataset again"
        )

    def image(self, position: int) -> Image.Image:
        """Return one image as RGB.

        Raises:
            ReidError: The bytes are no image; the message names the image and the store.
        """
        data = self.read(position)
        try:
            name = self.index.name[position]
            return decode(data, f"{self.path}: image '{name}' cannot be decoded")
        except ReidError as error:
            raise _undecodable(error) from error

    def extra(self, position: int, name: str) -> Image.Image | str:
        """Return what is packed beside one image: a mask of mode ``L``, or a text.

        Raises:
            ReidError: The image has no such extra, or it cannot be decoded; the message names
                both.
        """
        there = [extra for extra, has in self.index.extras.items() if has[position]]
        image = self.index.name[position]
        if name not in there:
            raise ReidError(
                f"{self.path}: image '{image}' has no '{name}' beside it (it has: "
                f"{name_list(there)}); leave out what reads it, or pack data that have it"
            )
        data, what = self.read(position, name), f"{self.path}: '{name}' of image '{image}'"
        try:
            return decode_extra(data, self.extra_kinds[name], what)
        except ReidError as error:
            raise _undecodable(error) from error

    def label(self, position: int) -> str:
        """Return ``split/name`` of an image."""
        return f"{self.index.split[position]}/{self.index.name[position]}"

    @property
    def extra_kinds(self) -> dict[str, str]:
        """Return what the extras are, by name: ``"mask"`` or ``"text"``."""
        return dict(self.manifest["extras"])

    @property
    def content_hash(self) -> str:
        """Return the SHA-256 of all that was packed, in hexadecimal digits."""
        return str(self.manifest["content_hash"])

    def close(self) -> None:
        """Let go of the open file; the next read opens it again."""
        self._images.close()


def _undecodable(error: ReidError) -> ReidError:
    """Return the error of a packed image with what to do about it."""
    return ReidError(f"{error}; run reid pack --verify, and pack the dataset again")


def _read_index(path: Path, manifest: dict[str, Any]) -> tuple[Index, np.ndarray]:
    """Return the index and the numbers of the pages of the LMDB that have a checksum."""
    try:
        content = (path / "index.npz").read_bytes()
        if bytes_checksum(content) != manifest["index_checksum"]:
            raise ValueError("its checksum differs from the one in manifest.json")
        arrays = arrays_of(io.BytesIO(content))
        pages = arrays.pop(PAGES)
        if pages.ndim != 1 or pages.dtype != np.int64:
            raise ValueError(f"'{PAGES}' is {pages.dtype} of shape {pages.shape}")
        index = Index.of_arrays(arrays)
        if index.digests.keys() != {"", *index.extras}:
            raise ValueError("a checksum is missing")
    except DAMAGED as error:
        raise ReidError(
            f"{path}: index.npz is missing or damaged ({error}); pack the dataset again"
        ) from None
    if len(index) != manifest["images"]:
        raise ReidError(
            f"{path}: index.npz has {counted(len(index), 'image')}, manifest.json "
            f"{manifest['images']}; "
            "pack the dataset again"
        )
    return index, pages


def _below(beginning: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the arrays whose names begin so, by the rest of their names."""
    return {n.removeprefix(beginning): a for n, a in arrays.items() if n.startswith(beginning)}

"""The image store: an LMDB of encoded images, an index of arrays and a manifest.

A store is a directory with ``images.lmdb`` (key: 8-byte big-endian record number, value: the
image file's bytes as they came; an extra of the image has its name behind the number),
``index.npz`` (arrays, no pickle) and ``manifest.json``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import lmdb
import numpy as np
from PIL import Image

from reid_core.errors import ReidError, name_list
from reid_core.files import DAMAGED
from reid_core.storage.decoding import decode
from reid_core.storage.extras import decode_extra

FORMAT = 2
"""Version of the store's layout; another version is refused."""

_environments: WeakValueDictionary[tuple[int, str], lmdb.Environment] = WeakValueDictionary()
"""Open files by (process, path). The one global of the core: LMDB itself allows a process one
environment per file, so stores of one path must share it."""


FACTS = ("name", "split", "pid", "camid", "junk", "distractor")
"""What an index says of every image of every dataset."""

COLUMN, EXTRA = "column.", "extra."
"""Beginnings of the names of further arrays in ``index.npz``."""


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
    """

    name: np.ndarray
    split: np.ndarray
    pid: np.ndarray
    camid: np.ndarray
    junk: np.ndarray
    distractor: np.ndarray
    columns: Mapping[str, np.ndarray] = field(default_factory=dict)
    extras: Mapping[str, np.ndarray] = field(default_factory=dict)

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Index:
        """Make an index of the arrays that ``arrays`` has returned.

        Raises:
            KeyError: One is missing.
            ValueError: They are of different lengths.
        """
        found = {name: arrays[name] for name in arrays}
        if len({len(array) for array in found.values()}) > 1:
            raise ValueError("its arrays are of different lengths")
        facts: dict[str, Any] = {name: found[name] for name in FACTS}
        return cls(**facts, columns=_below(COLUMN, found), extras=_below(EXTRA, found))

    def arrays(self) -> dict[str, np.ndarray]:
        """Return every array by its name in ``index.npz``, always in one order."""
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
        without identity are ``"unidentified"``.
        """
        result = {}
        for split in dict.fromkeys(self.split.tolist()):
            at = self.positions(split)
            real = at[~(self.junk[at] | self.distractor[at])]
            known = self.pid[real] != ""
            result[split] = {
                "images": len(at),
                "identities": len(np.unique(self.pid[real][known])),
                "unidentified": int((~known).sum()),
                "cameras": len(np.unique(self.camid[at][self.camid[at] >= 0])),
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
        self.manifest = _read_manifest(path)
        self.index = _read_index(path, self.manifest)
        _check_size(path, self.manifest)
        self._environment: lmdb.Environment | None = None
        self._process = -1

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.index)

    def __getstate__(self) -> dict[str, Any]:
        """Leave the open environment behind: every process opens its own."""
        return {**self.__dict__, "_environment": None, "_process": -1}

    def read(self, position: int, extra: str = "") -> bytes:
        """Return the encoded bytes of one image, or of one of its extras.

        Raises:
            ReidError: The record is missing: the store is damaged.
        """
        try:
            # An environment must not be used across a fork.
            if self._environment is None or self._process != os.getpid():
                self._environment = open_images(self.path)
                self._process = os.getpid()
            with self._environment.begin(buffers=False) as transaction:
                value = transaction.get(record_key(position, extra))
        except lmdb.Error as error:
            raise ReidError(
                f"{self.path}: images.lmdb is damaged ({error}); pack the dataset again"
            ) from None
        if value is None:
            what = f"'{extra}' of record {position}" if extra else f"record {position}"
            raise ReidError(f"{self.path}: {what} is missing; pack the dataset again")
        return bytes(value)

    def image(self, position: int) -> Image.Image:
        """Return one image as RGB.

        Raises:
            ReidError: The bytes are no image; the message names the image and the store.
        """
        data = self.read(position)
        try:
            return decode(data, f"{self.path}: image '{self.index.name[position]}'")
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
        self._environment = None


def _undecodable(error: ReidError) -> ReidError:
    """Return the error of a packed image with what to do about it."""
    return ReidError(f"{error}; run reid pack --verify, and pack the dataset again")


def record_key(position: int, extra: str = "") -> bytes:
    """Return the LMDB key of an image by its record number, or of one of its extras."""
    return position.to_bytes(8, "big") + extra.encode()


def open_images(path: Path) -> lmdb.Environment:
    """Open a store's LMDB read-only, without a lock: a finished store never changes."""
    place, process = os.path.realpath(path / "images.lmdb"), os.getpid()
    environment = _environments.get((process, place))
    if environment is None:
        for (owner, opened), inherited in list(_environments.items()):
            if opened == place and owner != process:
                inherited.close()  # a fork has brought it along
        environment = lmdb.open(place, readonly=True, lock=False, readahead=False, create=False)
        _environments[process, place] = environment
    return environment


def _read_manifest(path: Path) -> dict[str, Any]:
    if not path.is_dir():
        raise ReidError(f"{path}: no such store; make it with: reid pack")
    try:
        manifest = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
        version = manifest["format"]
        if version == FORMAT:
            _ = manifest["source"]["name"], manifest["content_hash"], manifest["lmdb_bytes"]
            _ = dict(manifest["extras"])
    except (OSError, ValueError, KeyError, TypeError):
        raise ReidError(
            f"{path}: not a store of reid-core: manifest.json is missing or broken"
        ) from None
    if version != FORMAT:
        raise ReidError(
            f"{path}: store of format {version}, this version reads format {FORMAT}; "
            "pack the dataset again"
        )
    return dict(manifest)


def _read_index(path: Path, manifest: dict[str, Any]) -> Index:
    try:
        with (path / "index.npz").open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            index = Index.of_arrays(arrays)
    except DAMAGED as error:
        raise ReidError(
            f"{path}: index.npz is missing or damaged ({error}); pack the dataset again"
        ) from None
    if len(index) != manifest.get("images"):
        raise ReidError(
            f"{path}: index.npz has {len(index)} images, manifest.json {manifest.get('images')}; "
            "pack the dataset again"
        )
    return index


def _below(beginning: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the arrays whose names begin so, by the rest of their names."""
    return {n.removeprefix(beginning): a for n, a in arrays.items() if n.startswith(beginning)}


def _check_size(path: Path, manifest: dict[str, Any]) -> None:
    """Refuse a half-copied LMDB, which would end the process when it is read."""
    file = path / "images.lmdb" / "data.mdb"
    size = file.stat().st_size if file.is_file() else 0
    if size != manifest["lmdb_bytes"]:
        raise ReidError(
            f"{path}: images.lmdb has {size} bytes instead of {manifest['lmdb_bytes']}; "
            "copy it again or pack the dataset again"
        )

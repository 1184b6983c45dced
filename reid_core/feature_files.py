"""Features as files: one documented npz per split, without pickled objects."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from reid_core.contracts import UNKNOWN_CAMERA, Features
from reid_core.errors import ReidError, name_list
from reid_core.files import atomic_path
from reid_core.store import DAMAGED

ROW_NUMBERS = "row numbers"
"""``meta["names"]`` of a file without names: it gets names that tell its own images apart and
say nothing of an image in another file."""

VALUES = "values."
MATRICES = ("embedding", "feature", "logits")
"""Values that are ``(N, D)``; the others have N rows of any shape."""


def save_features(path: Path, features: Features) -> None:
    """Write features as one npz file without pickled objects; see ``load_features``."""
    arrays = {f"{VALUES}{name}": array for name, array in features.values.items()}
    arrays |= {
        "pids": features.pids.astype(np.str_),
        "camids": features.camids,
        "names": features.names.astype(np.str_),
        "junk": features.junk,
        "distractor": features.distractor,
        "classes": np.array(features.classes, dtype=np.str_),
        "meta": np.array(json.dumps(dict(features.meta))),
    }
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def load_features(path: Path) -> Features:
    """Read features written by ``save_features``, or by another program in the same form.

    ``pids`` and one of ``values.embedding``, ``values.feature``, ``values.logits`` and
    ``values.aux.<name>`` are required; what else is missing takes its neutral value (cameras
    unknown, nothing junk). Missing names are made of the file's path and the row, and
    ``meta["names"]`` says so.

    Raises:
        ReidError: The file is missing, is no npz, holds pickled objects, or an array has a
            type, a shape or a value that it cannot have.
    """
    arrays = _read_arrays(path)
    meta = _meta(path, arrays["meta"]) if "meta" in arrays else {"file": str(path)}
    if "names" not in arrays:
        meta["names"] = ROW_NUMBERS
    try:
        if "pids" not in arrays:
            raise ValueError(f"'pids' is missing (found: {name_list(arrays)})")
        pids = _column("pids", arrays["pids"], _strings)
        count = len(pids)
        neutral = {
            "camids": np.full(count, UNKNOWN_CAMERA),
            "names": np.array([f"{path}:{row}" for row in range(count)], dtype=np.str_),
            "junk": np.zeros(count, dtype=bool),
            "distractor": np.zeros(count, dtype=bool),
        }
        columns = {
            name: _column(name, arrays.get(name, neutral[name]), convert, count)
            for name, convert in _CONVERTED.items()
        }
        values = {
            name: _column(name, array, _matrix if name in MATRICES else _floats, count)
            for name, array in _values_of(arrays).items()
        }
        if not values:
            raise ValueError(f"'{VALUES}embedding' is missing (found: {name_list(arrays)})")
        classes = _column("classes", arrays["classes"], _strings) if "classes" in arrays else ()
    except ValueError as error:
        raise ReidError(f"{path}: {error}") from None
    return Features(
        values=values, pids=pids, classes=tuple(map(str, classes)), meta=meta, **columns
    )


# ---- reading ----------------------------------------------------------------------------


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of an npz file; if it is none, the error says what it is."""
    refused = f"{path}: not a features file of reid-core"
    how = "make it with the evaluator's output_dir, or with numpy.savez"
    try:
        with path.open("rb") as file:
            start = file.read(6)
            if start == b"\x93NUMPY":
                raise ReidError(f"{refused}: it holds a single array (npy); {how}")
            if not (start.startswith(b"PK") and zipfile.is_zipfile(file)):
                raise ReidError(f"{refused}: it is no npz file, or was cut off; {how}")
            file.seek(0)
            with np.load(file, allow_pickle=False) as content:
                arrays = {name: content[name] for name in content.files}
    except FileNotFoundError:
        raise ReidError(f"{refused}: there is no such file") from None
    except OSError as error:
        raise ReidError(f"{refused}: it cannot be read: {error.strerror or error}") from None
    except (*DAMAGED, RuntimeError) as error:  # RuntimeError: an encrypted zip file
        if "allow_pickle" in str(error):
            raise ReidError(
                f"{refused}: it holds pickled objects, which could run any program; save arrays "
                "of numbers and of strings (numpy.array(names, dtype=str)) only"
            ) from None
        raise ReidError(f"{refused}: it is damaged: {error}") from None
    if strange := [name for name, array in arrays.items() if not isinstance(array, np.ndarray)]:
        raise ReidError(f"{refused}: '{strange[0]}' in it is no array; {how}")
    return arrays


def _meta(path: Path, array: np.ndarray) -> dict[str, Any]:
    """Return the JSON object that ``meta`` holds as text; it will be JSON again on the card."""
    try:
        meta = json.loads(str(array))
        json.dumps(meta, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):
        meta = None
    if not isinstance(meta, dict):
        raise ReidError(f"{path}: 'meta' must be the text of a JSON object; use json.dumps")
    return meta


def _values_of(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {n.removeprefix(VALUES): a for n, a in arrays.items() if n.startswith(VALUES)}


# ---- one array --------------------------------------------------------------------------


def _column(
    name: str,
    array: np.ndarray,
    convert: Callable[[np.ndarray], np.ndarray],
    count: int | None = None,
) -> np.ndarray:
    """Return an array with one row per image as the type that it must have.

    Raises:
        ValueError: It has another shape or length, or values of another type.
    """
    if array.ndim == 0:
        raise ValueError(f"'{name}' must have one row per image, got a single value")
    if count is not None and len(array) != count:
        raise ValueError(f"'{name}' has {len(array)} rows, 'pids' has {count}")
    try:
        return convert(array)
    except ValueError as error:
        raise ValueError(f"'{name}' {error}, got {array.dtype} of shape {array.shape}") from None


def _strings(array: np.ndarray) -> np.ndarray:
    if array.ndim != 1 or array.dtype.kind not in "USiu":
        raise ValueError("must be (N,) strings")
    try:
        return array.astype(np.str_)
    except UnicodeDecodeError:
        raise ValueError("must be (N,) strings, not bytes beyond ASCII") from None


def _integers(array: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):  # what is no int64 differs afterwards
        whole = array.astype(np.int64) if array.dtype.kind in "iuf" else None
    if array.ndim != 1 or whole is None or not np.array_equal(whole, array):
        raise ValueError(f"must be (N,) whole numbers ({UNKNOWN_CAMERA}: not known)")
    return whole


def _flags(array: np.ndarray) -> np.ndarray:
    if array.ndim != 1 or array.dtype.kind not in "biu" or not np.isin(array, (0, 1)).all():
        raise ValueError("must be (N,) true or false (or 0 and 1)")
    return array.astype(np.bool_)


def _floats(array: np.ndarray) -> np.ndarray:
    if array.dtype.kind != "f":
        raise ValueError("must be floats")
    return array


def _matrix(array: np.ndarray) -> np.ndarray:
    if array.ndim != 2:
        raise ValueError("must be (N, D) floats")
    return _floats(array)


_CONVERTED: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "camids": _integers,
    "names": _strings,
    "junk": _flags,
    "distractor": _flags,
}
"""Columns beside ``pids``, and what makes them the type of ``Features``."""

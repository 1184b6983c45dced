"""Features as files without pickled objects; docs/features.md has the table of their arrays."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from reid_core.contracts import CAMID, UNKNOWN_CAMERA, Features
from reid_core.errors import ReidError, did_you_mean, name_list
from reid_core.features.formats import Arrays, format_of, read_arrays, write_arrays

MADE_UP = {"names": "row numbers"}
"""What ``meta`` says in a file whose names are made up."""

VALUES, COLUMNS = "values.", "columns."
MATRICES = ("embedding", "feature", "logits")
"""Values that are ``(N, D)``; the others have N rows of any shape."""


def save_features(path: Path, features: Features) -> None:
    """Write features in the format of the path's ending; see ``load_features``.

    Raises:
        ReidError: The ending is neither npz nor safetensors, or the disk is full.
    """
    arrays = {f"{VALUES}{name}": array for name, array in features.values.items()}
    arrays |= {f"{COLUMNS}{n}": array for n, array in features.columns.items() if n != CAMID}
    arrays |= {
        "pids": features.pids.astype(np.str_),
        "camids": features.camids,
        "names": features.names.astype(np.str_),
        "junk": features.junk,
        "distractor": features.distractor,
        "classes": np.array(features.classes, dtype=np.str_),
        "meta": np.array(
            json.dumps({**features.meta, **(MADE_UP if features.names_are_made_up else {})})
        ),
    }
    write_arrays(path, arrays)


def load_features(path: Path, split: str) -> Features:
    """Read features written by ``save_features``, or by another program in the same form.

    ``pids`` and one of ``values.embedding``, ``values.feature``, ``values.logits`` and
    ``values.aux.<name>`` are required; what else is missing takes its neutral value (cameras
    unknown, nothing junk, no ``columns.<name>``). Missing names are made of the file's path and the
    row, and ``names_are_made_up`` says so; in a file that these are saved to, ``names`` of ``meta``
    does.

    Args:
        path: The file; its ending says the format.
        split: What the images are; a file of one split does not need it.

    Raises:
        ReidError: The file is missing, is not what its ending says, holds pickled objects, an
            array that features do not have, or one with a type, a shape or a value that it
            cannot have.
    """
    arrays = read_arrays(path, split)
    # Two splits of one file are different images, so their names must differ too.
    place = f"{path}:{split}" if format_of(path).many_splits else str(path)
    try:
        return _features(arrays, {"file": str(path)}, place)
    except ValueError as error:
        raise ReidError(f"{path}: {error}") from None


# ---- all arrays -------------------------------------------------------------------------


def _features(arrays: Arrays, meta: dict[str, Any], place: str) -> Features:
    """Check the arrays and fill in what is missing.

    Args:
        arrays: As read.
        meta: Facts for the card, if the arrays have none.
        place: What made-up names begin with.

    Raises:
        ValueError: An array is missing, unknown or wrong; the text names it.
    """
    _check_names(arrays)
    pids = _column("pids", arrays["pids"], _strings)
    neutral = {
        "camids": np.full(len(pids), UNKNOWN_CAMERA),
        "names": np.array([f"{place}:{row}" for row in range(len(pids))], dtype=np.str_),
        "junk": np.zeros(len(pids), dtype=bool),
        "distractor": np.zeros(len(pids), dtype=bool),
        "classes": np.array([], dtype=np.str_),
    }
    columns = {
        name: _column(name, arrays.get(name, neutral[name]), convert, len(pids))
        for name, convert in _CONVERTED.items()
    }
    values = {
        name: _column(f"{VALUES}{name}", array, _matrix if name in MATRICES else _floats, len(pids))
        for name, array in _named(arrays, VALUES).items()
    }
    facts = {
        name: _column(f"{COLUMNS}{name}", array, _integers_or_strings, len(pids))
        for name, array in _named(arrays, COLUMNS).items()
    }
    if not values:
        raise ValueError(f"'{VALUES}embedding' is missing (found: {name_list(arrays)})")
    classes = _column("classes", arrays.get("classes", neutral["classes"]), _strings)
    meta = _meta(arrays["meta"]) if "meta" in arrays else meta
    made_up = "names" not in arrays or meta.items() >= MADE_UP.items()
    return Features(
        values=values,
        pids=pids,
        classes=tuple(map(str, classes)),
        meta={name: fact for name, fact in meta.items() if not (made_up and name in MADE_UP)},
        names_are_made_up=made_up,
        columns=facts,
        **columns,  # type: ignore[arg-type]
    )


def _check_names(arrays: Arrays) -> None:
    """Refuse arrays without labels, and a name that would silently be left unread."""
    known = ["pids", *_CONVERTED, "classes", "meta", *(f"{VALUES}{name}" for name in MATRICES)]
    for name in arrays:
        if name == f"{COLUMNS}{CAMID}":
            raise ValueError(f"'{name}' is no array of a features file: save it as 'camids'")
        if name not in known and not name.startswith((f"{VALUES}aux.", COLUMNS)):
            raise ValueError(
                f"'{name}' is no array of a features file{did_you_mean(name, known)} (known: "
                f"{', '.join(known)}, {VALUES}aux.<name>, {COLUMNS}<name>)"
            )
    if "pids" not in arrays:
        raise ValueError(f"'pids' is missing (found: {name_list(arrays)})")


def _named(arrays: Arrays, prefix: str) -> Arrays:
    """Return the arrays whose names begin with a prefix, without it."""
    return {n.removeprefix(prefix): a for n, a in arrays.items() if n.startswith(prefix)}


def _meta(array: np.ndarray) -> dict[str, Any]:
    """Return the JSON object that ``meta`` holds as text; it will be JSON again on the card."""
    try:
        meta = json.loads(str(array))
        json.dumps(meta, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):
        meta = None
    if not isinstance(meta, dict):
        raise ValueError("'meta' must be the text of a JSON object; use json.dumps")
    return meta


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


def _integers_or_strings(array: np.ndarray) -> np.ndarray:
    if array.dtype.kind in "US":
        return _strings(array)
    try:
        return _integers(array)
    except ValueError:
        raise ValueError("must be (N,) whole numbers or strings") from None


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

"""Features files as named arrays: npz, safetensors, and the MATLAB files of Person_reID_baseline.

What the arrays mean is in ``feature_files``; here they are only read and written.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from reid_core.array_file import NotAnArray, arrays_of
from reid_core.checksums import KEY as CHECKSUM
from reid_core.checksums import TENSORS_KEY, arrays_checksum, check_signed, signed
from reid_core.errors import ReidError, name_list
from reid_core.features.mat_format import arrays_of_split
from reid_core.files import DAMAGED, atomic_path
from reid_core.mat_file import read_variables

Arrays = dict[str, np.ndarray]

KEY = "reid_core"
"""The metadata key of a safetensors file whose value is the JSON object of all strings."""

SIGNED = frozenset({CHECKSUM, TENSORS_KEY})
"""Names in the JSON object of a file of ours that are no arrays."""

TENSOR_TYPES = frozenset(
    {"BOOL", "F16", "F32", "F64", *(f"{sign}{bits}" for sign in "IU" for bits in (8, 16, 32, 64))}
)
"""Types of safetensors that numpy has too."""

LONGEST_HEADER = 100_000_000
"""Bytes of names and strings that safetensors reads; it writes more."""

MAKE = "make it with the evaluator's output_dir, or as docs/features.md shows"


class _Refused(ValueError):
    """A file is no features file, or cannot become one; the text says why."""


@dataclass(frozen=True)
class Format:
    """How features lie in a file.

    Attributes:
        read: Returns the arrays of a split from the open file.
        write: Writes arrays to a path; None if the format is only read.
        many_splits: A file holds several splits, whose images are not the same.
    """

    read: Callable[[BinaryIO, str], Arrays]
    write: Callable[[Path, Arrays], None] | None = None
    many_splits: bool = False


def format_of(path: Path) -> Format:
    """Return the format that the file's ending stands for.

    Raises:
        ReidError: It stands for none.
    """
    if path.suffix.lower() not in FORMATS:
        raise ReidError(
            f"{path}: features are read from files that end in {', '.join(FORMATS)}; rename it if "
            "it is one of these"
        )
    return FORMATS[path.suffix.lower()]


def read_arrays(path: Path, split: str) -> Arrays:
    """Return the named arrays of a split; nothing is known of them yet but that they are arrays.

    Raises:
        ReidError: The file is missing, is not what its ending says, or holds pickled objects.
    """
    chosen = format_of(path)
    try:
        with path.open("rb") as file:
            return chosen.read(file, split)
    except _Refused as error:
        why = str(error)
    except FileNotFoundError:
        why = "there is no such file"
    except OSError as error:
        why = f"it cannot be read: {error.strerror or error}"
    except (*DAMAGED, SafetensorError) as error:
        why = f"it is damaged: {error}"
    raise ReidError(f"{path}: not a features file of reid-core: {why}")


def write_arrays(path: Path, arrays: Arrays) -> None:
    """Write named arrays, whole or not at all.

    Raises:
        ReidError: The ending stands for no format that is written, the format cannot hold the
            arrays, or the disk is full.
    """
    write = format_of(path).write
    if write is None:
        endings = [ending for ending, known in FORMATS.items() if known.write]
        raise ReidError(f"{path}: features are written as {' or '.join(endings)}")
    try:
        with atomic_path(path) as temporary:
            write(temporary, arrays)
    except _Refused as error:
        raise ReidError(f"{path}: {error}") from None


# ---- npz --------------------------------------------------------------------------------


def _read_npz(file: BinaryIO, split: str) -> Arrays:
    start = file.read(6)
    if start == b"\x93NUMPY":
        raise _Refused(f"it holds a single array (npy); {MAKE}")
    if not (start.startswith(b"PK") and zipfile.is_zipfile(file)):
        raise _Refused(f"it is no npz file, or was cut off; {MAKE}")
    try:
        return arrays_of(file)
    except NotAnArray as error:
        raise _Refused(f"{error}; {MAKE}") from None


def _write_npz(path: Path, arrays: Arrays) -> None:
    with path.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


# ---- safetensors ------------------------------------------------------------------------


def _read_safetensors(file: BinaryIO, split: str) -> Arrays:
    with safe_open(file.name, framework="numpy") as content:
        names = list(content.keys())
        types = {name: content.get_slice(name).get_dtype() for name in names}
        if strange := [name for name in names if types[name] not in TENSOR_TYPES]:
            first = strange[0]
            raise _Refused(f"'{first}' in it is of type {types[first]}; save it as float32")
        tensors = {name: content.get_tensor(name) for name in names}
        strings = _strings_of(content.metadata() or {}, tensors)
        if twice := strings.keys() & set(names):
            raise _Refused(f"{name_list(twice)} in it is both a tensor and in the metadata")
        return strings | tensors


def _check_sums(texts: dict[str, Any], tensors: Arrays) -> None:
    """Compare a file of ours with its checksums; one of another program may have none.

    Raises:
        ValueError: They differ.
    """
    if SIGNED & texts.keys():
        check_signed(texts)
        if texts[TENSORS_KEY] != arrays_checksum(tensors):
            raise ValueError("the checksum of its tensors differs")
        for name in SIGNED:
            del texts[name]


def _strings_of(metadata: dict[str, str], tensors: Arrays) -> Arrays:
    """Return the strings that a safetensors file has beside its tensors, as arrays."""
    how = f"metadata '{KEY}' must be the text of a JSON object with lists of strings"
    try:
        texts = json.loads(metadata.get(KEY, "{}"))
    except (ValueError, RecursionError):
        raise _Refused(how) from None
    if not isinstance(texts, dict):
        raise _Refused(how)
    _check_sums(texts, tensors)
    arrays = {"meta": np.array(json.dumps(texts.pop("meta")))} if "meta" in texts else {}
    for name, found in texts.items():
        if not (isinstance(found, list) and all(isinstance(text, str) for text in found)):
            raise _Refused(f"{how}; '{name}' is none")
        arrays[name] = np.array(found, dtype=np.str_)
    return arrays


def _write_safetensors(path: Path, arrays: Arrays) -> None:
    strings = {name: array for name, array in arrays.items() if array.dtype.kind == "U"}
    texts: dict[str, Any] = {name: array.tolist() for name, array in strings.items()}
    texts["meta"] = json.loads(texts["meta"])
    tensors = {
        # The format takes an array's memory as it lies, whatever its strides.
        name: np.ascontiguousarray(
            array, np.float32 if array.dtype.kind == "f" else array.dtype.newbyteorder("<")
        )
        for name, array in arrays.items()
        if name not in strings
    }
    texts[TENSORS_KEY] = arrays_checksum(tensors)
    content = save(tensors, metadata={KEY: json.dumps(signed(texts))})
    if int.from_bytes(content[:8], "little") > LONGEST_HEADER:
        raise _Refused("too many names for safetensors; write npz")
    path.write_bytes(content)


# ---- MATLAB -----------------------------------------------------------------------------


def _read_matlab(file: BinaryIO, split: str) -> Arrays:
    try:
        return arrays_of_split(read_variables(file), split)
    except ValueError as error:
        raise _Refused(str(error)) from None


# ---- table ------------------------------------------------------------------------------

FORMATS = {
    ".npz": Format(_read_npz, _write_npz),
    ".safetensors": Format(_read_safetensors, _write_safetensors),
    ".mat": Format(_read_matlab, many_splits=True),
}
"""Formats by the ending of the file."""

"""The npz files of numpy, read whole and checked before a number of theirs is used.

numpy's own reader stops where it has as many bytes as a member's header asks for, before zipfile
has compared the checksum, so that one wrong bit in the header shifts all numbers in silence.
"""

from __future__ import annotations

import io
import math
import zipfile
from pathlib import Path
from typing import BinaryIO

import numpy as np

from reid_core.errors import ReidError
from reid_core.files import DAMAGED, check_inflated

ENDING = ".npy"
PLAIN_KINDS = "biufcUS"
"""Kinds of numpy's dtypes that a file of ours may hold: numbers and strings, no objects."""

SMALLEST_ENTRY = 30
"""Bytes of a zip file's header before a member: in a smaller gap no member can hide."""

PORTION = 1 << 24
"""Bytes read at a time."""


class NotAnArray(ValueError):
    """A member of the file is whole and yet no array of ours; the text says why."""


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Return every array of an npz file by its name; nothing in the file is run.

    Raises:
        ReidError: The file is missing, damaged, or holds something else than arrays of numbers
            and strings; the text names the file and the member.
    """
    try:
        with path.open("rb") as file:
            return arrays_of(file)
    except FileNotFoundError:
        raise ReidError(f"{path}: there is no such file") from None
    except DAMAGED as error:
        raise ReidError(f"{path}: it is damaged or no npz file: {error}") from None


def arrays_of(file: BinaryIO) -> dict[str, np.ndarray]:
    """Return every array of an open npz file by its name.

    Every byte of every member is read and compared with its checksum; sizes are compared with
    each other before memory is taken for them.

    Raises:
        NotAnArray: A member is whole, but no array of numbers or strings.
        ValueError: It is damaged; the text names the member. Others of ``DAMAGED`` where it is
            no zip file at all.
    """
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        _check_places(archive, file)
        check_inflated(sum(m.file_size for m in members), _size(file))
        names = [member.filename.removesuffix(ENDING) for member in members]
        if len(set(names)) < len(names):
            raise ValueError(f"'{max(names, key=names.count)}' is in it twice")
        return {name: _member(archive, member) for name, member in zip(names, members, strict=True)}


def _size(file: BinaryIO) -> int:
    return file.seek(0, io.SEEK_END)


def _check_places(archive: zipfile.ZipFile, file: BinaryIO) -> None:
    """See that the members follow each other: none is hidden from the list, none overlap.

    Raises:
        ValueError: There is a gap, or an overlap.
    """
    at = 0
    for member in sorted(archive.infolist(), key=lambda m: m.header_offset):
        if not 0 <= member.header_offset - at < SMALLEST_ENTRY:
            raise ValueError(f"'{member.filename}' is not where it should be")
        file.seek(member.header_offset)
        header = file.read(SMALLEST_ENTRY)
        lengths = int.from_bytes(header[26:28], "little"), int.from_bytes(header[28:30], "little")
        at = member.header_offset + SMALLEST_ENTRY + sum(lengths) + member.compress_size
    if not 0 <= archive.start_dir - at < SMALLEST_ENTRY:
        raise ValueError("its list of members is not whole")


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    """Return the array of one member.

    Raises:
        NotAnArray, ValueError: See ``arrays_of``.
    """
    try:
        return _array(_content(archive, member), member.filename)
    except NotAnArray:
        raise
    except DAMAGED as error:
        raise ValueError(f"'{member.filename}' in it is damaged: {error}") from None


def _content(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    """Return all bytes of a member ``(bytes,)`` uint8; zipfile compares the checksum at its end."""
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"method of compression {member.compress_type}")
    content = np.empty(member.file_size, np.uint8)
    at = 0
    with archive.open(member) as stream:
        while part := stream.read(PORTION):
            if at + len(part) > len(content):
                raise ValueError("it is longer than it says")
            content[at : at + len(part)] = np.frombuffer(part, np.uint8)
            at += len(part)
    if at != len(content):
        raise ValueError(f"{at} bytes instead of {len(content)}")
    return content


def _array(content: np.ndarray, name: str) -> np.ndarray:
    """Return the array that a member's bytes are: a header, then its numbers as they lie."""
    start = io.BytesIO(content[: 1 << 16].tobytes())
    if not (name.endswith(ENDING) and start.getvalue().startswith(np.lib.format.MAGIC_PREFIX)):
        raise NotAnArray(f"'{name}' in it is no array")
    version = np.lib.format.read_magic(start)
    read_header = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    if version not in read_header:
        raise ValueError(f"a header of version {version}")
    shape, in_columns, dtype = read_header[version](start)
    if dtype.hasobject:
        raise NotAnArray(
            f"'{name}' in it holds pickled objects, which could run any program; save arrays of "
            "numbers and of strings (numpy.array(names, dtype=str)) only"
        )
    if dtype.kind not in PLAIN_KINDS:
        raise NotAnArray(f"'{name}' in it is of type {dtype}; save numbers or strings")
    numbers = content[start.tell() :]
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != len(numbers):
        raise ValueError(f"{len(numbers)} bytes for {dtype} of shape {shape}")
    if dtype.itemsize == 0:
        return np.zeros(shape, dtype)
    array = numbers.view(dtype).reshape(shape, order="F" if in_columns else "C")
    if dtype.kind == "U" and int(_code_points(numbers, dtype).max(initial=0)) > 0x10FFFF:
        raise ValueError("it holds what is no character")
    return array


def _code_points(numbers: np.ndarray, dtype: np.dtype) -> np.ndarray:
    return numbers.view(np.dtype(np.uint32).newbyteorder(dtype.byteorder))

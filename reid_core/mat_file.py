"""The numeric arrays of a MATLAB level 5 file ("MAT-file Format", The MathWorks, version 7).

Written here because scipy's reader uses types and sizes of the file unchecked: one wrong byte
can end the whole process. Cells, structs, objects, characters, sparse and complex arrays are
seen and not read.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Literal

import numpy as np

from reid_core.files import check_inflated

ByteOrder = Literal["little", "big"]

HEADER = 128
MATRIX, COMPRESSED = 14, 15
"""Data types of the elements that a file is made of."""

STORED = {
    **{1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4"},
    **{9: "f8", 12: "i8", 13: "u8"},
}
"""How numbers may lie in the file, by data type. MATLAB saves whole doubles as small integers."""

CLASSES = {
    **{6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4"},
    **{14: "i8", 15: "u8"},
}
"""What the numbers are to MATLAB, by array class."""

COMPLEX = 0x800


@dataclass(frozen=True)
class Variable:
    """A variable of a MATLAB file; its numbers are not converted yet.

    Attributes:
        flags: Array class in the lowest byte, and flags above.
        shape: Sizes of its dimensions.
        stored: Data type of ``content``, see ``STORED``.
        content: The bytes of its numbers, first dimension fastest.
        order: Byte order of the file.
    """

    flags: int
    shape: tuple[int, ...]
    stored: int
    content: memoryview
    order: ByteOrder

    def array(self) -> np.ndarray:
        """Return the numbers as a new array.

        Raises:
            ValueError: It is no array of real numbers, or is damaged.
        """
        if self.flags & 0xFF not in CLASSES or self.flags & COMPLEX:
            raise ValueError("is no array of real numbers")
        if self.stored not in STORED:
            raise ValueError(f"is damaged: data type {self.stored}")
        stored = np.dtype(STORED[self.stored]).newbyteorder("<" if self.order == "little" else ">")
        if math.prod(self.shape) * stored.itemsize != len(self.content) or min(self.shape) < 0:
            raise ValueError(f"is damaged: {len(self.content)} bytes for shape {self.shape}")
        numbers = np.frombuffer(self.content, stored).astype(CLASSES[self.flags & 0xFF])
        return numbers.reshape(self.shape, order="F")


def read_variables(file: BinaryIO) -> dict[str, Variable]:
    """Return the variables of an open MATLAB file by name.

    Raises:
        ValueError: It is a MATLAB file of another level, no MATLAB file, or damaged; the text
            says which.
    """
    order = _byte_order(file.read(HEADER))
    # Not mapped into memory: a file that is cut meanwhile would end the process.
    content = memoryview(file.read())
    variables: dict[str, Variable] = {}
    inflated = 0
    for kind, element in _elements(content, order):
        if kind == COMPRESSED:
            kind, element = _inflated(element, order, len(content))
            inflated += len(element)
            check_inflated(inflated, len(content))
        if kind != MATRIX:
            raise ValueError(f"it is damaged: an element of type {kind}")
        name, variable = _variable(element, order)
        if name in variables:
            raise ValueError(f"it holds '{name}' twice")
        variables[name] = variable
    return variables


def _inflated(element: memoryview, order: ByteOrder, file_bytes: int) -> tuple[int, memoryview]:
    """Return the data type and the content of a compressed element.

    Its size is known from its first bytes, so that no more is inflated than it declares.

    Raises:
        ValueError: It is damaged, also where only its checksum differs; or it would be absurdly
            large.
    """
    stream = zlib.decompressobj()
    try:
        tag = stream.decompress(element, 8)
        size = int.from_bytes(tag[4:8], order)
        check_inflated(size, file_bytes)
        inflated = tag + stream.decompress(stream.unconsumed_tail, size + 8)
        stream.decompress(stream.unconsumed_tail, 1)  # reads the checksum behind the data
    except (ValueError, zlib.error) as error:
        raise ValueError(f"it is damaged: {error}") from None
    if not stream.eof:
        raise ValueError("it is damaged: a compressed variable is not whole")
    return next(_elements(memoryview(inflated), order), (0, element))


def _byte_order(header: bytes) -> ByteOrder:
    """Look at the first bytes of a file: a text, then a version and the byte order."""
    if header[124:] == b"\x00\x02IM":
        raise ValueError(
            "it is a MATLAB 7.3 file (HDF5), which is not read here; save it again in MATLAB "
            "with '-v7', or its arrays with numpy.savez"
        )
    if header[124:] == b"\x00\x01IM":
        return "little"
    if header[124:] == b"\x01\x00MI":
        return "big"
    raise ValueError(
        "it is no MATLAB file of level 5, which scipy.io.savemat and MATLAB's '-v7' write"
    )


def _elements(data: memoryview, order: ByteOrder) -> Iterator[tuple[int, memoryview]]:
    """Yield (data type, content) of the elements that lie one after the other.

    Raises:
        ValueError: The data end within an element.
    """
    at = 0
    while at < len(data):
        kind, size = (int.from_bytes(data[at + i : at + i + 4], order) for i in (0, 4))
        if small := kind >> 16:  # size and content of at most four bytes share the tag
            kind, size, begin = kind & 0xFFFF, small, at + 4
            at += 8
        else:
            begin = at + 8
            at = begin + size + (0 if kind == COMPRESSED else -size % 8)
        if begin + size > len(data) or (small and size > 4):
            raise ValueError("it was cut off, or is damaged")
        yield kind, data[begin : begin + size]


def _variable(matrix: memoryview, order: ByteOrder) -> tuple[str, Variable]:
    """Return the name and the content of one matrix element.

    Raises:
        ValueError: It lacks one of its parts.
    """
    parts = _elements(matrix, order)
    (_, flags), (_, sizes), (_, name) = (next(parts, (0, b"")) for _ in range(3))
    if len(flags) != 8 or len(sizes) < 8 or len(sizes) % 4:
        raise ValueError("it is damaged: a variable without class or sizes")
    shape = [int.from_bytes(sizes[i : i + 4], order, signed=True) for i in range(0, len(sizes), 4)]
    stored, content = next(parts, (0, memoryview(b"")))
    return bytes(name).decode("latin-1"), Variable(
        int.from_bytes(flags[:4], order), tuple(shape), stored, content, order
    )

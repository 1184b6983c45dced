"""From the bytes of a CSV file, however it was saved, to its header and rows."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import TextIO

from reid_core import ReidError

DELIMITERS = ",;\t|"
"""What may stand between two values; the header tells which one does."""

LONGEST_HEADER = 1 << 16
"""Characters of a first line; a longer one is no header."""

MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
"""Byte order marks and what follows them; those of UTF-32 begin like those of UTF-16."""

Rows = list[tuple[int, list[str]]]
"""Values by row, each with the number of its last line."""


def read_csv(file: Path, known: Iterable[str]) -> tuple[list[str], Rows]:
    """Return the header of a CSV file and its further rows.

    Blanks around values are left out, as are rows without any value.

    Args:
        file: The file: UTF-8, or UTF-16 or UTF-32 with a byte order mark; lines end with any of
            LF, CRLF and CR.
        known: Names of columns; the delimiter is the one by which the header has most of them.

    Raises:
        ReidError: The file cannot be read, or is no CSV text.
    """
    try:
        with file.open("rb") as raw:
            start = raw.read(4096)
            raw.seek(0)
            encoding = next((name for mark, name in MARKS if start.startswith(mark)), "utf-8")
            _check_text(file, start, encoding)
            with io.TextIOWrapper(raw, encoding, newline="") as stream:
                rows = list(_rows(file, stream, set(known)))
    except UnicodeError as error:
        raise ReidError(
            f"dataset manifest: cannot read '{file}' as UTF-8 CSV: {error}; save it as UTF-8, or "
            "as UTF-16 with a byte order mark"
        ) from error
    except OSError as error:
        raise ReidError(f"dataset manifest: cannot read '{file}': {error.strerror}") from error
    return (rows[0][1], rows[1:]) if rows else ([], [])


def _check_text(file: Path, start: bytes, encoding: str) -> None:
    """Refuse what begins like something else than text."""
    if b"\0" in start and encoding in ("utf-8", "utf-8-sig"):
        raise ReidError(
            f"dataset manifest: cannot read '{file}' as UTF-8 CSV: it has bytes of number 0, so it "
            "is UTF-16 without a byte order mark, or no text; save it as UTF-8"
        )


def _rows(file: Path, stream: TextIO, known: set[str]) -> Iterator[tuple[int, list[str]]]:
    """Yield the header and the rows of a text, with the numbers of their lines."""
    first, before = stream.readline(LONGEST_HEADER + 1), 0
    if first.startswith("sep=") and len(first.strip()) == len("sep=;"):  # a habit of Excel's
        first, before = stream.readline(LONGEST_HEADER + 1), 1
    if len(first) > LONGEST_HEADER:
        raise ReidError(
            f"{file}:1: the first line has more than {LONGEST_HEADER} characters, so it is no "
            "header; is this the CSV file?"
        )
    delimiter = max(DELIMITERS, key=lambda mark: len(known & set(_cells(first, mark))))
    reader = csv.reader(
        chain([first], stream), delimiter=delimiter, strict=True, skipinitialspace=True
    )
    try:
        for values in reader:
            cells = [value.strip() for value in values]
            if any(cells):
                yield reader.line_num + before, cells
    except csv.Error as error:
        raise ReidError(
            f"{file}:{reader.line_num + before}: cannot be read as CSV: {error}; is a quotation "
            "mark missing, or one too many?"
        ) from error


def _cells(line: str, delimiter: str) -> list[str]:
    """Return the values of a header by a delimiter; none where it cannot be divided by it."""
    try:
        return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter), [])]
    except csv.Error:
        return []

"""The rows of the CSV file that the dataset `manifest` reads, and what is wrong with them."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from reid_core import ReidError
from reid_core.contracts import SPLITS, UNKNOWN_CAMERA
from reid_core.errors import did_you_mean

REQUIRED = ("path", "pid", "split")
OPTIONAL = ("camid", "junk", "distractor")
CAMERA = re.compile("[0-9]{1,18}")
"""Numbers that fit into 64 bits."""

Row = dict[str, str]


def path_problem(row: Row, column: str, root: Path) -> str | None:
    """Return what is wrong with a path, if anything is."""
    path = PurePosixPath(row[column])
    if path.is_absolute() or ".." in path.parts:
        return f"{column} '{path}' must be relative and stay inside root '{root}'"
    if not os.path.isfile(root / path):
        return f"no file '{path}' in root '{root}'"
    return None


def row_problems(row: Row, root: Path, paths: Iterable[str]) -> Iterator[str]:
    """Yield what is wrong with one row; ``paths`` are further columns that hold paths."""
    for column in ("path", *paths):
        if row[column]:
            problem = path_problem(row, column, root)
            yield from [problem] if problem else []
    if not row["path"]:
        yield "path is empty"
    if row["split"] not in SPLITS:
        hint = did_you_mean(row["split"], SPLITS)
        yield f"split '{row['split']}' is none of {', '.join(SPLITS)}{hint}"
    camid = row.get("camid", "")
    if camid not in ("", str(UNKNOWN_CAMERA)) and not CAMERA.fullmatch(camid):
        yield f"camid '{camid}' is not a whole number >= 0 of at most 18 digits"
    for key in ("junk", "distractor"):
        if row.get(key, "") not in ("", "0", "1"):
            yield f"{key} '{row[key]}' is neither 0 nor 1"


def read_rows(file: Path, wanted: list[str]) -> Iterator[tuple[int, Row | str]]:
    """Yield the line number of each row with its values, or with the problem of its shape.

    Args:
        file: The CSV file.
        wanted: Columns that the params name.

    Raises:
        ReidError: The file cannot be read, or its header is wrong.
    """
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream, strict=True)
            header = [name.strip() for name in next(reader, [])]
            _check_header(file, header, wanted)
            for values in reader:
                if not values:
                    continue
                if len(values) != len(header):
                    yield reader.line_num, f"expected {len(header)} values, got {len(values)}"
                else:
                    cells = (value.strip() for value in values)
                    yield reader.line_num, dict(zip(header, cells, strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ReidError(f"dataset manifest: cannot read '{file}' as UTF-8 CSV: {error}") from error


def _check_header(file: Path, header: list[str], wanted: list[str]) -> None:
    """Refuse missing, unknown and doubled columns; a misspelt camid would lose the cameras."""
    needed = list(dict.fromkeys([*REQUIRED, *wanted]))
    known = [*needed, *OPTIONAL]
    problems = [f"column '{name}' is missing" for name in needed if name not in header]
    problems += [
        f"unknown column '{name}'{did_you_mean(name, known)} (params name further ones)"
        for name in header
        if name not in known
    ]
    problems += [f"column '{name}' appears twice" for name in known if header.count(name) > 1]
    if problems:
        raise ReidError(
            f"{file}:1: {'; '.join(problems)}; the header is {','.join(REQUIRED)} and "
            f"optionally {','.join(OPTIONAL)}"
        )

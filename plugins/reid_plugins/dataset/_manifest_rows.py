"""The rows of the CSV file that the dataset `manifest` reads, and what is wrong with them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from reid_core import ReidError
from reid_core.contracts import SPLITS, UNKNOWN_CAMERA
from reid_core.errors import counted, did_you_mean, shortened
from reid_plugins.dataset._csv_text import read_csv

REQUIRED = ("path", "pid", "split")
OPTIONAL = ("camid", "junk", "distractor")
CAMERA = re.compile("[0-9]{1,18}")
"""Numbers that fit into 64 bits."""

DRIVE = re.compile("[A-Za-z]:")
"""Beginning of an absolute path of Windows."""

SHOWN_COLUMNS = 10
"""Unknown columns that are named; the rest are counted."""

Row = dict[str, str]


def path_of(text: str, root: Path) -> PurePosixPath:
    """Return the path that a cell means: backslashes are '/' where no file has such a name."""
    if "\\" in text and not os.path.exists(root / text):
        text = text.replace("\\", "/")
    return PurePosixPath(text)


def path_problem(row: Row, column: str, root: Path) -> str | None:
    """Return what is wrong with a path, if anything is."""
    path = path_of(row[column], root)
    if path.is_absolute() or ".." in path.parts or DRIVE.match(path.as_posix()):
        return f"{column} '{path}' must be relative and stay inside root '{root}'"
    return None


def absence(row: Row, root: Path, paths: Iterable[str]) -> str | None:
    """Return that a file is not there which a row names; arguments as ``row_problems``."""
    for column in ("path", *paths):
        path = path_of(row[column], root)
        absent = row[column] and not os.path.isfile(root / path)
        if absent and not path_problem(row, column, root):
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
        yield f"split '{shortened(row['split'])}' is none of {', '.join(SPLITS)}{hint}"
    camid = row.get("camid", "")
    if camid not in ("", str(UNKNOWN_CAMERA)) and not CAMERA.fullmatch(camid):
        yield f"camid '{shortened(camid)}' is not a whole number >= 0 of at most 18 digits"
    for key in ("junk", "distractor"):
        if row.get(key, "") not in ("", "0", "1"):
            yield f"{key} '{shortened(row[key])}' is neither 0 nor 1"


def read_rows(file: Path, wanted: list[str]) -> Iterator[tuple[int, Row | str]]:
    """Yield the line number of each row with its values, or with the problem of its shape.

    Args:
        file: The CSV file.
        wanted: Columns that the params name.

    Raises:
        ReidError: The file cannot be read, or its header is wrong.
    """
    header, rows = read_csv(file, [*REQUIRED, *OPTIONAL, *wanted])
    _check_header(file, header, wanted)
    for line, values in rows:
        if len(values) != len(header):
            yield line, f"expected {counted(len(header), 'value')}, got {len(values)}"
        else:
            yield line, dict(zip(header, values, strict=True))


def _check_header(file: Path, header: list[str], wanted: list[str]) -> None:
    """Refuse missing, unknown and doubled columns; a misspelt camid would lose the cameras."""
    needed = list(dict.fromkeys([*REQUIRED, *wanted]))
    known = [*needed, *OPTIONAL]
    problems = [f"column '{name}' is missing" for name in needed if name not in header]
    unknown = [name for name in header if name not in known]
    problems += [
        f"unknown column '{shortened(name)}'{did_you_mean(name, known)} (params name further ones)"
        for name in unknown[:SHOWN_COLUMNS]
    ]
    if len(unknown) > SHOWN_COLUMNS:
        more = len(unknown) - SHOWN_COLUMNS
        problems.append(f"and {counted(more, 'more unknown column')}")
    problems += [f"column '{name}' appears twice" for name in known if header.count(name) > 1]
    if problems:
        raise ReidError(
            f"{file}:1: {'; '.join(problems)}; the header is {','.join(REQUIRED)} and "
            f"optionally {','.join(OPTIONAL)}, with commas, semicolons, tabs or '|' between them"
        )

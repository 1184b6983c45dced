"""Images named by a CSV file, wherever they lie.

The file has the columns path, pid, split and, if wanted, camid, junk, distractor. Further ones
that the params name become columns of the images, or say where masks and texts beside them lie. It
fits datasets that no reader knows: write the list once instead of moving the files.

Semicolons, tabs or '|' may stand for the commas, and backslashes for '/' in paths.

Reference: RFC 4180 (the CSV format); UTF-8, with or without a byte order mark, or UTF-16 with one.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from pydantic import Field

from reid_core import Component, Params, PathText, ReidError, hookimpl
from reid_core.contracts import UNKNOWN_CAMERA, ImageRecord, Listing
from reid_core.files import user_path
from reid_core.problems import raise_problems
from reid_plugins.dataset._manifest_rows import (
    OPTIONAL,
    REQUIRED,
    Row,
    absence,
    path_of,
    read_rows,
    row_problems,
)
from reid_plugins.toolkit.market_pids import Mark, taken_for_persons

NUMBER = re.compile("0|-?[1-9][0-9]{0,17}")
"""A whole number of 64 bits, written as numbers are: 007 is a text."""

MASK: Final = "mask"
TEXT: Final = "text"


class ManifestParams(Params):
    """Params of the dataset ``manifest``."""

    file: PathText = Field(
        description="CSV file with a header: path, pid (empty: not known), split and optionally "
        "camid (a number >= 0; empty: not known), junk and distractor (0 or 1; empty: 0).",
    )
    root: PathText | None = Field(
        default=None,
        description="Folder that paths start from; default: the CSV file's folder.",
    )
    columns: list[str] = Field(
        default=[],
        description="Further columns of the file that become columns of the images, such as "
        "clothes: whole numbers where all are some, else texts; empty: not known.",
    )
    masks: dict[str, str] = Field(
        default={},
        description="Masks beside the images: by their names, the columns of the file that hold "
        "the paths of their pictures; empty: none.",
    )
    texts: dict[str, str] = Field(
        default={},
        description="Likewise texts, in files of UTF-8.",
    )

    def extra_columns(self) -> dict[str, str]:
        """Return the columns of the file that say where masks and texts lie, by their names."""
        return {**self.masks, **self.texts}


def to_record(row: Row, root: Path, params: ManifestParams, numbers: Set[str]) -> ImageRecord:
    """Turn a checked row into a record; ``numbers`` are the columns of whole numbers."""
    path = path_of(row["path"], root)
    return ImageRecord(
        name=path.as_posix(),
        split=row["split"],
        pid=row["pid"] or None,
        camid=int(row.get("camid") or UNKNOWN_CAMERA),
        source=root / path,
        junk=row.get("junk") == "1",
        distractor=row.get("distractor") == "1",
        columns={
            name: int(row[name]) if name in numbers else row[name]
            for name in params.columns
            if row[name]
        },
        extras={
            name: root / path_of(row[column], root)
            for name, column in params.extra_columns().items()
            if row[column]
        },
    )


def number_columns(rows: Iterable[Row], params: ManifestParams) -> set[str]:
    """Return which columns of the images are whole numbers, wherever they are known."""
    values: dict[str, set[str]] = {name: set() for name in params.columns}
    for row in rows:
        for name, seen in values.items():
            seen.add(row[name])
    return {
        name
        for name, seen in values.items()
        if seen != {""} and all(NUMBER.fullmatch(value) for value in seen - {""})
    }


def build(params: ManifestParams, *, skip_unreadable: bool = False) -> Listing:
    """List the images; where it is allowed, without those whose files are not there.

    Raises:
        ReidError: The file or some of its rows are wrong; the problems are listed by cause.
    """
    _check_params(params)
    file = user_path(params.file)
    root = user_path(params.root) if params.root else file.parent
    if params.root and not os.path.isdir(root):
        raise ReidError(f"dataset manifest: root '{params.root}' is not a folder")
    found = _checked_rows(file, root, params)
    problems = found.problems + ([] if skip_unreadable else found.absences)
    raise_problems(
        problems, "problems of its rows", "dataset manifest: ", one="problem of its rows"
    )
    if not found.rows:
        raise ReidError(f"dataset manifest: '{file}' names no image")
    numbers = number_columns(found.rows, params)
    records = [to_record(row, root, params, numbers) for row in found.rows]
    return Listing(
        records,
        root,
        extras={**dict.fromkeys(params.masks, MASK), **dict.fromkeys(params.texts, TEXT)},
        skipped=found.absent,
        warnings=_warnings(records, found),
    )


@dataclass
class _Rows:
    """The rows of a file that can be used, and what is wrong with the others.

    Attributes:
        rows: Those that can be used.
        problems: A line for each problem of a row.
        absent: Images whose files, or those beside them, are not there.
        absences: A line for each of them.
    """

    rows: list[Row] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    absences: list[str] = field(default_factory=list)


def _checked_rows(file: Path, root: Path, params: ManifestParams) -> _Rows:
    """Return the rows of the file, sorted by what is wrong with them."""
    found = _Rows()
    first_line: dict[tuple[str, str], int] = {}
    beside = list(params.extra_columns().values())
    for line, row in read_rows(file, [*params.columns, *beside]):
        if isinstance(row, str):
            found.problems.append(f"{file}:{line}: {row}")
            continue
        problems, name = list(row_problems(row, root, beside)), path_of(row["path"], root)
        first = first_line.setdefault((row["split"], name.as_posix()), line)
        if not problems and first != line:
            problems = [f"'{name}' is in split {row['split']} already, line {first}"]
        found.problems += [f"{file}:{line}: {text}" for text in problems]
        if absent := absence(row, root, beside):
            found.absent.append(name.as_posix())
            found.absences.append(f"{file}:{line}: {absent}")
        elif not problems:
            found.rows.append(row)
    return found


def _warnings(records: list[ImageRecord], found: _Rows) -> list[str]:
    """Return what the user should know of identities that are no persons."""
    marks: tuple[Mark, ...] = ("junk", "distractor")
    advice: dict[Mark, str] = {
        mark: f"add a column '{mark}' to the file, with 1 for it, and 0 if it is a person"
        for mark in marks
        if mark not in found.rows[0]
    }
    return taken_for_persons(records, advice)


def _check_params(params: ManifestParams) -> None:
    """Refuse names that are given twice, or to what has a meaning of its own.

    Raises:
        ReidError: Names the first such name.
    """
    if both := sorted(params.masks.keys() & params.texts.keys()):
        raise ReidError(f"dataset manifest: '{both[0]}' is in masks and in texts; leave out one")
    named = [*params.columns, *params.extra_columns().values()]
    for name in named:
        if name in (*REQUIRED, *OPTIONAL):
            raise ReidError(
                f"dataset manifest: the column '{name}' has a meaning of its own; take it out of "
                "the params"
            )


@hookimpl
def reid_dataset() -> list[Component]:
    """Offer ``manifest``."""
    return [
        Component(
            name="manifest",
            params=ManifestParams,
            build=build,
            summary="Images, identities, cameras and splits from a CSV file",
        )
    ]

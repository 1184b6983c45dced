"""Images named by a CSV file, wherever they lie.

The file has the columns path, pid, split and, if wanted, camid, junk, distractor. Further ones
that the params name become columns of the images, or say where masks and texts beside them lie. It
fits datasets that no reader knows: write the list once instead of moving the files.

Reference: RFC 4180 (the CSV format); UTF-8, with or without a byte order mark.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Set
from pathlib import Path, PurePosixPath
from typing import Final

from pydantic import Field

from reid_core import Component, Params, PathText, ReidError, hookimpl
from reid_core.contracts import UNKNOWN_CAMERA, ImageRecord, Listing
from reid_core.files import user_path
from reid_plugins.dataset._manifest_rows import OPTIONAL, REQUIRED, Row, read_rows, row_problems

NUMBER = re.compile("0|-?[1-9][0-9]{0,17}")
"""A whole number of 64 bits, written as numbers are: 007 is a text."""

MASK: Final = "mask"
TEXT: Final = "text"

SHOWN = 10
"""Problems that are listed; the rest are counted."""


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
    path = PurePosixPath(row["path"])
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
            name: root / PurePosixPath(row[column])
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


def build(params: ManifestParams) -> Listing:
    """List the images.

    Raises:
        ReidError: The file or one of its rows is wrong; up to ``SHOWN`` problems are listed.
    """
    _check_params(params)
    file = user_path(params.file)
    root = user_path(params.root) if params.root else file.parent
    if params.root and not os.path.isdir(root):
        raise ReidError(f"dataset manifest: root '{params.root}' is not a folder")
    rows: list[Row] = []
    problems: list[str] = []
    first_line: dict[tuple[str, str], int] = {}
    beside = list(params.extra_columns().values())
    for line, row in read_rows(file, [*params.columns, *beside]):
        found = [row] if isinstance(row, str) else list(row_problems(row, root, beside))
        if not found and not isinstance(row, str):
            name = PurePosixPath(row["path"]).as_posix()
            first = first_line.setdefault((row["split"], name), line)
            if first != line:
                found = [f"'{name}' is in split {row['split']} already, line {first}"]
            rows.append(row)
        problems += [f"{file}:{line}: {text}" for text in found]
    if problems:
        more = [f"and {len(problems) - SHOWN} more problems"] if len(problems) > SHOWN else []
        raise ReidError("dataset manifest:", *problems[:SHOWN], *more)
    if not rows:
        raise ReidError(f"dataset manifest: '{file}' names no image")
    numbers = number_columns(rows, params)
    return Listing(
        [to_record(row, root, params, numbers) for row in rows],
        root,
        extras={**dict.fromkeys(params.masks, MASK), **dict.fromkeys(params.texts, TEXT)},
    )


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

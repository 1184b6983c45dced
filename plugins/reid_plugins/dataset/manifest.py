"""Images named by a CSV file, wherever they lie.

The file has the columns path, pid, split and, if wanted, camid, junk, distractor. It fits
datasets that no reader knows: write the list once instead of moving the files.

Reference: RFC 4180 (the CSV format); UTF-8, with or without a byte order mark.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from pydantic import Field

from reid_core import Component, Params, PathText, ReidError, hookimpl
from reid_core.contracts import SPLITS, UNKNOWN_CAMERA, ImageRecord, Listing
from reid_core.errors import did_you_mean
from reid_core.files import user_path

REQUIRED = ("path", "pid", "split")
OPTIONAL = ("camid", "junk", "distractor")
CAMERA = re.compile("[0-9]{1,18}")
"""Numbers that fit into 64 bits."""

SHOWN = 10
"""Problems that are listed; the rest are counted."""

Row = dict[str, str]


class ManifestParams(Params):
    """Params of the dataset ``manifest``."""

    file: PathText = Field(
        description="CSV file with a header: path, pid, split and optionally camid (a number >= "
        "0; empty: not known), junk and distractor (0 or 1; empty: 0).",
    )
    root: PathText | None = Field(
        default=None,
        description="Folder that paths start from; default: the CSV file's folder.",
    )


def row_problems(row: Row, root: Path) -> Iterator[str]:
    """Yield what is wrong with one row."""
    path = PurePosixPath(row["path"])
    if not row["path"]:
        yield "path is empty"
    elif path.is_absolute() or ".." in path.parts:
        yield f"path '{path}' must be relative and stay inside root '{root}'"
    elif not os.path.isfile(root / path):
        yield f"no file '{path}' in root '{root}'"
    if not row["pid"]:
        yield "pid is empty"
    if row["split"] not in SPLITS:
        hint = did_you_mean(row["split"], SPLITS)
        yield f"split '{row['split']}' is none of {', '.join(SPLITS)}{hint}"
    camid = row.get("camid", "")
    if camid not in ("", str(UNKNOWN_CAMERA)) and not CAMERA.fullmatch(camid):
        yield f"camid '{camid}' is not a whole number >= 0 of at most 18 digits"
    for key in ("junk", "distractor"):
        if row.get(key, "") not in ("", "0", "1"):
            yield f"{key} '{row[key]}' is neither 0 nor 1"


def to_record(row: Row, root: Path) -> ImageRecord:
    """Turn a checked row into a record."""
    path = PurePosixPath(row["path"])
    return ImageRecord(
        name=path.as_posix(),
        split=row["split"],
        pid=row["pid"],
        camid=int(row.get("camid") or UNKNOWN_CAMERA),
        source=root / path,
        junk=row.get("junk") == "1",
        distractor=row.get("distractor") == "1",
    )


def read_rows(file: Path) -> Iterator[tuple[int, Row | str]]:
    """Yield the line number of each row with its values, or with the problem of its shape.

    Raises:
        ReidError: The file cannot be read, or its header is wrong.
    """
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream, strict=True)
            header = [name.strip() for name in next(reader, [])]
            _check_header(file, header)
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


def _check_header(file: Path, header: list[str]) -> None:
    """Refuse missing, unknown and doubled columns; a misspelt camid would lose the cameras."""
    known = (*REQUIRED, *OPTIONAL)
    problems = [f"column '{name}' is missing" for name in REQUIRED if name not in header]
    problems += [
        f"unknown column '{name}'{did_you_mean(name, known)}"
        for name in header
        if name not in known
    ]
    problems += [f"column '{name}' appears twice" for name in known if header.count(name) > 1]
    if problems:
        raise ReidError(
            f"{file}:1: {'; '.join(problems)}; the header is {','.join(REQUIRED)} and "
            f"optionally {','.join(OPTIONAL)}"
        )


def build(params: ManifestParams) -> Listing:
    """List the images.

    Raises:
        ReidError: The file or one of its rows is wrong; up to ``SHOWN`` problems are listed.
    """
    file = user_path(params.file)
    root = user_path(params.root) if params.root else file.parent
    if params.root and not os.path.isdir(root):
        raise ReidError(f"dataset manifest: root '{params.root}' is not a folder")
    records: list[ImageRecord] = []
    problems: list[str] = []
    first_line: dict[tuple[str, str], int] = {}
    for line, row in read_rows(file):
        found = [row] if isinstance(row, str) else list(row_problems(row, root))
        if not found and not isinstance(row, str):
            record = to_record(row, root)
            first = first_line.setdefault((record.split, record.name), line)
            if first != line:
                found = [f"'{record.name}' is in split {record.split} already, line {first}"]
            records.append(record)
        problems += [f"{file}:{line}: {text}" for text in found]
    if problems:
        more = [f"and {len(problems) - SHOWN} more problems"] if len(problems) > SHOWN else []
        raise ReidError("\n".join(["dataset manifest:", *problems[:SHOWN], *more]))
    if not records:
        raise ReidError(f"dataset manifest: '{file}' names no image")
    return Listing(records, root)


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

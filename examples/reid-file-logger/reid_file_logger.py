"""The logger `csv`: one row for every number that a training writes, for spreadsheets.

A row is `step,name,value`. A resumed run goes on in the same file: what was written after the
step of its checkpoint is cut off first.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import Field

from reid_core import Component, Params, hookimpl
from reid_core.contracts import Logger


class CsvParams(Params):
    """Params of the logger `csv`."""

    file: str = Field(
        default="numbers.csv",
        pattern=r"^[\w-]+\.csv$",
        description="Name of the file in the run directory.",
    )


def numbers_of(record: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """Yield (name, number) of every number in a record; those within an object are dotted."""
    for key, value in record.items():
        if isinstance(value, Mapping):
            yield from numbers_of(value, f"{prefix}{key}.")
        elif isinstance(value, int | float) and not isinstance(value, bool) and key != "step":
            yield f"{prefix}{key}", value


class CsvLogger(Logger):
    """Appends rows to a file."""

    def __init__(self, path: Path, step: int) -> None:
        """Open the file and keep of it what is not after ``step``."""
        old = path.read_text().splitlines() if path.is_file() else []
        self._file = path.open("w", newline="")
        self._rows = csv.writer(self._file)
        self._rows.writerows([["step", "name", "value"]])
        self._rows.writerows(row for row in csv.reader(old[1:]) if int(row[0]) <= step)

    def write(self, record: Mapping[str, Any]) -> None:
        """Append the numbers of a record."""
        kind = record["kind"]
        for name, value in numbers_of(record):
            self._rows.writerow([record["step"], f"{kind}.{name}", value])

    def flush(self) -> None:
        """Bring the rows to the disk."""
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def build(params: CsvParams, *, directory: Path, step: int) -> Logger:
    """Build the logger of a run directory."""
    return CsvLogger(directory / params.file, step)


@hookimpl
def reid_logger() -> list[Component]:
    """Offer the logger."""
    return [
        Component(
            name="csv",
            params=CsvParams,
            build=build,
            summary="One row for every number of the training, as CSV",
        )
    ]

"""The file of a list of pairs."""

from __future__ import annotations

import csv
import hashlib
import io
from dataclasses import dataclass

from reid_core import ReidError
from reid_core.files import user_path

HEADER = ["first", "second", "same"]


@dataclass(frozen=True)
class Pairs:
    """A list of pairs.

    Attributes:
        first: Names of images.
        second: Likewise, of as many.
        same: Whether both are of one person.
        digest: The first 16 digits of the file's SHA-256, for the protocol.
    """

    first: list[str]
    second: list[str]
    same: list[bool]
    digest: str

    def __len__(self) -> int:
        """Return the number of pairs."""
        return len(self.same)


def read_pairs(file: str) -> Pairs:
    """Read a CSV file.

    Raises:
        ReidError: There is none, or a line is no pair.
    """
    path = user_path(file)
    try:
        content = path.read_bytes()
        rows = list(csv.reader(io.StringIO(content.decode("utf-8-sig"))))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ReidError(f"{path}: the list of pairs cannot be read: {error}") from None
    if not rows or rows[0] != HEADER:
        raise ReidError(f"{path}: the first line must be {','.join(HEADER)}")
    lines = [(number, row) for number, row in enumerate(rows[1:], 2) if row]
    for number, row in lines:
        if len(row) != len(HEADER) or row[2] not in ("0", "1"):
            raise ReidError(f"{path}, line {number}: expected two names and 1 or 0, got {row}")
    first, second, same = ([row[i] for _, row in lines] for i in range(3))
    digest = hashlib.sha256(content).hexdigest()[:16]
    return Pairs(first, second, [word == "1" for word in same], digest)

"""The file metrics.jsonl: how much of it belongs to a checkpoint."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TextIO

from reid_core.errors import ReidError
from reid_core.files import atomic_path, saving


def check_record(path: Path, length: int) -> None:
    """See that the record still has what was written before a checkpoint.

    Args:
        path: metrics.jsonl.
        length: Bytes of it that belong to the checkpoint.

    Raises:
        ReidError: It is shorter or missing, or the checkpoint ends within a line of it.
    """
    found = path.stat().st_size if path.is_file() else 0
    if found < length:
        raise ReidError(
            f"{path}: has {found} bytes, and {length} were written before the checkpoint: lines "
            f"are lost. {_ADVICE}"
        )
    if length:
        with path.open("rb") as file:
            file.seek(length - 1)
            if file.read(1) != b"\n":
                raise ReidError(
                    f"{path}: the checkpoint ends within a line of it: the file was changed. "
                    f"{_ADVICE}"
                )


_ADVICE = (
    "Put a copy of the file back; without one, start a new run from the weights of this one with "
    "train.pretrain_snapshot"
)


def open_record(path: Path, length: int) -> TextIO:
    """Open the record to be continued, without what was written after its checkpoint.

    What is kept becomes a new file: a hard link to the old one, such as backups make, keeps all.

    Raises:
        ReidError: See ``check_record``; or it cannot be written.
    """
    check_record(path, length)
    with saving(path):
        kept = b""
        if length:
            with path.open("rb") as file:
                kept = file.read(length)
        with atomic_path(path) as temporary:
            temporary.write_bytes(kept)
        number = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW)
        return os.fdopen(number, "a", encoding="utf-8")

"""Files that are either whole or not there."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from reid_core.errors import ReidError

_FULL = (errno.ENOSPC, errno.EDQUOT)
_ADVICE = {
    **dict.fromkeys(_FULL, "Make room or choose another place"),
    **dict.fromkeys(
        (errno.EEXIST, errno.ENOTDIR),
        "A file stands where a folder is needed: move it away or choose another place",
    ),
    errno.EISDIR: "A folder stands where a file is needed: move it away or choose another place",
    **dict.fromkeys(
        (errno.EACCES, errno.EPERM, errno.EROFS),
        "Make the place writable for you or choose another one",
    ),
    errno.ENAMETOOLONG: "Choose a shorter name",
}
"""What to do about an error number of the system."""


DAMAGED = (
    *(OSError, ValueError, KeyError, TypeError, AttributeError, EOFError),
    *(zipfile.BadZipFile, zlib.error),
)
"""What numpy raises for an npz file that is damaged or of another kind."""


LONGEST_PATH = 3800
"""Bytes of a path that a person names: systems take 4095, and runs and stores lie below it."""


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path`` that takes its place when the block succeeds.

    The file's data reach the disk before the rename, so that after a crash the old file or
    the new one is there, never a part.

    Raises:
        ReidError: The disk is full or not writable; the old file is untouched.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with saving(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def saving(path: Path) -> Iterator[None]:
    """Turn what the disk refuses into one clear error about ``path``.

    Raises:
        ReidError: An OS error occurred inside the block.
    """
    try:
        yield
    except OSError as error:
        full = error.errno in _FULL
        reason = "the disk is full" if full else error.strerror or str(error)
        advice = _ADVICE.get(error.errno or 0, "Choose another place")
        raise ReidError(
            f"{path}: cannot be written: {reason}; what was saved before is still whole. "
            f"{advice}, and run again"
        ) from error


def write_json(path: Path, value: Any) -> None:
    """Write a value as indented JSON, whole or not at all."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def user_path(text: str) -> Path:
    """Return a path as a person writes it: ``~`` is their home.

    Raises:
        ReidError: It names the home of an unknown user, holds NUL, or it or a part of it is longer
            than a system takes with what is put below it.
    """
    if "\0" in text:
        raise ReidError(f"'{text[:60]}': holds the character NUL, which no path can have")
    path = Path(os.path.expanduser(text))
    if path.parts and path.parts[0].startswith("~"):
        raise ReidError(f"'{text}': there is no user '{path.parts[0][1:]}' with a home folder")
    if any(len(os.fsencode(part)) > 255 for part in path.parts):
        raise ReidError(f"'{text[:60]}...': a part of this path is longer than 255 bytes")
    if len(os.fsencode(path)) > LONGEST_PATH:
        raise ReidError(f"'{text[:60]}...': this path is longer than {LONGEST_PATH} bytes")
    return path

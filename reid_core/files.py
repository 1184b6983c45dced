"""Files that are either whole or not there."""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import lzma
import os
import struct
import time
import tokenize
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
    *(OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, IndexError),
    *(ArithmeticError, AssertionError, MemoryError, StopIteration, struct.error),
    RuntimeError,  # RecursionError and NotImplementedError are of these
    *(tokenize.TokenError, SyntaxError),  # numpy reads the header of an array as Python's text
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError),
)
"""What reading a file leads to that is damaged or of another kind; UnicodeError is a ValueError."""

LARGEST_UNCHECKED = 1 << 30
"""Bytes that a compressed file may always become."""

LARGEST_RATIO = 100
"""How many times its size a compressed file may become; numbers that were measured stay below."""

LARGEST_JSON = 1 << 28
"""Bytes of a JSON file; those of a run or a store have some thousands."""


def check_inflated(declared: int, size: int) -> None:
    """Refuse what would fill the memory before it is read.

    Args:
        declared: Bytes that a file says it becomes.
        size: Bytes that it has.

    Raises:
        ValueError: It would become absurdly large.
    """
    if declared > max(LARGEST_UNCHECKED, LARGEST_RATIO * size):
        raise ValueError(f"it would become {declared} bytes, and has {size}")


LONGEST_PATH = 3800
"""Bytes of a path that a person names: systems take 4095, and runs and stores lie below it."""


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path`` that takes its place when the block succeeds.

    The file's data reach the disk before the rename, so that after a crash the old file or
    the new one is there, never a part.

    Raises:
        ReidError: The disk is full or not writable, or ``path`` is a link; the old file is
            untouched.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with saving(path):
        if path.is_symlink():
            raise ReidError(
                f"{path}: is a link, and no file is written in the place of one; remove the link, "
                "or name the file that it leads to"
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.unlink(missing_ok=True)  # what lies there may be a link
            yield temporary
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def remove_leftovers(folder: Path, untouched_for: float = 0) -> None:
    """Remove what ``atomic_path`` has left half-written in a folder when its process was killed.

    Args:
        folder: Where to look, and in its folders, and in theirs.
        untouched_for: Seconds. A process of another machine is not seen here, and a file on a
            shared disk may be its own.
    """
    with contextlib.suppress(OSError):
        places = (folder.glob(f"{depth}.*.tmp") for depth in ("", "*/", "*/*/"))
        for leftover in itertools.chain(*places):
            if is_left_over(leftover.name.split(".")[-2], leftover, untouched_for):
                leftover.unlink()


def is_left_over(process: str, path: Path, untouched_for: float) -> bool:
    """Return whether the process of a temporary file or folder is gone.

    Args:
        process: Its number, as the name says; another word is nobody's.
        path: The file or folder.
        untouched_for: Seconds in which it must not have changed.
    """
    if not process.isdecimal() or time.time() - path.lstat().st_mtime < untouched_for:
        return False
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        pass
    return False


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

"""A lock between processes that is refused at once where it cannot be made."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from reid_core.errors import ReidError


@contextmanager
def file_lock(path: Path, timeout: float = -1) -> Iterator[None]:
    """Hold a lock while the block runs.

    Args:
        path: The lock's file; it is made, and stays.
        timeout: Seconds to wait for another process; below 0: for as long as it takes.

    Raises:
        OSError: The file cannot be made: filelock would take that for a lock of somebody else's
            and wait for ever.
        filelock.Timeout: Another process holds it still.
        ReidError: The file system has no locks.
    """
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o644))
    lock = FileLock(path)
    try:
        lock.acquire(timeout=timeout)
    except NotImplementedError:
        raise ReidError(
            f"{path}: this file system has no locks between processes; choose another place"
        ) from None
    try:
        yield
    finally:
        lock.release()

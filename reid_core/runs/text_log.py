"""The text log of a run: every line that was printed, with its time, over all its starts."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from reid_core.console import heard_by, output_failure, warn
from reid_core.errors import ReidError
from reid_core.files import saving
from reid_core.interrupt import Interrupted
from reid_core.printable import one_line
from reid_core.timestamps import timestamp

NAME = "log.txt"
"""In the run directory."""


class TextLog:
    """Appends lines; each is one write, so that processes do not mix theirs."""

    def __init__(self, path: Path) -> None:
        """Open the file, or make it.

        Raises:
            ReidError: It cannot be written, or is a link or no file: a link would lead the lines
                out of the run directory.
        """
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
        self.path = path
        with saving(path):
            try:
                self._file: int | None = os.open(path, flags, 0o644)
            except OSError as error:
                if error.errno == errno.ELOOP:
                    raise _no_file(path, "a link") from None
                raise
            facts = os.fstat(self._file)
            if not stat.S_ISREG(facts.st_mode):
                self.close()
                raise _no_file(path, "no ordinary file")
            if facts.st_size and os.pread(self._file, 1, facts.st_size - 1) != b"\n":
                os.write(self._file, b"\n")  # of a process that was killed while it wrote

    def line(self, text: str) -> None:
        """Append a line; a failure is said once and ends the log, not the run."""
        if self._file is None:
            return
        try:
            os.write(self._file, f"{timestamp()} {one_line(text)}\n".encode())
        except OSError as error:
            self.close()
            warn(f"{self.path}: cannot be written: {error.strerror}; the run goes on without it")

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


@contextlib.contextmanager
def logged(path: Path, beginning: str) -> Iterator[None]:
    """Keep what is printed in the block, and what ends it.

    Args:
        path: The log.
        beginning: First line, which tells this start from those before.
    """
    log = TextLog(path)
    try:
        with heard_by(log.line):
            log.line(beginning)
            if failure := output_failure():
                log.line(failure)
            yield
            log.line("ended")
    except BaseException as error:
        for text in _last_words(error):
            log.line(text)
        raise
    finally:
        log.close()


def _last_words(error: BaseException) -> list[str]:
    """Return what the log says of what ended a run."""
    if isinstance(error, ReidError):
        first, *more = map(str, error.args or ("",))
        return [f"error: {first}", *more]
    if isinstance(error, Interrupted):
        return [str(error)]
    return [f"stopped by {type(error).__name__}: {error}"]


def _no_file(path: Path, what: str) -> ReidError:
    return ReidError(f"{path}: is {what}; the log of a run is a file there: move it away")

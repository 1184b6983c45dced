"""Standard output and error that a command outlives: closed, full, or of another encoding."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any, TextIO

from reid_core.printable import encodable


class Outlived:
    """A text stream whose failure is remembered instead of raised; all else is the stream's.

    Attributes:
        lost: What the first write that failed was answered; None while all is well.
    """

    def __init__(self, stream: TextIO | None) -> None:
        """Stand before a stream; None is one that was closed before Python began."""
        self._stream = stream
        self.lost: Exception | None = None

    def write(self, text: str) -> int:
        """Write what can be written; after a failure nothing more is tried."""
        if self._stream is None:
            self.lost = self.lost or OSError("it is closed")
        elif self.lost is None:
            try:
                self._stream.write(encodable(text, self.encoding))
            except (OSError, ValueError) as error:  # ValueError: the stream is closed
                self._lose(error)
        return len(text)

    def writelines(self, texts: Any) -> None:
        """Write several texts."""
        for text in texts:
            self.write(text)

    def flush(self) -> None:
        """Hand on what is buffered."""
        if self.lost is None and self._stream is not None:
            try:
                self._stream.flush()
            except (OSError, ValueError) as error:
                self._lose(error)

    @property
    def encoding(self) -> str:
        """Return the stream's encoding."""
        return getattr(self._stream, "encoding", None) or "utf-8"

    def isatty(self) -> bool:
        """Return whether a person looks on."""
        with contextlib.suppress(ValueError):
            return self.lost is None and self._stream is not None and self._stream.isatty()
        return False

    def __getattr__(self, name: str) -> Any:
        """Return what is the stream's."""
        return getattr(self.__dict__["_stream"], name)

    def _lose(self, error: Exception) -> None:
        """Remember the failure, and let Python's last flush go nowhere."""
        self.lost = error
        with contextlib.suppress(OSError, ValueError, AttributeError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())  # type: ignore[union-attr]
            os.close(nowhere)


@contextlib.contextmanager
def outlived() -> Iterator[tuple[Outlived, Outlived]]:
    """Put streams that do not fail in the place of ``sys.stdout`` and ``sys.stderr``.

    Within another such block nothing changes.
    """
    _keep_numbers()
    before = sys.stdout, sys.stderr
    guards = _guard(before[0]), _guard(before[1])
    sys.stdout, sys.stderr = guards  # type: ignore[assignment]
    try:
        yield guards
    finally:
        for guard in guards:
            guard.flush()
        sys.stdout, sys.stderr = before


def _guard(stream: TextIO | Outlived | None) -> Outlived:
    return stream if isinstance(stream, Outlived) else Outlived(stream)


def _keep_numbers() -> None:
    """Open /dev/null for standard streams that are closed: the next file would take their number.

    What C code prints there would end up in a store or a checkpoint.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)

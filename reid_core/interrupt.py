"""SIGINT and SIGTERM ask a training to stop after the step in work."""

from __future__ import annotations

import contextlib
import os
import signal
from types import FrameType, TracebackType
from typing import Any


class Interrupted(Exception):
    """A training stopped because a signal asked for it; everything is saved.

    Attributes:
        signal_number: The signal.
    """

    def __init__(self, signal_number: int, message: str) -> None:
        """Keep the signal for the exit status, which is 128 + its number."""
        super().__init__(message)
        self.signal_number = signal_number


class Interrupt:
    """Collects the first signal; a second one has its usual effect at once.

    Attributes:
        received: Number of the signal, 0 before there is one.
    """

    def __init__(self) -> None:
        """Prepare; the handlers are installed on entering."""
        self.received = 0
        self._previous: dict[int, Any] = {}

    def check(self, message: str) -> None:
        """Raise ``Interrupted`` with the message if a signal has come."""
        if self.received:
            raise Interrupted(self.received, message)

    def __enter__(self) -> Interrupt:
        """Install the handlers; outside the main thread, where Python forbids it, do nothing."""
        for number in (signal.SIGINT, signal.SIGTERM):
            try:
                self._previous[number] = signal.signal(number, self._note)
            except ValueError:
                break
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Put the former handlers back."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous.clear()

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received = number
        signal.signal(number, self._previous[number])
        # Not print: the signal may have come in the middle of one.
        with contextlib.suppress(OSError):
            os.write(2, b"stopping after this step; once more stops at once\n")

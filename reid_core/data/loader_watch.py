"""The wait for a batch: it ends with a message when loader processes can give no more of them.

A process that has died is noticed at once, one that stands still after ``PATIENCE``. Both only
while somebody waits, never in the middle of a training step, so that what was trained is whole.
"""

from __future__ import annotations

import contextlib
import errno
import multiprocessing
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from multiprocessing import connection
from multiprocessing.process import BaseProcess
from types import FrameType, TracebackType
from typing import Any, TypeVar

from reid_core.console import duration
from reid_core.data.loader_troubles import LoadingStopped, advice, state_of
from reid_core.errors import ReidError

PATIENCE = 300.0
"""Seconds without a batch that are too many: a batch takes seconds, and a slow start of the
processes, which import torch, less than two minutes."""

TICK = 1.0
"""Seconds between looks at a wait. Time in which this process was stopped does not count."""

DIES_WITHIN = 1.0
"""Seconds that the end of a process may come after what it has broken."""

END_WITHIN = 5.0
"""Seconds that a killed process has to end in."""

Result = TypeVar("Result")

_CHILD = getattr(signal, "SIGCHLD", None)


class LoaderWatch:
    """Watches the processes of one loader while an epoch or a split is read."""

    def __init__(self, processes: list[BaseProcess], asked: int) -> None:
        """Watch processes.

        Args:
            processes: Those that the loader has; those that it starts are added.
            asked: How many it was asked for, for messages.
        """
        self.processes, self._asked = processes, asked
        self._is_waiting, self._waited = False, 0.0
        self._ended, self._main = threading.Event(), threading.main_thread()

    def __enter__(self) -> LoaderWatch:
        """Begin to watch."""
        threading.Thread(target=self._tick, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the watch, and the processes of a loader that has failed."""
        self._ended.set()
        # One that was stopped would outlive this process, or keep it from ending.
        if isinstance(error, LoadingStopped):
            for process in self.processes:
                process.kill()
            for process in self.processes:
                process.join(END_WITHIN)

    def start(self, begin: Callable[[], Result]) -> Result:
        """Call what may start processes, which are watched from then on.

        Raises:
            LoadingStopped: They cannot be started.
        """
        before = set(multiprocessing.active_children())
        try:
            return self.wait(begin)
        finally:
            self.processes += set(multiprocessing.active_children()) - before

    def wait(self, call: Callable[..., Result], *arguments: Any) -> Result:
        """Call what waits for loader processes.

        Raises:
            LoadingStopped: One has died, nothing has come for too long, or what has come cannot
                be received.
        """
        self._is_waiting, self._waited = True, 0.0
        try:
            with _on_child(self._look):
                self._look()
                return call(*arguments)
        except ReidError:
            raise
        except Exception as error:
            stopped = self._stopped(_cause(error, self.processes))
            _let_go(error)
            raise stopped from error
        finally:
            self._is_waiting = False

    def _look(self) -> None:
        """Raise LoadingStopped if it is of no use to wait on."""
        if dead := [process for process in self.processes if _has_failed(process)]:
            raise self._stopped("; ".join(map(state_of, dead)))
        if self._waited >= PATIENCE:
            states = "; ".join(map(state_of, self.processes))
            raise self._stopped(f"no batch has come for {duration(PATIENCE)} ({states})")

    def _tick(self) -> None:
        """Count the seconds of a wait, and make the main thread look when they are too many."""
        while not self._ended.wait(TICK):
            self._waited += TICK
            if self._is_waiting and self._waited >= PATIENCE and _CHILD is not None:
                # Whatever it waits in, a signal wakes it up.
                signal.pthread_kill(self._main.ident or 0, _CHILD)

    def _stopped(self, what: str) -> LoadingStopped:
        return LoadingStopped(
            f"the loader processes give no more batches: {what}. {advice(self._asked)}"
        )


def _has_failed(process: BaseProcess) -> bool:
    """Return whether a process has ended otherwise than it should; those that were asked to do."""
    return bool(process.exitcode) and not getattr(process, "is_over", False)


def _cause(error: Exception, processes: Sequence[BaseProcess]) -> str:
    """Say what has failed: a process that has died explains what was raised because of it."""
    # A connection breaks a moment before the process that held it is known to have ended.
    ending = connection.wait([process.sentinel for process in processes], DIES_WITHIN)
    for process in processes:
        if process.sentinel in ending:
            process.join(DIES_WITHIN)
    if dead := [process for process in processes if _has_failed(process)]:
        return "; ".join(map(state_of, dead))
    last = (str(error).strip().splitlines() or [""])[-1]
    if isinstance(error, OSError) and error.errno == errno.EMFILE:
        last = "too many open files"
    return f"{type(error).__name__}: {last}"


def _let_go(error: Exception) -> None:
    """Free what an error still holds: torch's half-begun loaders complain when they are freed."""
    before, sys.unraisablehook = sys.unraisablehook, lambda complaint: None
    try:
        traceback.clear_frames(error.__traceback__)
    finally:
        sys.unraisablehook = before


@contextlib.contextmanager
def _on_child(look: Callable[[], None]) -> Any:
    """Call a function whenever a child process changes; only the main thread can be told so."""
    if _CHILD is None or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(_CHILD)

    def changed(number: int, frame: FrameType | None) -> None:
        look()
        if callable(before):
            before(number, frame)

    signal.signal(_CHILD, changed)
    try:
        yield
    finally:
        # Also what torch has put there: it would raise in the middle of a step.
        signal.signal(_CHILD, signal.SIG_DFL if before is None else before)

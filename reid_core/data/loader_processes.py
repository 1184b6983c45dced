"""Processes that load batches and end with the process that they load for.

Nothing here imports torch: a new process passes through this file before it imports anything slow,
so that it notices from its first moment on when nobody waits for it any more.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time
from multiprocessing.context import SpawnContext, SpawnProcess
from typing import Any

LOOK_EVERY = 1.0
"""Seconds between looks at the parent, where the kernel does not tell of its end."""

PR_SET_PDEATHSIG = 1
"""Linux: the signal that a process gets when the thread that has started it ends."""


class LoaderProcess(SpawnProcess):
    """A process that ends when its parent does, whatever either of them is doing.

    Attributes:
        is_over: It was ended on purpose.
    """

    is_over = False

    def __reduce__(self) -> tuple[Any, ...]:
        """Let the new process look at its parent before it reads what it is to do."""
        by_kernel = (
            sys.platform == "linux" and threading.current_thread() is threading.main_thread()
        )
        return _born, (type(self), os.getpid(), by_kernel), self.__dict__

    def terminate(self) -> None:
        """End it in a way that also ends a process that was stopped."""
        self.kill()

    def kill(self) -> None:
        """End it."""
        self.is_over = True
        super().kill()


class LoaderContext(SpawnContext):
    """Starts such processes; fork is unsafe once torch or LMDB have started threads."""

    Process = LoaderProcess


def _born(kind: type[LoaderProcess], parent: int, by_kernel: bool) -> LoaderProcess:
    """Return the process that this one is, still empty; it ends if its parent has gone."""
    if by_kernel:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    else:
        threading.Thread(target=_follow, args=(parent,), daemon=True).start()
    if os.getppid() != parent:
        _end()
    return kind.__new__(kind)


def _follow(parent: int) -> None:
    """End this process when its parent has ended."""
    while os.getppid() == parent:
        time.sleep(LOOK_EVERY)
    _end()


def _end() -> None:
    """End this process at once: there is nobody left whom a message could reach."""
    os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))

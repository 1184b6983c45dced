"""What is said of loader processes that have failed, and of the means that they need."""

from __future__ import annotations

import os
import shutil
import signal
from multiprocessing.process import BaseProcess
from pathlib import Path

from reid_core.errors import ReidError

SHARED = Path("/dev/shm")

STATES = {"T": "is stopped", "t": "is stopped by a debugger", "D": "waits for a disk"}
"""What Linux says of a process, where it explains why nothing comes."""


class LoadingStopped(ReidError):
    """No more batches come, and what was done with those before is whole: a run can be resumed."""


def state_of(process: BaseProcess) -> str:
    """Say what a process does, or how it has ended."""
    code = process.exitcode
    if code is None:
        return f"process {process.pid} {STATES.get(_letter(process.pid), 'runs')}"
    if code >= 0:
        return (
            f"process {process.pid} has ended with status {code}, see what it printed (a script of "
            "one's own must start all this under: if __name__ == '__main__')"
        )
    names = {int(number): number.name for number in signal.Signals}
    why = ", as the system does when memory runs out" if code == -signal.SIGKILL else ""
    return f"process {process.pid} was ended by {names.get(-code, f'signal {-code}')}{why}"


def _letter(pid: int | None) -> str:
    """Return the letter of a process's state, empty where the system does not tell."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return ""


def advice(workers: int) -> str:
    """Say what loader processes need, how much of it there is, and what to lower."""
    return (
        f"Each needs memory for its batches{_of_memory()}, room for a few bytes in "
        f"{SHARED}{_of_shared()} and open files{_of_files()}: give more of these, or lower "
        f"'data.workers' ('workers' in eval_params.json; now {workers}, and 0 needs no process) or "
        "the batch size"
    )


def _of_memory() -> str:
    try:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return ""
    return f" ({free >> 20} MB free)"


def _of_shared() -> str:
    try:
        return f" ({shutil.disk_usage(SHARED).free >> 10} kB free)"
    except OSError:
        return " (which is not there)"


def _of_files() -> str:
    try:
        import resource
    except ImportError:  # Windows
        return ""
    return f" ('ulimit -n', now {resource.getrlimit(resource.RLIMIT_NOFILE)[0]})"

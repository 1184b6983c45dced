"""The logger `tensorboard`: curves of losses, monitors, rates and scores as tensorboard events.

``tensorboard --logdir <run directory>`` shows them. A resumed run continues its curves: what was
written after its checkpoint is purged.
"""

from __future__ import annotations

import math
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from reid_core import Component, Params, hookimpl
from reid_core.contracts import Logger

FOLDER = "tensorboard"

PREFIX = "events.out.tfevents."
"""Beginning of the names that tensorboard looks for."""

FLUSH_EVERY = 60.0
"""Seconds after which whoever looks at the curves may see what is new."""


def scalars(record: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Yield (curve, value) of everything in a line that has a curve."""
    if record["kind"] == "train":
        for group in ("losses", "monitors", "rates"):
            yield from ((f"{group}/{name}", value) for name, value in record[group].items())
    elif record["kind"] == "evaluation":
        for name, value in record["metrics"].items():
            yield f"{record['evaluation']}/{name}", value
    elif record["kind"] == "callback":
        for name, value in record["values"].items():
            yield f"{record['name']}/{name}", value


class TensorboardLogger(Logger):
    """Writes events with the record writer of tensorboardX, at once.

    Its ``SummaryWriter`` hands them to a thread. When that has ended, because the disk is full or
    the clock was set back, whoever adds an event waits for ever. Here the error arrives.
    """

    def __init__(self, folder: Path, step: int) -> None:
        """Open the folder; what lies there of later steps than ``step`` is purged."""
        from tensorboardX.proto.event_pb2 import SessionLog
        from tensorboardX.record_writer import RecordWriter

        folder.mkdir(parents=True, exist_ok=True)
        self._file, self._flushed = RecordWriter(str(folder / _file_name(folder))), -math.inf
        self._write(file_version="brain.Event:2")
        self._write(step=step + 1, session_log=SessionLog(status=SessionLog.START))

    def write(self, record: Mapping[str, Any]) -> None:
        """Add a point to the curve of every number in the record."""
        from tensorboardX.summary import scalar

        for name, value in scalars(record):
            self._write(step=record["step"], summary=scalar(name, value))
        if time.monotonic() - self._flushed >= FLUSH_EVERY:
            self.flush()

    def flush(self) -> None:
        """Bring the events to the disk."""
        with self._closed_on_error():
            self._file.flush()
        self._flushed = time.monotonic()

    def close(self) -> None:
        """Close the file."""
        with self._closed_on_error():
            self._file.close()

    def _write(self, **facts: Any) -> None:
        from tensorboardX.proto.event_pb2 import Event

        with self._closed_on_error():
            self._file.write(Event(wall_time=time.time(), **facts).SerializeToString())

    @contextmanager
    def _closed_on_error(self) -> Iterator[None]:
        """Close the file if it cannot be written, so that nothing is tried again later."""
        try:
            yield
        except OSError:
            with suppress(OSError):
                self._file.close()
            raise


def _file_name(folder: Path) -> str:
    """Return a name behind all that are there: they are read in the order of their numbers."""
    numbers = [path.name.removeprefix(PREFIX).partition(".")[0] for path in folder.iterdir()]
    last = max((int(number) for number in numbers if number.isdecimal()), default=0)
    # The clock may stand before it, in the same second or because it was set back.
    return f"{PREFIX}{max(last + 1, int(time.time()))}.{socket.gethostname()}"


def build(params: Params, *, directory: Path, step: int) -> Logger:
    """Return the logger of a run."""
    return TensorboardLogger(directory / FOLDER, step)


@hookimpl
def reid_logger() -> list[Component]:
    """Offer the logger."""
    return [
        Component(
            name="tensorboard",
            build=build,
            summary="Curves of losses, monitors, rates and scores as tensorboard events",
        )
    ]

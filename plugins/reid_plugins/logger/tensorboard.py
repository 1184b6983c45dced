"""The logger `tensorboard`: curves of losses, monitors, rates and scores as tensorboard events.

``tensorboard --logdir <run directory>`` shows them. A resumed run continues its curves: what was
written after its checkpoint is purged.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from reid_core import Component, Params, hookimpl
from reid_core.contracts import Logger

FOLDER = "tensorboard"


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
    """Writes events with tensorboardX."""

    def __init__(self, folder: Path, step: int) -> None:
        """Open the folder; what lies there of later steps than ``step`` is purged."""
        from tensorboardX import SummaryWriter

        self._events = SummaryWriter(str(folder), purge_step=step + 1)

    def write(self, record: Mapping[str, Any]) -> None:
        """Add a point to the curve of every number in the record."""
        for name, value in scalars(record):
            self._events.add_scalar(name, value, record["step"])

    def flush(self) -> None:
        """Bring the events to the disk."""
        self._events.flush()

    def close(self) -> None:
        """Close the file."""
        self._events.close()


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

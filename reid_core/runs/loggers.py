"""The loggers of a run: where the lines of metrics.jsonl also go."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from reid_core.boundary import Origin
from reid_core.console import warn
from reid_core.contracts import Logger
from reid_core.errors import ReidError
from reid_core.params.entries import LoggerEntry


class Loggers:
    """Hands every line to every logger; one that fails is named and left out from then on."""

    def __init__(self, entries: Sequence[LoggerEntry], directory: Path, step: int) -> None:
        """Build the loggers of the params.

        Args:
            entries: The params' ``logger`` section.
            directory: The run directory.
            step: Step that the run continues from.

        Raises:
            ReidError: One of them cannot be built.
        """
        self._loggers: list[tuple[Origin, Logger]] = []
        for entry in entries:
            logger = entry.build(directory=directory, step=step)
            if not callable(getattr(logger, "write", None)):
                raise entry.origin.fault(f"was built as {logger!r}, which has no 'write(record)'")
            self._loggers.append((entry.origin, logger))

    def write(self, record: Mapping[str, Any]) -> None:
        """Hand a line to every logger, each a copy of its own."""
        text = json.dumps(record)
        self._each("at a line of metrics.jsonl", lambda logger: logger.write(json.loads(text)))

    def flush(self) -> None:
        """Let every logger bring what it has to the disk."""
        self._each("when it was flushed", lambda logger: _call(logger, "flush"))

    def close(self) -> None:
        """End the work of every logger."""
        self._each("when it was closed", lambda logger: _call(logger, "close"))

    def _each(self, place: str, do: Callable[[Logger], None]) -> None:
        """Do something with every logger; curves are not worth a training."""
        for origin, logger in list(self._loggers):
            try:
                with origin.calling(place):
                    do(logger)
            except ReidError as error:
                self._loggers.remove((origin, logger))
                warn(f"{error}; the training goes on without this logger")


def _call(logger: Logger, method: str) -> None:
    """Call a method that a logger need not have."""
    if callable(found := getattr(logger, method, None)):
        found()

"""Loggers: they take every line of the record, and leave the run's other files alone."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reid_core.testing.subject import Subject, expect

LINES: tuple[Mapping[str, Any], ...] = (
    {
        "kind": "train",
        "step": 1,
        "epoch": 0.5,
        "total": 1.0,
        "losses": {"identity": 1.0},
        "monitors": {"accuracy": 0.5},
        "rates": {"new": 0.1},
    },
    {
        "kind": "evaluation",
        "step": 2,
        "evaluation": "ranking",
        "target": "market",
        "primary": "mAP",
        "metrics": {"mAP": 0.5},
        "card": {},
    },
    {"kind": "callback", "step": 2, "epoch": 1, "name": "clusters", "values": {"number": 3.0}},
    {"kind": "something_new", "step": 3},
)
"""A line of every kind, and one of a kind that there is not yet."""


def write_lines(subject: Subject, directory: Path, step: int = 0) -> None:
    """Build the logger and let it take every line, from a step on; then end its work."""
    logger = subject.build(directory=directory, step=step)
    expect(callable(getattr(logger, "write", None)), "it has no 'write(record)'")
    for line in LINES:
        if line["step"] > step:
            logger.write(json.loads(json.dumps(line)))
    for method in ("flush", "close"):
        if callable(found := getattr(logger, method, None)):
            found()


def it_takes_every_line_and_a_run_can_go_on_from_an_earlier_step(subject: Subject) -> None:
    """A logger that fails is left out, and its curves end there."""
    with tempfile.TemporaryDirectory() as folder:
        for step in (0, 1, 3):
            write_lines(subject, Path(folder), step)


def the_other_files_of_the_run_are_left_as_they_were(subject: Subject) -> None:
    """They are the training's."""
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / name for name in ("params.json", "metrics.jsonl", "weights/x")]
        for file in files:
            file.parent.mkdir(exist_ok=True)
            file.write_text(file.name)
        write_lines(subject, Path(folder))
        changed = [f.name for f in files if not f.is_file() or f.read_text() != f.name]
        expect(not changed, f"changed: {', '.join(changed)}")


CHECKS = (
    it_takes_every_line_and_a_run_can_go_on_from_an_earlier_step,
    the_other_files_of_the_run_are_left_as_they_were,
)

"""What the tests of stopped and resumed trainings share."""

import json


class Killed(Exception):
    """Ends a training where a test raises it; nothing is saved any more."""


def lines_of(run, *kinds):
    """Return the lines of metrics.jsonl without what depends on the machine and the clock."""
    machine = ("images_per_second", "memory_mb", "time")
    lines = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    return [
        {k: v for k, v in line.items() if k not in machine}
        for line in lines
        if not kinds or line["kind"] in kinds
    ]

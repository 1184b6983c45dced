"""The lines of a run's ``metrics.jsonl``, checked before anybody counts on them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reid_core.errors import ReidError
from reid_core.files import DAMAGED

NUMBER, TEXT, NUMBERS = "a number", "a text", "numbers by name"

PLACE = {"evaluation": TEXT, "target": TEXT, "metrics": NUMBERS}
FIELDS: Mapping[str, Mapping[str, str]] = {
    "train": {"epoch": NUMBER, "total": NUMBER, "losses": NUMBERS, "rates": NUMBERS},
    "evaluation": {"epoch": NUMBER, "primary": TEXT, **PLACE},
    "baseline": {"name": TEXT, **PLACE},
    "callback": {"epoch": NUMBER, "name": TEXT, "values": NUMBERS},
}
"""What a line of each kind must have; a line of another kind needs none of it."""


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a record, each with ``kind`` and ``step``, in order.

    Half a line at the end, which a run that was killed leaves, is left out.

    Raises:
        ReidError: There is no such file, or a line of it is damaged.
    """
    try:
        texts = path.read_text(encoding="utf-8").splitlines(keepends=True)
    except DAMAGED as error:
        raise ReidError(f"{path}: the record is missing or damaged: {error}") from None
    lines = []
    for number, text in enumerate(texts, start=1):
        line = _parsed(text)
        problem = _problem(line)
        if problem and number == len(texts) and not text.endswith("\n"):
            break
        if problem:
            raise ReidError(f"{path}: the record is damaged: line {number}: {problem}")
        lines.append(dict(line))
    return lines


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _problem(line: Any) -> str | None:
    """Return what is wrong with a line."""
    if not isinstance(line, dict):
        return "it is not a JSON object"
    kind = line.get("kind")
    if not _is("a text", kind) or not _is(NUMBER, line.get("step")):
        return "it has no 'kind' and 'step'"
    for name, expected in FIELDS.get(str(kind), {}).items():
        if not _is(expected, line.get(name)):
            return f"'{name}' is not {expected}"
    if kind == "evaluation" and line["primary"] not in line["metrics"]:
        return f"'{line['primary']}' is none of its metrics"
    return None


def _is(expected: str, value: Any) -> bool:
    """Tell whether a value is what a field must have; NaN and infinity are numbers of JSON's."""
    if expected == TEXT:
        return isinstance(value, str)
    if expected == NUMBER:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, dict) and all(_is(NUMBER, one) for one in value.values())

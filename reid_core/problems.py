"""All problems of one source in one message, so that they are put right together."""

from __future__ import annotations

import re
from collections.abc import Iterable

from reid_core.errors import ReidError, counted

SHOWN = 5
"""Problems of one cause that are written out; the rest are counted."""

CAUSES = 12
"""Causes that are written out, likewise."""

VALUES = re.compile(r"'[^']*'|\"[^\"]*\"|[0-9]+")
"""What differs between two problems of one cause."""


def raise_problems(
    problems: Iterable[str], what: str, whose: str = "", *, one: str | None = None
) -> None:
    """Raise a ReidError that lists the problems by cause, if there are any.

    Args:
        problems: Lines ``"where: what is wrong"``.
        what: What they are, after their number, such as ``"images cannot be used"``.
        whose: Beginning of the message.
        one: Likewise of a single one, such as ``"image cannot be used"``; None: as ``what``.
    """
    lines = list(problems)
    if lines:
        number = counted(len(lines), one or what, what)
        raise ReidError(f"{whose}{number}:", *(f"  {line}" for line in by_cause(lines)))


def by_cause(problems: Iterable[str]) -> list[str]:
    """Return problems of one cause below each other, the first few of each cause.

    Args:
        problems: Lines ``"where: what is wrong"``; those that differ only in where, in numbers
            and in quoted words are of one cause.
    """
    causes: dict[str, list[str]] = {}
    for line in problems:
        where, colon, text = line.partition(": ")
        causes.setdefault(VALUES.sub("_", text if colon else where), []).append(line)
    found = []
    for lines in list(causes.values())[:CAUSES]:
        found += lines[:SHOWN]
        found += [f"... and {len(lines) - SHOWN} more like this"] if len(lines) > SHOWN else []
    rest = list(causes.values())[CAUSES:]
    more = f"... and {sum(map(len, rest))} more of {counted(len(rest), 'other cause')}"
    return [*found, more] if rest else found

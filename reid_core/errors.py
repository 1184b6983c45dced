"""The one exception for everything a user can put right."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

LONGEST_SHOWN = 80
"""Characters of a wrong value that a message repeats."""


class ReidError(Exception):
    """A mistake in the user's input; its text says what is wrong, where, and what to do.

    The command line prints each argument as one line and exits with status 2; there is no
    traceback. A line break within an argument, such as one in a name, is spelt out.
    """

    def __str__(self) -> str:
        """Return the lines."""
        return "\n".join(map(str, self.args))


class ParamsError(ReidError):
    """All problems of one params file, one line each.

    Attributes:
        problems: ``"path: what is wrong; what to do"`` lines without the file's name.
    """

    def __init__(self, source: str, problems: Iterable[str]) -> None:
        """Join the problems under the name of their file."""
        self.source = source
        self.problems = [" ".join(problem.split("\n")) for problem in problems]
        super().__init__(*(f"{source}: {problem}" for problem in self.problems))

    def __reduce__(self) -> tuple[type[ParamsError], tuple[str, list[str]]]:
        """Say how to rebuild it in another process."""
        return type(self), (self.source, self.problems)


def did_you_mean(word: str, candidates: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the closest candidate, or an empty string."""
    by_lower_case = {candidate.lower(): candidate for candidate in candidates}
    close = difflib.get_close_matches(word.lower(), by_lower_case, n=1, cutoff=0.6)
    return f"; did you mean '{by_lower_case[close[0]]}'?" if close else ""


def name_list(names: Iterable[str], limit: int = 12) -> str:
    """Return the names sorted, comma-separated and cut after ``limit`` of them."""
    ordered = sorted(names)
    shown = ", ".join(ordered[:limit])
    return f"{shown}, ... ({len(ordered)} in all)" if len(ordered) > limit else shown or "none"


def counted(count: int, one: str, many: str | None = None) -> str:
    """Return a number with what it counts.

    Args:
        count: 0 or larger.
        one: The words for a single one, such as ``"image is"``.
        many: Those for all other numbers; None: ``one`` with an ``s``.

    >>> counted(1, "image"), counted(2, "image"), counted(0, "query", "queries")
    ('1 image', '2 images', '0 queries')
    """
    return f"{count} {one if count == 1 else many or f'{one}s'}"


def shortened(text: str) -> str:
    """Return the part of a user's text that a message repeats."""
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}..."

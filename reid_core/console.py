"""What a person sees while a command works: rich bars on a terminal, plain lines in a pipe.

Everything that is printed goes through ``say``: nothing in it is obeyed by the terminal.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol

from reid_core.printable import encodable, one_line

PLAIN_LINE_EVERY = 10.0
"""Seconds between progress lines when the output is not a terminal."""


class Ticker(Protocol):
    """Called with (steps done, steps in all, text) as often as one likes."""

    def __call__(self, done: int, total: int, text: str = "") -> None:
        """Show the progress."""


_listeners: ContextVar[tuple[Callable[[str], None], ...]] = ContextVar("listeners", default=())


def say(text: str = "") -> None:
    r"""Print one line at once, also into a pipe.

    Escape sequences, line breaks and the like are spelt out (``\x1b``, ``\n``), long words
    shortened, and characters that the output's encoding lacks escaped.
    """
    line = one_line(text)
    _tell(line)
    if sys.stdout is None:
        return
    was_lost = output_failure()
    # What stands in its place need be no more than something to write to.
    print(encodable(line, getattr(sys.stdout, "encoding", None)), flush=True)
    if output_failure() != was_lost:
        _tell(output_failure())


def _tell(line: str) -> None:
    """Hand a line to those who listen."""
    for listen in _listeners.get():
        listen(line)


def output_failure() -> str:
    """Say why nothing can be printed any more; empty while all is well."""
    error = getattr(sys.stdout, "lost", None)  # of an ``Outlived``
    return f"standard output cannot be written: {error}; what follows stands here" if error else ""


def warn(text: str) -> None:
    """Print what a person should know and what does not stop the command."""
    say(f"warning: {text}")


@contextmanager
def heard_by(listen: Callable[[str], None]) -> Iterator[None]:
    """Hand every line that is said in the block to a function as well, such as a run's log."""
    token = _listeners.set((*_listeners.get(), listen))
    try:
        yield
    finally:
        _listeners.reset(token)


@contextmanager
def progress_bar(label: str) -> Iterator[Ticker]:
    """Give a function that shows progress under a label, with the time left."""
    is_terminal = getattr(sys.stdout, "isatty", None)
    if is_terminal is not None and is_terminal():
        with _rich_bar(label) as tick:
            yield tick
    else:
        yield _plain_lines(label)


@contextmanager
def _rich_bar(label: str) -> Iterator[Ticker]:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[text]}", markup=False),
    )
    with Progress(*columns) as bars:
        task = bars.add_task(one_line(label), total=None, text="")
        last = ""

        def tick(done: int, total: int, text: str = "") -> None:
            nonlocal last
            bars.update(task, completed=done, total=total, text=one_line(text))
            last = f"{label}: {done}/{total}{', ' if text else ''}{text}"

        yield tick
    if last:
        _tell(one_line(last))  # a bar says nothing that could be heard


def _plain_lines(label: str) -> Ticker:
    start = shown = time.monotonic()

    def tick(done: int, total: int, text: str = "") -> None:
        nonlocal shown
        now = time.monotonic()
        # The last line is worth printing when it carries numbers.
        if now - shown < PLAIN_LINE_EVERY and not (text and done == total):
            return
        shown = now
        left = (now - start) / max(1, done) * (total - done)
        say(f"{label}: {done}/{total}, {duration(left)} left{', ' if text else ''}{text}")

    return tick


def duration(seconds: float) -> str:
    """Write a duration as ``42 s``, ``3 min 20 s`` or ``5 h 3 min``."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60} min"

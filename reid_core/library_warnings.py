"""Warnings of libraries, as lines like our own: what Python prints of them is for programmers."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from reid_core.console import warn


@contextmanager
def libraries_warn_as_we_do() -> Iterator[None]:
    """Print each warning that a library raises in the block once, as one line."""
    with warnings.catch_warnings():
        warnings.showwarning = once()
        yield


def once() -> Callable[..., None]:
    """Return what takes the place of ``warnings.showwarning``; it says nothing twice."""
    said: set[str] = set()

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        text = " ".join(str(message).split())
        if text not in said:
            said.add(text)
            warn(f"{text} ({category.__name__} of {Path(filename).name}:{lineno})")

    return show

"""Image files in folders, for datasets that are laid out as folders."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from reid_core import ReidError
from reid_core.files import user_path

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp"})
"""Endings of files that count as images, in lower case."""


def open_root(dataset: str, root: str) -> Path:
    """Return the folder of a dataset.

    Here and wherever users name files, ``os.path`` is asked: of a name that is too long,
    ``Path`` does not say that it is absent but raises.

    Raises:
        ReidError: There is no such folder.
    """
    path = user_path(root)
    if not os.path.isdir(path):
        raise ReidError(f"dataset {dataset}: root '{root}' is not a folder (from '{Path.cwd()}')")
    return path


def image_names(folder: Path, suffixes: frozenset[str] = IMAGE_SUFFIXES) -> list[str]:
    """Return the names of the images directly in a folder, sorted; other files are left out."""
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if entry.is_file()]
    return sorted(name for name in names if _is_shown(name) and _suffix(name) in suffixes)


def folder_names(folder: Path) -> list[str]:
    """Return the names of the folders in a folder, sorted; hidden ones are left out."""
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir() and _is_shown(entry.name))


def first_of(names: Iterable[str], limit: int = 10) -> str:
    """Return up to ``limit`` quoted names, and how many more there are."""
    every = list(names)
    shown = ", ".join(f"'{name}'" for name in every[:limit])
    return f"{shown} and {len(every) - limit} more" if len(every) > limit else shown


def _is_shown(name: str) -> bool:
    """Tell whether a name is not hidden, such as the '._x.jpg' that macOS leaves in archives."""
    return not name.startswith(".")


def _suffix(name: str) -> str:
    """Return the ending in lower case."""
    return os.path.splitext(name)[1].lower()

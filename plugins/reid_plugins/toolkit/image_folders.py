"""What lies in a folder of images, for datasets that are laid out as folders; nothing is dropped.

``folder_of`` sorts what it finds into images, folders and the rest, which goes into
``Listing.skipped``, so that packing says what was left out.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from reid_core import ReidError
from reid_core.files import user_path
from reid_core.image_formats import is_image_name


@dataclass(frozen=True)
class Folder:
    """The names in a folder, sorted.

    Attributes:
        path: The folder.
        images: Files whose ending is one of an image.
        folders: Folders.
        others: The rest: other files, all that is hidden such as the '._x.jpg' that macOS leaves in
            archives, and links that lead nowhere. A hidden folder ends in '/'.
    """

    path: Path
    images: list[str]
    folders: list[str]
    others: list[str]

    def left_out(self, root: Path, read: Iterable[str] = ()) -> list[str]:
        """Return what is not read, as paths from a root; folders end in '/'.

        Args:
            root: Of the dataset.
            read: Folders that are read.
        """
        taken = set(read)
        names = [*self.others, *(f"{name}/" for name in self.folders if name not in taken)]
        below = self.path.relative_to(root).as_posix()
        return [name if below == "." else f"{below}/{name}" for name in names]


def folder_of(path: Path) -> Folder:
    """Return what lies directly in a folder.

    Raises:
        ReidError: It cannot be read.
    """
    images, folders, others = [], [], []
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                is_folder = entry.is_dir()
                if is_folder and not entry.name.startswith("."):
                    folders.append(entry.name)
                elif entry.is_file() and is_image_name(entry.name):
                    images.append(entry.name)
                else:
                    others.append(f"{entry.name}/" if is_folder else entry.name)
    except OSError as error:
        raise ReidError(f"{path}: cannot be read: {error.strerror}") from None
    return Folder(path, sorted(images), sorted(folders), sorted(others))


def open_root(dataset: str, root: str) -> Path:
    """Return the folder of a dataset.

    Here and wherever users name files, ``os.path`` is asked: of a name that is too long,
    ``Path`` does not say that it is absent but raises.

    Args:
        dataset: Its name, for the message.
        root: The folder as the params name it.

    Raises:
        ReidError: There is no such folder.
    """
    path = user_path(root)
    if not os.path.isdir(path):
        raise ReidError(f"dataset {dataset}: root '{root}' is not a folder (from '{Path.cwd()}')")
    return path


def first_of(names: Iterable[str], limit: int = 10) -> str:
    """Return up to ``limit`` quoted names, and how many more there are."""
    every = list(names)
    shown = ", ".join(f"'{name}'" for name in every[:limit])
    return f"{shown} and {len(every) - limit} more" if len(every) > limit else shown

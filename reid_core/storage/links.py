"""Where a dataset's file really lies: links lead out of the dataset's folder only when asked."""

from __future__ import annotations

import os
import stat
from pathlib import Path

MOST_LINKS = 40
"""Links on the way to one file; Linux follows no more either."""

SYSTEM = 0
"""User number of the system, whose links outside the data folder lead wherever they like."""


class LinkRule:
    """Says of a file whether it may be read as one of a dataset's.

    A file that lies in the dataset's folder, links followed, may be. Another one may if links may
    be followed and the owner of the folder has made every link on the way: somebody else's could
    lead to anything, and could be changed by them.
    """

    def __init__(self, root: Path, *, follow_links: bool) -> None:
        """Look at the folder, which may itself be a link.

        Args:
            root: The dataset's folder.
            follow_links: Whether links may lead out of it.
        """
        self.root, self.follow_links = root, follow_links
        self._given, self._real = os.path.abspath(root), os.path.realpath(root)
        self._owners = {s.st_uid for s in map(_state, (self._given, self._real)) if s}
        self._folders: dict[str, tuple[str, str, int]] = {self._given: (self._real, "", 0)}

    def problem(self, file: Path) -> str:
        """Say why a file may not be read; empty: it may, or is not there."""
        given = os.path.abspath(file)
        outside = f"lies outside the data folder {self.root}"
        if not _is_below(given, self._given):
            return "" if _is_below(os.path.realpath(given), self._real) else outside
        try:
            real, stranger, _ = self._resolved(given)
        except OSError:
            return ""  # whoever reads it says why it cannot be
        if _is_below(real, self._real):
            return ""
        if self.follow_links:
            return f"{outside}: {stranger}" if stranger else ""
        return (
            f'{outside}, at {real}: links lead out of it only with "follow_links": true beside '
            'the dataset\'s "name"'
        )

    def _resolved(self, path: str) -> tuple[str, str, int]:
        """Return where a path leads, the first link that is not to be followed, and their number.

        Raises:
            OSError: It leads nowhere, or in a circle.
        """
        if path in self._folders:
            return self._folders[path]
        parent, name = os.path.split(path)
        at, stranger, count = self._resolved(parent)
        self._folders[parent] = at, stranger, count
        left = [name]
        while left:
            part = left.pop()
            if part == os.pardir:
                at = os.path.dirname(at)
                continue
            place = os.path.join(at, part)
            state = os.lstat(place)
            if not stat.S_ISLNK(state.st_mode):
                at = place
                continue
            count += 1
            if count > MOST_LINKS:
                raise OSError(0, "too many links")
            stranger = stranger or self._stranger(place, state.st_uid)
            target = os.readlink(place)
            at = os.sep if os.path.isabs(target) else at
            left += reversed([p for p in target.split(os.sep) if p not in ("", os.curdir)])
        return at, stranger, count

    def _stranger(self, link: str, owner: int) -> str:
        """Say that a link is not one of those that are followed; empty: it is."""
        inside = _is_below(link, self._real)
        if owner in self._owners or (owner == SYSTEM and not inside):
            return ""
        owners = " or ".join(map(str, sorted(self._owners)))
        return (
            f"the link {link} was made by user {owner}, and only those of the folder's owner "
            f"({owners}) are followed; copy what it leads to, or make the link yourself"
        )


def _is_below(path: str, folder: str) -> bool:
    """Tell whether a path is a folder, or lies in it."""
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def _state(path: str) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except OSError:
        return None

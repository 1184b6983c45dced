"""What a dataset, or its packing, has left out: for the store's manifest, and for the user."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reid_core.console import say, warn
from reid_core.contracts import Listing
from reid_core.errors import counted
from reid_core.problems import by_cause

SHOWN_NAMES = 10
"""Names that are written out; the rest are counted."""

PHOTOS = (".heic", ".heif", ".avif", ".jp2", ".jxl", ".dng", ".svg", ".psd")
"""Endings of pictures that people have, and that are not decoded here."""

OF_SYSTEMS = {"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "__macosx"}
"""Files and folders that operating systems leave everywhere, in lower case, beside hidden ones."""


@dataclass(frozen=True)
class LeftOut:
    """What of a dataset is not in its store.

    Attributes:
        unreadable: A line ``"name: why"`` for each image that was left out because it, or what
            lies beside it, cannot be read.
        images: Their names.
        others: Files and folders that the dataset did not take for images, each with its cause.
        of_systems: Likewise hidden ones and what operating systems leave everywhere.
        warnings: What else the dataset has said.
    """

    unreadable: Sequence[str]
    images: Sequence[str]
    others: Mapping[str, str]
    of_systems: Sequence[str]
    warnings: Sequence[str]

    @classmethod
    def of(cls, listing: Listing, kept: Iterable[int], unreadable: Sequence[str]) -> LeftOut:
        """Sort what a listing has skipped, and name its images that were not kept.

        Args:
            listing: All images, and what was no image.
            kept: Positions in the listing of the images that are in the store.
            unreadable: A line for each thing that cannot be read.
        """
        there = set(kept)
        images = [r.name for i, r in enumerate(listing.records) if i not in there]
        hidden = [name for name in listing.skipped if _is_of_system(name)]
        others = {n: _cause(n, listing.root) for n in listing.skipped if not _is_of_system(n)}
        return cls(unreadable, images, others, hidden, listing.warnings)

    def entries(self) -> dict[str, Any]:
        """Return the manifest's ``skipped`` and ``warnings``; without any of it, none."""
        names, skipped = [*self.images, *self.others], {}
        if names or self.of_systems:
            skipped = {
                "count": len(names),
                "names": names[:SHOWN_NAMES],
                "unreadable": len(self.images),
                "of_systems": len(self.of_systems),
            }
        given = {"skipped": skipped, "warnings": list(self.warnings)}
        return {name: value for name, value in given.items() if value}

    def tell(self, dataset: str) -> None:
        """Say it to the user, a warning each."""
        for text in self.warnings:
            warn(f"{dataset}: {text}")
        if self.images:
            one, many = "image cannot be read and is", "images cannot be read and are"
            warn(f"{dataset}: {counted(len(self.images), one, many)} left out:")
            for line in by_cause(self.unreadable):
                say(f"  {line}")
        for cause in dict.fromkeys(self.others.values()):
            names = [name for name, found in self.others.items() if found == cause]
            more = f" and {len(names) - SHOWN_NAMES} more" if len(names) > SHOWN_NAMES else ""
            shown = ", ".join(f"'{name}'" for name in names[:SHOWN_NAMES])
            warn(f"{dataset}: left out, {cause}: {len(names)}, {shown}{more}")
        if self.of_systems:
            number = counted(
                len(self.of_systems),
                "hidden file or file of an operating system is left out:",
                "hidden files or files of operating systems are left out, such as",
            )
            warn(f"{dataset}: {number} '{self.of_systems[0]}'")


def _cause(name: str, root: Path | None) -> str:
    """Say why a file or folder is no image of a dataset."""
    path = None if root is None else root / name
    if name.endswith("/"):
        return "folders that are not read"
    if path is not None and path.is_symlink() and not path.exists():
        return "links that lead nowhere"
    if path is not None and not path.exists():
        return "files that are not there"
    if name.lower().endswith(PHOTOS):
        return "pictures of formats that are not read (convert them to JPEG or PNG)"
    return "files that are no images"


def _is_of_system(name: str) -> bool:
    last = name.rstrip("/").rpartition("/")[2]
    return last.startswith(".") or last.lower() in OF_SYSTEMS

"""What a dataset, or its packing, has left out: for the store's manifest, and for the user."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from reid_core.console import say, warn
from reid_core.contracts import Listing
from reid_core.problems import by_cause

SHOWN_NAMES = 10
"""Names that are written out; the rest are counted."""

OF_SYSTEMS = {"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "__macosx"}
"""Files and folders that operating systems leave everywhere, in lower case, beside hidden ones."""


@dataclass(frozen=True)
class LeftOut:
    """What of a dataset is not in its store.

    Attributes:
        unreadable: A line ``"name: why"`` for each image that was left out because it, or what
            lies beside it, cannot be read.
        images: Their names.
        others: Files and folders that the dataset did not take for images.
        of_systems: Likewise hidden ones and what operating systems leave everywhere.
        warnings: What else the dataset has said.
    """

    unreadable: Sequence[str]
    images: Sequence[str]
    others: Sequence[str]
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
        others = [name for name in listing.skipped if not _is_of_system(name)]
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
            warn(f"{dataset}: {len(self.images)} images cannot be read and are left out:")
            for line in by_cause(self.unreadable):
                say(f"  {line}")
        if self.others:
            more = len(self.others) - SHOWN_NAMES
            shown = ", ".join(f"'{name}'" for name in self.others[:SHOWN_NAMES])
            warn(
                f"{dataset}: {len(self.others)} files and folders are not read as images: {shown}"
                + (f" and {more} more" if more > 0 else "")
            )
        if self.of_systems:
            warn(
                f"{dataset}: {len(self.of_systems)} hidden files or files of operating systems are "
                f"left out, such as '{self.of_systems[0]}'"
            )


def _is_of_system(name: str) -> bool:
    last = name.rstrip("/").rpartition("/")[2]
    return last.startswith(".") or last.lower() in OF_SYSTEMS

"""The statistics of a store for people, a line for each split."""

from __future__ import annotations

from collections.abc import Iterator

from reid_core.errors import counted
from reid_core.storage.store import Index

ONE = {
    "images": "image",
    "identities": "identity",
    "cameras": "camera",
    "distractors": "distractor",
}
"""What a single one is called, where that is another word."""


def statistics_lines(index: Index) -> Iterator[str]:
    """Yield ``query: 3 images, 1 identity, 2 cameras``; what there is none of is left out."""
    for split, numbers in index.statistics().items():
        found = (counted(n, ONE.get(what, what), what) for what, n in numbers.items() if n)
        yield f"{split}: {', '.join(found)}"

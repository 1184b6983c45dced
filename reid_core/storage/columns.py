"""Columns of images as their datasets have them, and whether several can be joined."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from reid_core.errors import name_list
from reid_core.storage.store import Store

BUILT_IN = ("camid", "source")
"""Columns that every image has: its camera, and its dataset."""


def column_of(store: Store, name: str, at: np.ndarray) -> np.ndarray | None:
    """Return a column of some images of a store as it is, but ``source``; None: it has none."""
    column = store.index.camid if name == "camid" else store.index.columns.get(name)
    return None if column is None else column[at]


def column_problem(
    name: str, stores: Sequence[tuple[str, Store]], parts: Sequence[np.ndarray | None]
) -> str | None:
    """Return why the columns of one name of several datasets cannot be joined, if they cannot.

    Args:
        name: Of the column.
        stores: The datasets with their labels.
        parts: Their columns; None where there is none.
    """
    lacking = [
        f"'{label}' (it has: {name_list([*BUILT_IN, *store.index.columns])})"
        for (label, store), part in zip(stores, parts, strict=True)
        if part is None
    ]
    if lacking:
        return (
            f"the column '{name}' is read, and there is none in the data of {', '.join(lacking)}; "
            "take data that have it, or leave out what reads it"
        )
    kinds = {"str" if part is not None and part.dtype.kind == "U" else "int" for part in parts}
    if len(kinds) > 1:
        labels = ", ".join(f"'{label}'" for label, _ in stores)
        return (
            f"the column '{name}' has numbers in one dataset and texts in another ({labels}); "
            "leave out what reads it, or write it alike"
        )
    return None

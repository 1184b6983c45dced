"""What a network is told of the images of a store beside their pixels."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from reid_core.contracts import SideValues
from reid_core.data.store import Index


def side_codes(
    values: SideValues, label: str, index: Index, at: np.ndarray
) -> dict[str, np.ndarray]:
    """Return the numbers of some images in every column that a network looks at.

    Args:
        values: What the network's numbers stand for.
        label: The dataset's name in the run; a value of another dataset is another one.
        index: Of the dataset's store.
        at: ``(N,)`` positions in it.

    Returns:
        ``(N,)`` int64 by column; -1 for a value that no training image had, and for all images of
        a dataset without the column.
    """
    columns: Mapping[str, np.ndarray] = {
        **getattr(index, "columns", {}),
        "camid": index.camid,
        "source": np.full(len(index), label),
    }
    found = {}
    for name, known in values.items():
        numbers = {value: i for i, (dataset, value) in enumerate(known) if dataset == label}
        if name in columns:
            given = [numbers.get(value, -1) for value in columns[name][at].tolist()]
            found[name] = np.array(given, np.int64)
        else:
            found[name] = np.full(len(at), -1, np.int64)
    return found

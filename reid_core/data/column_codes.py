"""Columns numbered over all images that are trained on, as networks and losses read them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from reid_core.data.training_images import TrainingImages
from reid_core.storage.columns import column_of
from reid_core.storage.store import Store

Value = int | str
Values = tuple[tuple[str, Value], ...]
"""(dataset, value) of every code of a column, in their order."""


@dataclass(frozen=True)
class ColumnCodes:
    """How the values of columns are numbered: by the (dataset, value) of the training images.

    Attributes:
        values: By column, the (dataset, value) of the codes 0, 1, ...: the datasets in the order
            of the params, the values of each sorted. They can go through JSON. The value of
            ``source`` is the dataset's label.
    """

    values: Mapping[str, Values]

    @classmethod
    def of(cls, images: TrainingImages, names: Iterable[str]) -> ColumnCodes:
        """Number the values of columns over all training images; unknown ones get no number.

        Raises:
            ReidError: A dataset lacks a column; see ``TrainingImages.columns``.
        """
        wanted = list(dict.fromkeys(names))
        images.columns(wanted)  # says what is missing
        return cls(
            {
                name: tuple(
                    (label, value)
                    for label, store, at in images.parts()
                    for value in np.unique(_labelled(label, store, name, at)).tolist()
                    if value not in (-1, "")
                )
                for name in wanted
            }
        )

    def sizes(self) -> dict[str, int]:
        """Return the number of codes of each column."""
        return {name: len(values) for name, values in self.values.items()}

    def of_store(self, label: str, store: Store, at: np.ndarray) -> dict[str, np.ndarray]:
        """Return the codes ``(n,)`` int64 of images of any store, by column.

        Args:
            label: Of the dataset, as the training calls it; of another one nothing is known.
            store: The images.
            at: Positions of n of them.

        Returns:
            -1 for what no training image of this dataset has.
        """
        found = {}
        for name, values in self.values.items():
            codes = {value: i for i, (dataset, value) in enumerate(values) if dataset == label}
            given = _labelled(label, store, name, at).tolist()
            found[name] = np.array([codes.get(value, -1) for value in given], dtype=np.int64)
        return found

    def of_images(self, images: TrainingImages) -> dict[str, np.ndarray]:
        """Return the codes ``(N,)`` int64 of some images of several datasets, by column."""
        parts = [self.of_store(label, store, at) for label, store, at in images.parts()]
        return {name: np.concatenate([part[name] for part in parts]) for name in self.values}


def _labelled(label: str, store: Store, name: str, at: np.ndarray) -> np.ndarray:
    """Return a column as it is numbered; what a store does not have is unknown."""
    if name == "source":
        return np.full(len(at), label)
    column = column_of(store, name, at)
    return np.full(len(at), -1, dtype=np.int64) if column is None else column

"""The images that are trained on: the train splits of all datasets, and whom they show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reid_core.contracts import Classes
from reid_core.data.store import Store
from reid_core.errors import ReidError, name_list


@dataclass(frozen=True)
class TrainingImages:
    """The train splits of all train datasets as one.

    Attributes:
        stores: One per dataset, with the label of the dataset.
        positions: ``(N,)`` int64 record number in its store.
        sources: ``(N,)`` int64 which store.
        labels: ``(N,)`` int64, 0 to num_pids - 1.
        camids: ``(N,)`` int64, -1 unknown.
        classes: (dataset, pid) of every label.
    """

    stores: tuple[tuple[str, Store], ...]
    positions: np.ndarray
    sources: np.ndarray
    labels: np.ndarray
    camids: np.ndarray
    classes: Classes

    @classmethod
    def of(cls, stores: Sequence[tuple[str, Store]]) -> TrainingImages:
        """Concatenate stores; an identity is a (dataset, pid); junk and distractors stay out.

        Raises:
            ReidError: A train split is empty, or there is only one identity.
        """
        parts = []
        classes: list[tuple[str, str]] = []
        for source, (label, store) in enumerate(stores):
            at = store.index.positions("train")
            at = at[~(store.index.junk[at] | store.index.distractor[at])]
            if len(at) == 0:
                raise ReidError(
                    f"dataset '{label}' ({store.path}) has no training images; its splits: "
                    f"{name_list(store.index.statistics())}"
                )
            pids, local = np.unique(store.index.pid[at], return_inverse=True)
            parts.append(
                (at, np.full(len(at), source), local + len(classes), store.index.camid[at])
            )
            classes += [(label, str(pid)) for pid in pids]
        if len(classes) < 2:
            raise ReidError(
                f"only one identity to train on ({classes[0][1]} of {classes[0][0]}); a network "
                "needs at least two to tell apart"
            )
        joined = [np.concatenate(columns).astype(np.int64) for columns in zip(*parts, strict=True)]
        return cls(tuple(stores), joined[0], joined[1], joined[2], joined[3], tuple(classes))

    def __len__(self) -> int:
        """Return N."""
        return len(self.labels)

    def content_hashes(self) -> dict[str, str]:
        """Return the content hash of every dataset by its label."""
        return {label: store.content_hash for label, store in self.stores}

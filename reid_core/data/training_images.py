"""The images that are trained on: a split of several datasets as one, and whom they show."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from reid_core.contracts import Classes
from reid_core.errors import ReidError, name_list
from reid_core.storage.columns import column_of, column_problem
from reid_core.storage.store import Store


@dataclass(frozen=True)
class TrainingImages:
    """One split of several datasets as one.

    Attributes:
        stores: One per dataset, with the label of the dataset.
        positions: ``(N,)`` int64 record number in its store.
        sources: ``(N,)`` int64 which store.
        labels: ``(N,)`` int64, 0 to num_pids - 1; -1 for an image without identity.
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
    def of(cls, stores: Sequence[tuple[str, Store]], split: str = "train") -> TrainingImages:
        """Concatenate stores; an identity is a (dataset, pid); junk and distractors stay out.

        Raises:
            ReidError: A dataset has no image in the split.
        """
        parts = []
        classes: list[tuple[str, str]] = []
        for source, (label, store) in enumerate(stores):
            at = store.index.positions(split)
            at = at[~(store.index.junk[at] | store.index.distractor[at])]
            if len(at) == 0:
                what = "training images" if split == "train" else f"images to train on in '{split}'"
                raise ReidError(
                    f"dataset '{label}' ({store.path}) has no {what}; its splits: "
                    f"{name_list(store.index.statistics())}"
                )
            labels, pids = _labels(store.index.pid[at], len(classes))
            parts.append((at, np.full(len(at), source), labels, store.index.camid[at]))
            classes += [(label, pid) for pid in pids]
        joined = [np.concatenate(arrays).astype(np.int64) for arrays in zip(*parts, strict=True)]
        return cls(tuple(stores), joined[0], joined[1], joined[2], joined[3], tuple(classes))

    def __len__(self) -> int:
        """Return N."""
        return len(self.labels)

    def check_identities(self) -> None:
        """Refuse to tell people apart where there are none, or one alone.

        Raises:
            ReidError: There are fewer than two identities.
        """
        if not self.classes:
            raise ReidError(
                f"no identity to train on: none of the {len(self)} training images has one; take "
                "data with identities, or train without what needs them"
            )
        if len(self.classes) < 2:
            raise ReidError(
                f"only one identity to train on ({self.classes[0][1]} of {self.classes[0][0]}); a "
                "network needs at least two to tell apart"
            )

    def columns(self, names: Iterable[str]) -> dict[str, np.ndarray]:
        """Return columns ``(N,)`` by name as the datasets have them, int64 or strings.

        ``camid`` and ``source``, the number of the dataset, are there for all of them.

        Raises:
            ReidError: Datasets lack a column, or they do not agree on its type; the message names
                them.
        """
        found = {}
        for name in names:
            if name == "source":
                found[name] = self.sources
                continue
            parts = [column_of(store, name, at) for _, store, at in self.parts()]
            if problem := column_problem(name, self.stores, parts):
                raise ReidError(problem)
            found[name] = np.concatenate([part for part in parts if part is not None])
        return found

    def parts(self) -> list[tuple[str, Store, np.ndarray]]:
        """Return the datasets in order: label, store, and positions of its images."""
        return [
            (label, store, self.positions[self.sources == source])
            for source, (label, store) in enumerate(self.stores)
        ]

    def extra_kinds(self) -> dict[str, str]:
        """Return the extras that every dataset declares alike, ``"mask"`` or ``"text"`` by name."""
        first, *others = (set(store.extra_kinds.items()) for _, store in self.stores)
        return dict(sorted(first.intersection(*others)))

    def masks(self, names: Sequence[str]) -> list[str]:
        """Return which of some extras are masks; see ``check_extras`` of the pipeline.

        Raises:
            ReidError: Images lack an extra; the message names the datasets.
        """
        kinds = self.extra_kinds()
        for name in names:
            self._check_extra(name, name in kinds)
        return [name for name in names if kinds[name] == "mask"]

    def _check_extra(self, name: str, is_declared: bool) -> None:
        """Raise ReidError if some image has no such extra."""
        for label, store, at in self.parts():
            without = at[~store.index.extras.get(name, np.zeros(len(store), dtype=bool))[at]]
            if len(without):
                raise ReidError(
                    f"'{name}' is read beside every image, and {len(without)} of {len(at)} images "
                    f"of dataset '{label}' have none (such as '{store.index.name[without[0]]}'; "
                    f"its extras: {name_list(store.index.extras)}); add what is missing, or leave "
                    f"out what reads '{name}'"
                )
        if not is_declared:
            raise ReidError(
                f"'{name}' is a mask in one dataset and a text in another "
                f"({name_list(label for label, _ in self.stores)}); it must be one of them"
            )

    def content_hashes(self) -> dict[str, str]:
        """Return the content hash of every dataset by its label."""
        return {label: store.content_hash for label, store in self.stores}


def _labels(pids: np.ndarray, first: int) -> tuple[np.ndarray, list[str]]:
    """Number the identities of a dataset from ``first`` on, in the order of their names.

    Returns:
        ``(n,)`` int64 labels, -1 where there is no identity, and the names.
    """
    known = pids != ""
    names, numbers = np.unique(pids[known], return_inverse=True)
    labels = np.full(len(pids), -1, dtype=np.int64)
    labels[known] = numbers + first
    return labels, [str(name) for name in names]

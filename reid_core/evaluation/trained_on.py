"""What a network was trained on, and which images and persons of a target are among it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from reid_core.contracts import Classes
from reid_core.errors import name_list
from reid_core.evaluation.split_warnings import share, such_as
from reid_core.params.field_facts import path_names
from reid_core.params.schema import DatasetEntry, RunParams
from reid_core.storage.same_pictures import Images, same_as
from reid_core.storage.store import Index, Store

Opener = Callable[[DatasetEntry], Store | None]
"""Gives the store of a dataset, or None where it is not at hand."""


@dataclass(frozen=True)
class Part:
    """The images of one dataset that were trained on."""

    entry: DatasetEntry
    images: Images


@dataclass(frozen=True)
class TrainedOn:
    """What a network was trained on, as far as it is known.

    Attributes:
        parts: Its images.
        classes: The (dataset, pid) that it tells apart.
        missing: Datasets whose images are not at hand.
        sources: How many of the parts, the first ones, are all datasets of ``data.train``; 0 where
            one of them is not at hand.
    """

    parts: tuple[Part, ...] = ()
    classes: Classes = ()
    missing: tuple[str, ...] = ()
    sources: int = 0

    @classmethod
    def of(cls, params: RunParams, opener: Opener, classes: Classes = ()) -> TrainedOn:
        """Collect what a run trains on: ``data.train`` and the streams.

        Args:
            params: Of the run.
            opener: Opens the stores.
            classes: The (dataset, pid) of its labels, where they are known without the stores.
        """
        parts, missing = [], []
        for entry, split in _sources(params):
            store = opener(entry)
            if store is None:
                missing.append(entry.label)
            else:
                at = _at(store.index, [split])
                at = at[~store.index.distractor[at]]
                parts.append(Part(entry, Images(store, at)))
        sources = 0 if missing else len(params.data.train)
        return cls(tuple(parts), classes, tuple(dict.fromkeys(missing)), sources)

    def overlap(
        self, entry: DatasetEntry, store: Store, splits: Sequence[str], *, persons: bool
    ) -> list[str]:
        """Return what of a target was trained on, a line for the images and one for the persons.

        Args:
            entry: The target.
            store: Its store.
            splits: Those that are scored.
            persons: Whether to speak of persons; where the identities at test are meant to be
                those of training, they are right there.
        """
        at = _at(store.index, splits)
        of = " and ".join(splits)
        lines = [*self._same_images(Images(store, at), of)]
        if persons:
            lines += self._same_persons(entry, store, at, of)
        if self.missing:
            lines.append(
                f"the training images of {name_list(self.missing)} are not at hand: whether images "
                f"of {of} are among them is not known"
            )
        return lines

    def _same_images(self, images: Images, of: str) -> Iterator[str]:
        same = same_as(images, [part.images for part in self.parts])
        if same.any():
            names = images.store.index.name[images.at[same]]
            yield (
                f"{share(int(same.sum()), len(same))} images of {of} are also trained on, byte for "
                f"byte {such_as(names)}: the scores measure memory"
            )

    def _same_persons(
        self, entry: DatasetEntry, store: Store, at: np.ndarray, of: str
    ) -> Iterator[str]:
        tested = persons_of(store.index, at)
        seen = {part.entry.label for part in self.parts}
        trained = {p for label, p in self.classes if label == entry.label and label not in seen}
        for part in self.parts:
            if _same_people(part, entry, store):
                trained |= persons_of(part.images.store.index, part.images.at)
        if both := sorted(tested & trained):
            yield (
                f"{share(len(both), len(tested))} persons of {of} are also trained on "
                f"{such_as(both)}: the scores say little of new persons (if those of the target "
                "are others, give its dataset an 'alias')"
            )


def _sources(params: RunParams) -> Iterator[tuple[DatasetEntry, str]]:
    """Yield every dataset that is trained on, with its split."""
    for entry in params.data.train:
        yield entry, "train"
    for stream in params.data.streams.values():
        for entry in stream.sources:
            yield entry, stream.split


def _at(index: Index, splits: Sequence[str]) -> np.ndarray:
    """Return the record numbers of the images of some splits that are not junk."""
    return np.flatnonzero(np.isin(index.split, list(splits)) & ~index.junk)


def persons_of(index: Index, at: np.ndarray) -> set[str]:
    """Return the identities of some images."""
    at = at[~index.distractor[at]]
    return {str(pid) for pid in np.unique(index.pid[at]) if pid}


def _same_people(part: Part, entry: DatasetEntry, store: Store) -> bool:
    """Tell whether one pid is one person in what is trained on and in a target.

    An identity is (dataset, pid). Which dataset it is, an alias says where one is given; without
    any, its content or the files that it is read from: many data sets have one reader.
    """
    own = part.entry
    if own.alias or entry.alias:
        return own.label == entry.label
    if part.images.store.content_hash == store.content_hash:
        return True
    return own.name == entry.name and bool(files_of(own)) and files_of(own) == files_of(entry)


def files_of(entry: DatasetEntry) -> dict[str, object]:
    """Return the params of a dataset that name files or folders, as far as they are given."""
    values = {name: getattr(entry.params, name) for name in path_names(type(entry.params))}
    return {name: value for name, value in values.items() if value is not None}

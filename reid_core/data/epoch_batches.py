"""The order of the images: what a sampler yields, looked at on its way to the loader."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np

from reid_core.boundary import Origin
from reid_core.contracts import BatchSampler
from reid_core.data.training_images import TrainingImages
from reid_core.declared_values import Declared
from reid_core.errors import ReidError, shortened
from reid_core.params.entries import SamplerEntry

Key = tuple[int, int]
"""What a sampler yields per image: (epoch, index)."""

MEMBERS = ("__len__", "__iter__", "set_epoch")
"""What a batch sampler has."""

_END: Any = object()


class Batches(Protocol):
    """The batches of an epoch, as loaders ask for them."""

    def __len__(self) -> int:
        """Return their number."""

    def __iter__(self) -> Iterator[list[Key]]:
        """Yield the keys of each batch."""


class EpochBatches:
    """The batches of one epoch from a given position on, so that a resumed run skips fast.

    Attributes:
        origin: Where the sampler comes from.
    """

    def __init__(
        self,
        sampler: BatchSampler,
        origin: Origin,
        num_images: int,
        indices: np.ndarray | None = None,
    ) -> None:
        """Wrap a sampler plugin's batch sampler.

        Args:
            sampler: As it was built.
            origin: Where it comes from.
            num_images: Images that it was built over.
            indices: ``(num_images,)``, which images these are among all that are trained on;
                default: they are all.

        Raises:
            ReidError: It is no batch sampler, has no batch, or its length is no number.
        """
        self.origin = origin
        if missing := [name for name in MEMBERS if not callable(getattr(sampler, name, None))]:
            raise origin.fault(
                f"built a {type(sampler).__name__} without {' and '.join(missing)}; expected a "
                f"BatchSampler, which has {', '.join(MEMBERS)}"
            )
        self._sampler, self._num_images = sampler, num_images
        self._indices = None if indices is None else indices.tolist()
        self._epoch = self._start = 0
        self._begun: tuple[int, list[Key]] | None = None
        self._length = self._measured()

    def set(self, epoch: int, start: int) -> None:
        """Choose the epoch and the first batch to yield.

        Raises:
            ReidError: This epoch has another number of batches than the first one.
        """
        with self.origin.calling(f"in epoch {epoch + 1}"):
            self._sampler.set_epoch(epoch)
        self._epoch, self._start = epoch, start
        if (length := self._measured()) != self._length:
            raise self.origin.fault(
                f"has {length} batches in epoch {epoch + 1} and {self._length} before; expected "
                "the same number in every epoch"
            )

    def __len__(self) -> int:
        """Return the number of batches of a whole epoch."""
        return self._length

    def __iter__(self) -> Iterator[list[Key]]:
        """Yield the keys of each batch, leaving out those before the start.

        Raises:
            ReidError: They are of the wrong form, there are more or fewer than announced, or the
                epoch began otherwise before.
        """
        place = f"in epoch {self._epoch + 1}"
        with self.origin.calling(place):
            batches = iter(self._sampler)
        for position in range(self._length + 1):
            with self.origin.calling(f"at batch {position + 1} of epoch {self._epoch + 1}"):
                keys = next(batches, _END)
            if (keys is _END) != (position == self._length):
                count = f"only {position}" if keys is _END else f"more than {self._length}"
                raise self.origin.fault(
                    f"yields {count} batches and announces {self._length} by its length", place
                )
            if keys is not _END:
                self._check(keys, position)
                if not position:
                    self._check_again(keys)
                if position >= self._start:
                    yield self._global(keys)

    def _measured(self) -> int:
        """Return the sampler's length."""
        with self.origin.calling("when it was asked for its length"):
            length = len(self._sampler)
        if length < 1:
            raise ReidError(
                f"{self.origin}: {self._num_images} images make no batch; lower the batch size or "
                "P and K, or add data"
            )
        return length

    def _check(self, keys: Any, position: int) -> None:
        """Raise ReidError if a batch is of the wrong form."""
        place = f"at batch {position + 1} of epoch {self._epoch + 1}"
        if not isinstance(keys, list) or not keys:
            what = "an empty list" if isinstance(keys, list) else f"a {type(keys).__name__}"
            raise self.origin.fault(
                f"yields {what}; expected a list of pairs (epoch, index), not empty", place
            )
        for key in keys:
            if not (isinstance(key, tuple) and [type(part) for part in key] == [int, int]):
                raise self.origin.fault(
                    f"yields {shortened(repr(key))}; expected a pair (epoch, index) of ints", place
                )
            epoch, index = key
            if epoch != self._epoch or not 0 <= index < self._num_images:
                raise self.origin.fault(
                    f"yields {key}; expected (epoch, index) of epoch {self._epoch} and an index "
                    f"from 0 to {self._num_images - 1}",
                    place,
                )

    def _check_again(self, keys: list[Key]) -> None:
        """Raise ReidError if this epoch had another first batch before."""
        if self._begun is not None and self._begun[0] == self._epoch and self._begun[1] != keys:
            raise self.origin.fault(
                f"gives another first batch when epoch {self._epoch + 1} is begun again; expected "
                "batches that depend on (seed, epoch, rank) alone, so that a run can be resumed"
            )
        self._begun = self._epoch, list(keys)

    def _global(self, keys: list[Key]) -> list[Key]:
        """Return the keys with indices among all images that are trained on."""
        if self._indices is None:
            return list(keys)  # a sampler may go on to fill its own
        return [(epoch, self._indices[index]) for epoch, index in keys]


def epoch_batches(
    entry: SamplerEntry,
    images: TrainingImages,
    *,
    seed: int,
    labels: np.ndarray | None = None,
    indices: np.ndarray | None = None,
) -> EpochBatches:
    """Build the sampler of an entry over images.

    Args:
        entry: Of the params.
        images: All that are trained on.
        seed: The run's seed.
        labels: ``(N,)`` int64, other labels than those of the images.
        indices: Positions of the images to be used; default: all.

    Raises:
        ReidError: The sampler cannot serve the images, or data lack a column that it reads.
    """
    at = np.arange(len(images)) if indices is None else indices
    names = entry.names("columns")
    columns = {name: values[at] for name, values in images.columns(names).items()}
    sampler: BatchSampler = entry.build(
        labels=(images.labels if labels is None else labels)[at],
        camids=images.camids[at],
        sources=images.sources[at],
        columns=Declared(columns, names, "columns", "SamplerComponent"),
        seed=seed,
        rank=0,
        world_size=1,
    )
    return EpochBatches(sampler, entry.origin, len(at), indices)

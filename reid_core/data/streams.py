"""Further batches of every training step, each from data, a sampler and an epoch of its own."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from reid_core.boundary import PluginError
from reid_core.contracts import Batch, Classes
from reid_core.data.column_codes import ColumnCodes
from reid_core.data.epoch_batches import EpochBatches, epoch_batches
from reid_core.data.pipeline_checks import (
    check_can_be_sent,
    check_extras,
    check_repeatable,
    check_training_size,
)
from reid_core.data.training_images import TrainingImages
from reid_core.data.training_loader import ViewsLoader, views_loader
from reid_core.data.transforms import Pipeline
from reid_core.errors import ReidError
from reid_core.params.schema import RunParams, StreamParams
from reid_core.storage.dataset_stores import Stores


class Stream:
    """One stream: a pure function of the step, so that a resumed run sees the same batches.

    With L batches in an epoch of its sampler, step t has batch t % L of its epoch t // L.

    Attributes:
        name: In ``data.streams``.
        images: Its images; labels are numbered over its own identities, -1 without.
        batches: Their order.
    """

    def __init__(
        self, name: str, images: TrainingImages, batches: EpochBatches, loader: ViewsLoader
    ) -> None:
        """Join what was built; ``start`` comes before the first ``next``."""
        self.name, self.images, self.batches = name, images, batches
        self._loader = loader
        self._items: Iterator[tuple[Batch, ...]] | None = None
        self._step = -1

    def start(self, step: int) -> None:
        """Go to a step, counted from 0 over the whole training; nothing is done if it is there."""
        if self._items is None or self._step != step:
            self._begin(step)

    def next(self) -> tuple[Batch, ...]:
        """Return the views of this step's batch, and go to the next step.

        Raises:
            ReidError: An image cannot be read or augmented, or the sampler is at fault.
        """
        assert self._items is not None, "a stream that was not started"
        views = next(self._items, None)
        if views is None:  # its epoch has ended
            views = next(self._begin(self._step))
        self._step += 1
        return views

    def _begin(self, step: int) -> Iterator[tuple[Batch, ...]]:
        """Read on from a step."""
        epoch, position = divmod(step, len(self.batches))
        self.batches.set(epoch, position)
        self._step, self._items = step, iter(self._loader)
        return self._items


class Streams:
    """All streams of a training, in step with it; ``next`` returns ``Step.streams``."""

    def __init__(self, streams: Sequence[Stream]) -> None:
        """Keep built streams."""
        self.streams = tuple(streams)

    @classmethod
    def of(
        cls, params: RunParams, stores: Stores, codes: ColumnCodes, extras: Sequence[str] = ()
    ) -> Streams:
        """Open the data of ``data.streams`` and build every stream.

        Args:
            params: Resolved params.
            stores: Those of the run.
            codes: How columns are numbered in the run; a value that none of its training images
                has is unknown, -1.
            extras: What objectives read beside the images; a stream delivers those that all its
                datasets declare.

        Raises:
            ReidError: Data, sampler or augmentation cannot be used; the message names the stream.
        """
        streams = params.data.streams
        return cls(
            [_stream(params, name, streams[name], stores, codes, extras) for name in streams]
        )

    def start(self, step: int) -> None:
        """Go to a step, counted from 0 over the whole training."""
        for stream in self.streams:
            stream.start(step)

    def __iter__(self) -> Iterator[dict[str, tuple[Batch, ...]]]:
        """Yield the streams' batches of the step that was started, of the next, and so on."""
        return self

    def __next__(self) -> dict[str, tuple[Batch, ...]]:
        """Return the batches of one step by the streams' names, one for each view."""
        return {stream.name: stream.next() for stream in self.streams}

    def content_hashes(self) -> dict[str, str]:
        """Return the content hash of every dataset, by ``streams/<stream>/<dataset>``."""
        return {
            f"streams/{stream.name}/{label}": content
            for stream in self.streams
            for label, content in stream.images.content_hashes().items()
        }

    def classes(self) -> dict[str, Classes]:
        """Return the (dataset, pid) of every label of each stream."""
        return {stream.name: stream.images.classes for stream in self.streams}

    def lines(self) -> list[str]:
        """Return what the streams are, a line each."""
        return [
            f"stream {s.name}: {len(s.images)} images, {len(s.images.classes)} identities; its "
            f"epoch has {len(s.batches)} batches"
            for s in self.streams
        ]


def _stream(
    params: RunParams,
    name: str,
    given: StreamParams,
    stores: Stores,
    codes: ColumnCodes,
    extras: Sequence[str],
) -> Stream:
    """Build one stream and check that its images go into the network."""
    views = given.operations(params.augmentation)
    own_seed = _seed(params.train.seed, name)
    with _named(name):
        opened = [(entry.label, stores.open(entry)) for entry in given.sources]
        images = TrainingImages.of(opened, given.split)
        delivered = [extra for extra in extras if extra in images.extra_kinds()]
        size = Pipeline(params.augmentation, training=False).input_size()
        for operations in views:
            check_extras(operations, images.masks(delivered))
            check_training_size(operations, size)
            check_repeatable(operations)
            if params.data.workers:
                check_can_be_sent(Pipeline(operations, training=True))
        batches = epoch_batches(given.sampler, images, seed=own_seed)
        loader = views_loader(
            images,
            [Pipeline(operations, training=True) for operations in views],
            batches,
            seed=params.train.seed,
            workers=params.data.workers,
            columns=codes.of_images(images),
            extras=delivered,
            stream=name,
        )
    return Stream(name, images, batches, loader)


def _seed(seed: int, stream: str) -> int:
    """Return a seed for the sampler of a stream, so that its order is not that of another one."""
    words = np.random.SeedSequence([seed, zlib.crc32(stream.encode())])
    return int(words.generate_state(1, np.uint64)[0] >> np.uint64(1))


@contextmanager
def _named(stream: str) -> Iterator[None]:
    """Name the stream in what is wrong with its params and data.

    Raises:
        ReidError: The block has raised one.
    """
    try:
        yield
    except PluginError:
        raise
    except ReidError as error:
        raise ReidError(f"data.streams.{stream}: {error}") from error

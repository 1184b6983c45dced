"""Batches to train on: read and augmented in loader processes, labelled in the main one."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from reid_core.contracts import Batch, Sample
from reid_core.data.batch_facts import BatchFacts
from reid_core.data.epoch_batches import Batches, Key
from reid_core.data.loaders import Loader, as_it_is, handing_errors_over, worker_options
from reid_core.data.training_images import TrainingImages
from reid_core.data.transforms import Pipeline


@dataclass(frozen=True)
class _Images:
    """Images as loader processes deliver them, with what is packed beside them.

    Attributes:
        images: ``(B, 3, H, W)``.
        index: ``(B,)`` int64.
        extras: As ``Batch`` has them.
    """

    images: Tensor
    index: Tensor
    extras: dict[str, Tensor | list[str]]

    def pin_memory(self) -> _Images:
        """Return the images in page-locked memory; the data loader calls this for GPUs."""
        pinned = {n: v if isinstance(v, list) else v.pin_memory() for n, v in self.extras.items()}
        return _Images(self.images.pin_memory(), self.index, pinned)


class _TrainingSet(Dataset[Any]):
    """Reads and augments images; the loader asks for all views of one batch of keys at a time."""

    def __init__(
        self,
        images: TrainingImages,
        pipelines: Sequence[Pipeline],
        extras: Sequence[str],
        *,
        seed: int,
        stream: str,
    ) -> None:
        self.stores = [store for _, store in images.stores]
        self.positions, self.sources = images.positions, images.sources
        self.masks = images.masks(extras)
        self.texts = [name for name in extras if name not in self.masks]
        self.pipelines, self.seed, self.stream = list(pipelines), seed, stream

    @handing_errors_over
    def __getitems__(self, keys: list[Key]) -> list[_Images]:
        names, samples, texts = zip(*(self._read(index) for _, index in keys), strict=True)
        index = torch.tensor([index for _, index in keys])
        beside = {name: [text[name] for text in texts] for name in self.texts}
        found = []
        for view, pipeline in enumerate(self.pipelines):
            rngs = self._generators(keys, view)
            # Each view begins with pictures of its own: an operation may draw into one.
            own = samples if pipeline is self.pipelines[-1] else map(_copied, samples)
            each = [pipeline.single(*one) for one in zip(own, rngs, names, strict=True)]
            joined = pipeline.batch(each, rngs, names)
            found.append(_Images(joined.image, index, {**joined.masks, **beside}))
        return found

    def _read(self, index: int) -> tuple[str, Sample, dict[str, Any]]:
        """Return the name of an image, the image with its masks, and its texts."""
        store, position = self.stores[self.sources[index]], int(self.positions[index])
        masks = {name: store.extra(position, name) for name in self.masks}
        texts = {name: store.extra(position, name) for name in self.texts}
        return str(store.index.name[position]), Sample(store.image(position), masks), texts

    def _generators(self, keys: list[Key], view: int) -> list[np.random.Generator]:
        """Return the generators of the images of a batch, in one of its views."""
        repeats: Counter[Key] = Counter()
        address = [view, zlib.crc32(self.stream.encode())] if self.stream else []
        found = []
        for key in keys:
            # An image that stands twice in a batch gets two different augmentations.
            found.append(np.random.default_rng([self.seed, *key, repeats[key], *address]))
            repeats[key] += 1
        return found


def _copied(sample: Sample) -> Sample:
    """Return a picture and its masks as new pictures."""
    return Sample(sample.image.copy(), {name: m.copy() for name, m in sample.masks.items()})


class ViewsLoader:
    """Yields the views of each batch as a tuple; labels can be replaced between batches."""

    def __init__(self, loader: Loader[list[_Images]], facts: BatchFacts) -> None:
        """Join what loader processes deliver with what is known of the images."""
        self._loader, self._facts = loader, facts

    def __len__(self) -> int:
        """Return the number of batches of a whole epoch."""
        return len(self._loader)

    @property
    def labels(self) -> np.ndarray:
        """Return the labels ``(N,)`` int64 that batches have now."""
        return self._facts.labels

    def relabel(self, labels: np.ndarray) -> None:
        """Give the images other labels ``(N,)`` int64; the next batch has them."""
        self._facts.relabel(labels)

    def __iter__(self) -> Iterator[tuple[Batch, ...]]:
        """Yield the views of the batches that are left of the epoch.

        Raises:
            ReidError: An image cannot be read or augmented, or the sampler is at fault.
        """
        for views in self._loader:
            yield tuple(self._facts.batch(v.images, v.index, v.extras) for v in views)


class TrainingLoader:
    """Yields batches; labels can be replaced between them."""

    def __init__(self, views: ViewsLoader) -> None:
        """Wrap a loader of a single view."""
        self._views = views

    def __len__(self) -> int:
        """Return the number of batches of a whole epoch."""
        return len(self._views)

    @property
    def labels(self) -> np.ndarray:
        """Return the labels ``(N,)`` int64 that batches have now."""
        return self._views.labels

    def relabel(self, labels: np.ndarray) -> None:
        """Give the images other labels ``(N,)`` int64; the next batch has them."""
        self._views.relabel(labels)

    def __iter__(self) -> Iterator[Batch]:
        """Yield the batches that are left of the epoch; see ``ViewsLoader``."""
        for (batch,) in self._views:
            yield batch


def training_loader(
    images: TrainingImages,
    pipeline: Pipeline,
    batches: Batches,
    *,
    seed: int,
    workers: int,
    columns: Mapping[str, np.ndarray] | None = None,
    extras: Sequence[str] = (),
) -> TrainingLoader:
    """Return a loader of batches; its order and augmentations depend on the keys alone.

    Args:
        images: All that are trained on.
        pipeline: From pictures to inputs.
        batches: Order of the images.
        seed: The run's seed.
        workers: Loader processes.
        columns: ``(N,)`` int64 by name, from ``ColumnCodes.of_images``, for ``Batch.columns``.
        extras: What to read beside the images, for ``Batch.extras``.

    Raises:
        ReidError: Images lack an extra.
    """
    loader = views_loader(
        *(images, [pipeline], batches), seed=seed, workers=workers, columns=columns, extras=extras
    )
    return TrainingLoader(loader)


def views_loader(
    images: TrainingImages,
    pipelines: Sequence[Pipeline],
    batches: Batches,
    *,
    seed: int,
    workers: int,
    columns: Mapping[str, np.ndarray] | None = None,
    extras: Sequence[str] = (),
    stream: str = "",
) -> ViewsLoader:
    """Return a loader of the views of batches; see ``training_loader``.

    Args:
        images: See there.
        pipelines: One for each view: batches of the same images.
        batches: See there.
        seed: See there.
        workers: See there.
        columns: See there.
        extras: See there.
        stream: Whose batches they are, so that others have other augmentations; empty: the run's.
    """
    data = _TrainingSet(images, pipelines, extras, seed=seed, stream=stream)
    loader: DataLoader[Any] = DataLoader(
        data,
        batch_sampler=cast(Any, batches),
        collate_fn=as_it_is,
        **worker_options(workers, persistent=True),
    )
    return ViewsLoader(Loader(loader), BatchFacts(images, columns))

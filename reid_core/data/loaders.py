"""From stores to batches: loader processes whose randomness, errors and memory are controlled."""

from __future__ import annotations

import contextlib
import functools
import multiprocessing
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from multiprocessing import resource_tracker
from typing import Any, Generic, TypeVar, cast

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from reid_core.contracts import Batch, BatchSampler
from reid_core.data.store import Store
from reid_core.data.training_images import TrainingImages
from reid_core.data.transforms import Pipeline
from reid_core.errors import ReidError

Key = tuple[int, int]
"""What a sampler yields per image: (epoch, index)."""

Item = TypeVar("Item")


def _handing_errors_over(
    load: Callable[[Any, Any], Item],
) -> Callable[[Any, Any], Item | ReidError]:
    """Return an error instead of raising it: the loader would wrap it in a worker's traceback."""

    @functools.wraps(load)
    def load_or_error(dataset: Any, keys: Any) -> Item | ReidError:
        try:
            return load(dataset, keys)
        except ReidError as error:
            return error

    return load_or_error


class Loader(Generic[Item]):
    """A data loader whose errors arrive as they were raised, also from worker processes."""

    def __init__(self, loader: DataLoader[Any]) -> None:
        """Wrap a loader of items or errors."""
        self._loader = loader

    def __len__(self) -> int:
        """Return the number of items."""
        return len(self._loader)

    def __iter__(self) -> Iterator[Item]:
        """Yield the items.

        Raises:
            ReidError: An image cannot be read.
        """
        with _deaf_children():
            items = iter(self._loader)
        for item in items:
            if isinstance(item, ReidError):
                raise item
            yield item


class _TrainingSet(Dataset[Any]):
    """Reads and augments training images; the loader asks for one batch of keys at a time."""

    def __init__(self, images: TrainingImages, pipeline: Pipeline, seed: int) -> None:
        self.images, self.pipeline, self.seed = images, pipeline, seed

    @_handing_errors_over
    def __getitems__(self, keys: list[Key]) -> Batch:
        repeats: Counter[Key] = Counter()
        tensors = []
        for key in keys:
            epoch, index = key
            # An image that stands twice in a batch gets two different augmentations.
            rng = np.random.default_rng([self.seed, epoch, index, repeats[key]])
            repeats[key] += 1
            _, store = self.images.stores[self.images.sources[index]]
            tensors.append(self.pipeline(store.image(int(self.images.positions[index])), rng))
        at = np.array([index for _, index in keys])
        return Batch(
            images=_stack(tensors),
            pids=torch.from_numpy(self.images.labels[at]),
            camids=torch.from_numpy(self.images.camids[at]),
            source=torch.from_numpy(self.images.sources[at]),
            index=torch.from_numpy(at),
        )


class _EvaluationSet(Dataset[Any]):
    """Reads and preprocesses images of a store; no randomness."""

    def __init__(self, store: Store, positions: np.ndarray, pipeline: Pipeline) -> None:
        self.store, self.positions, self.pipeline = store, positions, pipeline

    def __len__(self) -> int:
        return len(self.positions)

    @_handing_errors_over
    def __getitems__(self, keys: list[int]) -> Tensor:
        rng = np.random.default_rng(0)
        return _stack([self.pipeline(self.store.image(int(self.positions[k])), rng) for k in keys])


class EpochBatches:
    """The batches of one epoch from a given position on, so that a resumed run skips fast."""

    def __init__(self, sampler: BatchSampler) -> None:
        """Wrap a sampler plugin's batch sampler."""
        self.sampler = sampler
        self.start = 0

    def set(self, epoch: int, start: int) -> None:
        """Choose the epoch and the first batch to yield."""
        self.sampler.set_epoch(epoch)
        self.start = start

    def __len__(self) -> int:
        """Return the number of batches of a whole epoch."""
        return len(self.sampler)

    def __iter__(self) -> Iterator[list[Key]]:
        """Yield the keys of each batch, leaving out those before the start."""
        for position, keys in enumerate(self.sampler):
            if position >= self.start:
                yield keys


def training_loader(
    images: TrainingImages, pipeline: Pipeline, batches: EpochBatches, *, seed: int, workers: int
) -> Loader[Batch]:
    """Return a loader of batches; its order and augmentations depend on the keys alone."""
    loader = DataLoader(
        _TrainingSet(images, pipeline, seed),
        batch_sampler=cast(Any, batches),
        collate_fn=_as_it_is,
        **_worker_options(workers, persistent=True),
    )
    return Loader(loader)


def evaluation_loader(
    store: Store, positions: np.ndarray, pipeline: Pipeline, *, batch_size: int, workers: int
) -> Loader[Tensor]:
    """Return a loader of ``(B, 3, H, W)`` tensors in the order of the positions."""
    loader = DataLoader(
        _EvaluationSet(store, positions, pipeline),
        batch_size=batch_size,
        collate_fn=_as_it_is,
        **_worker_options(workers, persistent=False),
    )
    return Loader(loader)


def _worker_options(workers: int, *, persistent: bool) -> dict[str, Any]:
    """Return the loader options that keep randomness, processes and memory under control."""
    workers = min(workers, os.cpu_count() or 1)  # more would only wait for each other
    options: dict[str, Any] = {
        "num_workers": workers,
        "pin_memory": torch.cuda.is_available(),
        # A generator of its own: torch's global one must not notice that a loader exists.
        "generator": torch.Generator(),
    }
    if workers:
        # fork is unsafe once torch or LMDB have started threads.
        options["multiprocessing_context"] = multiprocessing.get_context("spawn")
        options["persistent_workers"] = persistent
        options["worker_init_fn"] = _one_thread
    return options


def _one_thread(worker: int) -> None:
    """Keep workers from fighting the main process for the cores."""
    torch.set_num_threads(1)


@contextlib.contextmanager
def _deaf_children() -> Iterator[None]:
    """Let processes that start in the block never hear Ctrl-C, from their first moment on.

    A terminal sends it to the whole group, and the main process needs its workers to finish
    the step. A blocked signal waits for the main process and is inherited by its children.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # would unblock the signal when it starts later
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _as_it_is(batch: Any) -> Any:
    return batch


def _stack(tensors: list[Tensor]) -> Tensor:
    shapes = {tuple(t.shape) for t in tensors}
    if len(shapes) > 1:
        raise ReidError(
            f"augmentation: images of one batch differ in size: {sorted(shapes)}; "
            "put 'resize' first"
        )
    return torch.stack(tensors)

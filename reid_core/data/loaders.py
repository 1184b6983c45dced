"""Loader processes whose randomness, errors and memory are controlled; images for evaluation."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import warnings
from collections.abc import Callable, Iterator
from multiprocessing import resource_tracker
from multiprocessing.process import BaseProcess
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, get_worker_info

from reid_core.boundary import TRACEBACK, is_out_of_memory, traceback_text
from reid_core.contracts import Sample
from reid_core.data.loader_processes import LoaderContext
from reid_core.data.loader_troubles import LoadingStopped, advice
from reid_core.data.loader_watch import LoaderWatch
from reid_core.data.shared_batches import Parcel
from reid_core.data.transforms import Pipeline
from reid_core.errors import ReidError
from reid_core.library_warnings import once
from reid_core.storage.store import Store

Item = TypeVar("Item")

_END: Any = object()


def handing_errors_over(
    load: Callable[[Any, Any], Item],
) -> Callable[[Any, Any], Item | Parcel | ReidError]:
    """Return an error instead of raising it: the loader would wrap it in a worker's traceback."""

    @functools.wraps(load)
    def load_or_error(dataset: Any, keys: Any) -> Item | Parcel | ReidError:
        try:
            item = load(dataset, keys)
            return item if get_worker_info() is None else Parcel(item)
        except Exception as error:
            # What it was caused by would not come along.
            text = traceback_text(error)
            told = _told(error)
            kind = LoadingStopped if isinstance(told, LoadingStopped) else ReidError
            return kind(*told.args, *text.splitlines()) if text else told

    return load_or_error


def _told(error: Exception) -> ReidError:
    """Return what a user is told of an error of whatever kind."""
    if isinstance(error, ReidError):
        return error
    info = get_worker_info()
    text = f"{type(error).__name__}: {' '.join(str(error).split())}"
    if is_out_of_memory(error) or isinstance(error, OSError):
        return LoadingStopped(
            f"a batch of images cannot be loaded: {text}. {advice(info.num_workers if info else 0)}"
        )
    return ReidError(
        f"a batch of images cannot be loaded: {text} ({TRACEBACK}=1 shows the traceback)"
    )


class Loader(Generic[Item]):
    """A data loader whose errors arrive as they were raised, also from worker processes."""

    def __init__(self, loader: DataLoader[Any]) -> None:
        """Wrap a loader of items or errors."""
        self._loader = loader
        self._processes: list[BaseProcess] = []

    def __len__(self) -> int:
        """Return the number of items."""
        return len(self._loader)

    def __iter__(self) -> Iterator[Item]:
        """Yield the items.

        Raises:
            LoadingStopped: Loader processes can give no more; they have ended, all of them.
            ReidError: An image cannot be read.
        """
        if not self._loader.num_workers:
            yield from map(_raised, self._loader)
            return
        with LoaderWatch(self._processes, self._loader.num_workers) as watch:
            with _deaf_children():
                items = watch.start(lambda: iter(self._loader))
            while (item := watch.wait(next, items, _END)) is not _END:
                yield _raised(item)


def _raised(item: Any) -> Any:
    """Return an item that is no error."""
    if isinstance(item, ReidError):
        raise item
    return item


class _EvaluationSet(Dataset[Any]):
    """Reads and preprocesses images of a store; no randomness."""

    def __init__(self, store: Store, positions: np.ndarray, pipeline: Pipeline) -> None:
        self.store, self.positions, self.pipeline = store, positions, pipeline

    def __len__(self) -> int:
        return len(self.positions)

    @handing_errors_over
    def __getitems__(self, keys: list[int]) -> Tensor:
        positions = [int(self.positions[key]) for key in keys]
        names = [str(self.store.index.name[position]) for position in positions]
        rng = np.random.default_rng(0)  # nobody draws from it
        samples = [
            self.pipeline.single(Sample(self.store.image(position)), rng, name)
            for position, name in zip(positions, names, strict=True)
        ]
        images: Tensor = self.pipeline.batch(samples, [rng] * len(keys), names).image
        return images


def evaluation_loader(
    store: Store, positions: np.ndarray, pipeline: Pipeline, *, batch_size: int, workers: int
) -> Loader[Tensor]:
    """Return a loader of ``(B, 3, H, W)`` tensors in the order of the positions."""
    loader = DataLoader(
        _EvaluationSet(store, positions, pipeline),
        batch_size=batch_size,
        collate_fn=as_it_is,
        **worker_options(workers, persistent=False),
    )
    return Loader(loader)


def worker_options(workers: int, *, persistent: bool) -> dict[str, Any]:
    """Return the loader options that keep randomness, processes and memory under control."""
    workers = min(workers, os.cpu_count() or 1)  # more would only wait for each other
    options: dict[str, Any] = {
        "num_workers": workers,
        "pin_memory": torch.cuda.is_available(),
        # A generator of its own: torch's global one must not notice that a loader exists.
        "generator": torch.Generator(),
    }
    if workers:
        options["multiprocessing_context"] = LoaderContext()
        options["persistent_workers"] = persistent
        options["worker_init_fn"] = _begin
    return options


def _begin(worker: int) -> None:
    """Keep a worker from fighting the main process for the cores, and libraries from its words."""
    torch.set_num_threads(1)
    warnings.showwarning = once()


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


def as_it_is(batch: Any) -> Any:
    """Return what a data set has made of its keys: it is a batch already."""
    return batch

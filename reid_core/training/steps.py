"""The batches of an epoch: the sampler of the params over the images that have an identity."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from reid_core.contracts import BatchSampler
from reid_core.data.loaders import EpochBatches
from reid_core.data.training_images import TrainingImages
from reid_core.errors import ReidError
from reid_core.params.schema import RunParams
from reid_core.training.weighted_losses import WeightedLosses

ROUND = 1_000_000
"""Between the epochs that a sampler serves within one of ours: more than a training has."""


class StepsOfEpoch:
    """A ``BatchSampler`` over some of the images, in epochs of a given number of steps.

    The epochs of the sampler that it stands on are joined or cut to that number.
    """

    def __init__(self, sampler: BatchSampler, kept: np.ndarray, steps: int) -> None:
        """Serve ``steps`` batches an epoch of the images at the positions ``kept (n,)``."""
        self.sampler, self.kept, self.steps = sampler, kept, steps
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, from 0, that the next iterator serves."""
        self._epoch = epoch

    def __len__(self) -> int:
        """Return the steps of an epoch."""
        return self.steps

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        """Yield each batch as pairs (epoch of the sampler, position among all images)."""
        left, epoch = self.steps, self._epoch
        while left:
            self.sampler.set_epoch(epoch)
            if len(self.sampler) < 1:
                raise ReidError(
                    f"sampler: {len(self.kept)} images make no batch; lower the batch size or P "
                    "and K"
                )
            for batch in self.sampler:
                yield [(drawn_in, int(self.kept[index])) for drawn_in, index in batch]
                left -= 1
                if not left:
                    return
            epoch += ROUND


class NoImages:
    """A ``BatchSampler`` before any image has an identity."""

    def set_epoch(self, epoch: int) -> None:
        """Serve nothing in every epoch."""

    def __len__(self) -> int:
        """Return 0."""
        return 0

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        """Refuse to serve anything.

        Raises:
            ReidError: Always.
        """
        raise ReidError(
            "callback: no training image has an identity, and no callback has named any before "
            "the first epoch; use one that calls relabel"
        )


def built_sampler(
    params: RunParams, images: TrainingImages, labels: np.ndarray, kept: np.ndarray
) -> BatchSampler:
    """Build the sampler of the params over the images at some positions ``(n,)``."""
    sampler: BatchSampler = params.sampler.build(
        labels=labels[kept],
        camids=images.camids[kept],
        sources=images.sources[kept],
        seed=params.train.seed,
        rank=0,
        world_size=1,
    )
    return sampler


def check_first_batch(batches: EpochBatches, labels: np.ndarray, losses: WeightedLosses) -> int:
    """Look at the first batch: return its size, and refuse one that a loss can learn nothing from.

    Raises:
        ReidError: There is no batch, or a loss needs pairs and the batch has a single identity,
            or none with two different images.
    """
    batches.set(0, 0)
    first = next(iter(batches), None)
    if first is None:
        raise ReidError(
            f"sampler: {len(labels)} images make no batch; lower the batch size or P and K"
        )
    # A sampler may repeat an image; with itself it makes no pair.
    seen = labels[np.unique([index for _, index in first])]
    identities = len(np.unique(seen))
    if losses.needs_pairs and identities == len(seen):
        raise ReidError(
            f"loss: {', '.join(losses.needs_pairs)} compares different images of one identity, and "
            f"no identity has two of the first batch's {len(seen)}; use the sampler "
            "'class_balanced' with K >= 2 and data with several images of an identity"
        )
    if losses.needs_pairs and identities == 1:
        raise ReidError(
            f"loss: {', '.join(losses.needs_pairs)} compares images of different identities, and "
            f"the first batch has one identity; use the sampler 'class_balanced' with P >= 2 and "
            "data with several identities"
        )
    return len(first)

"""The batches of an epoch, in as many steps as the epoch has."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from reid_core.data.epoch_batches import EpochBatches, Key
from reid_core.errors import ReidError
from reid_core.training.weighted_losses import WeightedLosses

ROUND = 1_000_000
"""Between the epochs that a sampler serves within one of ours: more than a training has."""


class StepsOfEpoch:
    """The batches of a sampler, whose epochs are joined or cut to a number of steps.

    Attributes:
        batches: Of the sampler; None before any image has an identity. They may be replaced
            between two epochs.
        steps: Batches of an epoch.
    """

    def __init__(self, batches: EpochBatches | None, steps: int) -> None:
        """Serve ``steps`` batches an epoch."""
        self.batches, self.steps = batches, steps
        self._epoch = self._start = 0

    def set(self, epoch: int, start: int) -> None:
        """Choose the epoch and the first batch to yield."""
        self._epoch, self._start = epoch, start

    def __len__(self) -> int:
        """Return the number of batches of a whole epoch."""
        return self.steps

    def __iter__(self) -> Iterator[list[Key]]:
        """Yield the keys of each batch, leaving out those before the start.

        Raises:
            ReidError: No image has an identity yet, or the sampler is at fault.
        """
        if self.batches is None:
            raise ReidError(
                "callback: no training image has an identity, and no callback has named any before "
                "the first epoch; use one that calls relabel"
            )
        done = self._start
        while done < self.steps:
            rounds, position = divmod(done, len(self.batches))
            self.batches.set(self._epoch + ROUND * rounds, position)
            for keys in self.batches:
                if done == self.steps:
                    return
                yield keys
                done += 1


def check_first_batch(batches: EpochBatches, labels: np.ndarray, losses: WeightedLosses) -> int:
    """Look at the first batch: return its size, and refuse one that a loss can learn nothing from.

    Args:
        batches: Of the sampler.
        labels: ``(N,)`` of all images.
        losses: What is trained by.

    Raises:
        ReidError: A loss needs pairs, and the batch has a single identity or none with two
            different images.
    """
    batches.set(0, 0)
    first = next(iter(batches))
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

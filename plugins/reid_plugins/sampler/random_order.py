"""Shuffled order without regard to identities.

Every epoch is one random permutation of the images, cut into batches. It suits losses that
need no pairs within a batch, such as softmax.

Stands on `toolkit/rounds.py`.

Reference: Luo et al., "Bag of Tricks and A Strong Baseline for Deep Person
Re-identification", arXiv:1903.07071 (the classification baseline without P x K batches).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from pydantic import Field

from reid_core import Params, ReidError, SamplerComponent, hookimpl
from reid_core.limits import LARGEST_BATCH
from reid_plugins.toolkit.rounds import epoch_generator, share_per_rank


class RandomOrderParams(Params):
    """Params of the sampler ``random``."""

    batch_size: int = Field(
        default=64,
        ge=1,
        le=LARGEST_BATCH,
        description="Images per batch, counted over all processes (>= 1).",
    )
    drop_last: bool = Field(
        default=True,
        description="Leave out the last batch of an epoch when it is not full. false keeps it, "
        "less the images that cannot be shared equally by all processes.",
    )


class RandomOrderSampler:
    """Batch sampler over a permutation of all images; each rank takes its slice of each batch.

    Identities with few images need no special case: every image is drawn once an epoch,
    except those that the incomplete last batch would have held.
    """

    def __init__(
        self, count: int, params: RandomOrderParams, *, seed: int, rank: int, world_size: int
    ) -> None:
        """Cut ``count`` images into batches.

        Raises:
            ReidError: The batches cannot be shared equally, or there is no full batch.
        """
        size = params.batch_size
        share = share_per_rank(size, "batch_size", world_size)
        rest = 0 if params.drop_last else count % size // world_size
        self._shares = [share] * (count // size) + [rest] * (rest > 0)
        if not self._shares:
            raise ReidError(
                f"sampler random: {count} training images do not fill one batch of {size}; "
                f"lower batch_size to {count} or less"
            )
        self._count, self._seed, self._rank, self._world_size = count, seed, rank, world_size
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iterator serves."""
        self._epoch = epoch

    def __len__(self) -> int:
        """Return the batches of an epoch, the same on every rank."""
        return len(self._shares)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        """Yield this rank's part of each batch as ``(epoch, index)`` pairs."""
        epoch = self._epoch
        order = epoch_generator(self._seed, epoch, "random").permutation(self._count)
        start = 0
        for share in self._shares:
            mine = order[start + self._rank * share : start + (self._rank + 1) * share]
            yield [(epoch, index) for index in mine.tolist()]
            start += share * self._world_size


def build(
    params: RandomOrderParams, *, labels: np.ndarray, seed: int, rank: int, world_size: int
) -> RandomOrderSampler:
    """Return the batch sampler of one rank."""
    return RandomOrderSampler(len(labels), params, seed=seed, rank=rank, world_size=world_size)


@hookimpl
def reid_sampler() -> list[SamplerComponent]:
    """Offer ``random``."""
    return [
        SamplerComponent(
            name="random",
            params=RandomOrderParams,
            build=build,
            summary="All images in a new random order each epoch",
            reference="arXiv:1903.07071",
        )
    ]

"""P identities with K images each in every batch.

Pair losses need several images of one identity in a batch: each batch takes P identities and
K images of each. Both walk through shuffled rounds: everything is used once before anything
is used again, so identities and the images of an identity come up equally often.
Reference: A. Hermans, L. Beyer, B. Leibe, In Defense of the Triplet Loss for Person
Re-Identification, arXiv:1703.07737, section 2 (PK batches).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
from pydantic import Field

from reid_core import Component, Params, ReidError, hookimpl
from reid_plugins.sampler._rounds import epoch_generator, share_per_rank, shuffled_rounds


class ClassBalancedParams(Params):
    """Params of the sampler ``class_balanced``."""

    P: int = Field(
        default=16,
        ge=1,
        description="Identities per batch, counted over all processes, which share them (>= 1).",
    )
    K: int = Field(default=4, ge=1, description="Images of each identity in a batch (>= 1).")
    small_ids: Literal["repeat", "skip"] = Field(
        default="repeat",
        description="Identities with fewer than K images: 'repeat' shows their images more than "
        "once in a batch, each about equally often; 'skip' leaves them out of training.",
    )
    epoch: Literal["images", "identities"] = Field(
        default="images",
        description="Length of an epoch: 'images' draws about as many images as there are, "
        "floor(N / (P K)) batches, at least 1; 'identities' takes each identity at most once, "
        "floor(identities / P) batches.",
    )


def group_by_identity(labels: np.ndarray) -> list[np.ndarray]:
    """Return the positions ``(n_i,)`` of each identity's images, by rising label."""
    order = np.argsort(labels, kind="stable")
    starts = np.flatnonzero(np.diff(labels[order])) + 1
    return np.split(order, starts) if len(order) else []


def draw_batches(
    rng: np.random.Generator, groups: list[np.ndarray], batches: int, p: int, k: int
) -> np.ndarray:
    """Draw the batches of one epoch for all ranks.

    Args:
        rng: Source of randomness.
        groups: Positions of each identity's images; at least ``p`` identities.
        batches: Batches to draw.
        p: Identities per batch, all distinct.
        k: Images per identity, with no repeat before all of its images are there.

    Returns:
        ``(batches, p, k)`` int64 positions.
    """
    visits = shuffled_rounds(rng, len(groups), batches * p, p)  # identity of each place
    places = np.argsort(visits, kind="stable")  # places of identity 0, then of 1, ...
    times = np.bincount(visits, minlength=len(groups))
    drawn = np.empty((batches * p, k), dtype=np.int64)
    start = 0
    for images, count in zip(groups, times.tolist(), strict=True):
        if count:
            picks = shuffled_rounds(rng, len(images), count * k, k)
            drawn[places[start : start + count]] = images[picks].reshape(count, k)
            start += count
    return drawn.reshape(batches, p, k)


class ClassBalancedSampler:
    """Batch sampler with P x K batches.

    An identity with fewer than K images repeats them (``small_ids: repeat``) or is left out
    (``skip``). Unlike a draw with replacement, repeats come only after every image of the
    identity was used, so two images fill K = 4 places as 2 + 2. All ranks draw the same
    batches; rank r takes the r-th share of each batch's identities.
    """

    def __init__(
        self,
        labels: np.ndarray,
        params: ClassBalancedParams,
        *,
        seed: int,
        rank: int,
        world_size: int,
    ) -> None:
        """Group the images and fix the length of an epoch.

        Raises:
            ReidError: P cannot be shared equally, or there are fewer than P identities.
        """
        p, k = params.P, params.K
        share = share_per_rank(p, "P", world_size)
        groups = group_by_identity(labels)
        every = len(groups)
        if params.small_ids == "skip":
            groups = [images for images in groups if len(images) >= k]
        if len(groups) < p:
            raise ReidError(_too_few(p, k, len(groups), every))
        images = sum(len(group) for group in groups)
        whole = len(groups) // p if params.epoch == "identities" else images // (p * k)
        self._groups, self._p, self._k, self._length = groups, p, k, max(1, whole)
        self._mine = slice(rank * share, (rank + 1) * share)
        self._seed, self._epoch = seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iterator serves."""
        self._epoch = epoch

    def __len__(self) -> int:
        """Return the batches of an epoch, the same on every rank and in every epoch."""
        return self._length

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        """Yield this rank's identities of each batch as ``(epoch, index)`` pairs."""
        epoch = self._epoch
        rng = epoch_generator(self._seed, epoch, "class_balanced")
        for batch in draw_batches(rng, self._groups, self._length, self._p, self._k):
            yield [(epoch, index) for index in batch[self._mine].ravel().tolist()]


def _too_few(p: int, k: int, usable: int, every: int) -> str:
    """Say that a batch cannot be filled, and the ways out."""
    left_out = every - usable
    cause = f" ({left_out} of {every} have fewer than K = {k} images)" if left_out else ""
    other = " or choose small_ids 'repeat'" if left_out else ""
    return (
        f"sampler class_balanced: P = {p} identities per batch, but the training data has only "
        f"{usable}{cause}; lower P to {usable} or less, add data{other}"
    )


def build(
    params: ClassBalancedParams, *, labels: np.ndarray, seed: int, rank: int, world_size: int
) -> ClassBalancedSampler:
    """Return the batch sampler of one rank."""
    return ClassBalancedSampler(labels, params, seed=seed, rank=rank, world_size=world_size)


@hookimpl
def reid_sampler() -> list[Component]:
    """Offer ``class_balanced``."""
    return [
        Component(
            name="class_balanced",
            params=ClassBalancedParams,
            build=build,
            summary="P identities with K images each in every batch",
            reference="arXiv:1703.07737",
        )
    ]

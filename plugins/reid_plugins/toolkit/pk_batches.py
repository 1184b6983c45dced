"""Batches of P identities with K images: params, usable identities, batches and ranks; numpy only.

Every sampler but `random` stands on it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from reid_core import Params, ReidError
from reid_core.limits import LARGEST_BATCH
from reid_plugins.toolkit.rounds import epoch_generator, share_per_rank, shuffled_rounds


class PKParams(Params):
    """Params of every sampler whose batches hold P identities with K images each."""

    P: int = Field(
        default=16,
        ge=1,
        le=LARGEST_BATCH,
        description="Identities per batch, counted over all processes, which share them (>= 1).",
    )
    K: int = Field(
        default=4, ge=1, le=LARGEST_BATCH, description="Images of each identity in a batch (>= 1)."
    )
    small_ids: Literal["repeat", "skip"] = Field(
        default="repeat",
        description="Identities with fewer than K images: 'repeat' shows their images more than "
        "once in a batch, each about equally often; 'skip' leaves them out of training.",
    )
    epoch: Literal["images", "identities"] = Field(
        default="images",
        description="Length of an epoch: 'images' draws about as many images as there are, "
        "floor(N / (P K)) batches, at least 1; 'identities' visits about as many identities as "
        "there are, floor(identities / P) batches.",
    )

    @model_validator(mode="after")
    def _one_batch(self) -> PKParams:
        if self.P * self.K > LARGEST_BATCH:
            raise ValueError(
                f"P x K, the images of a batch, must be <= {LARGEST_BATCH}, got {self.P} x {self.K}"
            )
        return self


def group_by_identity(labels: np.ndarray) -> list[np.ndarray]:
    """Return the positions ``(n_i,)`` of each identity's images, by rising label.

    Images without identity, whose label is -1, are left out.
    """
    order = np.argsort(labels, kind="stable")
    order = order[labels[order] >= 0]
    starts = np.flatnonzero(np.diff(labels[order])) + 1
    return np.split(order, starts) if len(order) else []


def usable_identities(
    sampler: str, groups: list[np.ndarray], p: int, params: PKParams, of: str = ""
) -> list[np.ndarray]:
    """Leave out the identities that ``small_ids`` skips, and check that a batch can be filled.

    Args:
        sampler: Name of the sampler, for the message.
        groups: Positions of each identity's images.
        p: Identities that every batch takes of these.
        params: K and the rule for small identities.
        of: Where the identities come from, if not from all training data.

    Raises:
        ReidError: Fewer than ``p`` identities remain.
    """
    skips = params.small_ids == "skip"
    usable = [images for images in groups if len(images) >= params.K or not skips]
    if len(usable) >= p:
        return usable
    need, where, what = f"P = {p} identities per batch", "the training data", "P"
    if of:
        need, where, what = f"{p} identities of {of} per batch", "it", "its share of P"
    cause, remedies = "", [f"lower {what} to {len(usable)} or less"] if usable else []
    if left_out := len(groups) - len(usable):
        cause = f" ({left_out} of {len(groups)} have fewer than K = {params.K} images)"
        remedies += ["lower K", "choose small_ids 'repeat'"]
    raise ReidError(
        f"sampler {sampler}: {need}, but {where} has only {len(usable)}{cause}; "
        + ", or ".join([*remedies, "add data"])
    )


def epoch_length(groups: list[np.ndarray], params: PKParams) -> int:
    """Return the batches of an epoch over usable identities, as the param ``epoch`` says."""
    if params.epoch == "identities":
        return len(groups) // params.P
    return max(1, sum(len(images) for images in groups) // (params.P * params.K))


def even_images(rng: np.random.Generator, images: np.ndarray, visits: int, k: int) -> np.ndarray:
    """Return ``(visits, k)`` of an identity's images ``(n,)``, used equally often give or take one.

    No image is twice in a visit before all are there.
    """
    return np.take(images, shuffled_rounds(rng, len(images), visits * k, k)).reshape(visits, k)


def fill_batches(visits: np.ndarray, pick: Callable[[int, int], np.ndarray]) -> np.ndarray:
    """Replace identities by images of them.

    Args:
        visits: ``(batches, P)`` int64, the identities of each batch.
        pick: From an identity and its number of visits n to images ``(n, K)``; it is called
            once per identity that is visited, by rising number.

    Returns:
        ``(batches, P, K)`` int64 positions.
    """
    places = np.argsort(visits, axis=None, kind="stable")  # of identity 0, then of 1, ...
    identities, times = np.unique(visits, return_counts=True)
    images = np.concatenate(
        [pick(i, n) for i, n in zip(identities.tolist(), times.tolist(), strict=True)]
    )
    drawn = np.empty_like(images)
    drawn[places] = images
    return drawn.reshape(*visits.shape, -1)


class DrawnBatches:
    """Batch sampler whose epochs are drawn as a whole; each rank takes its slice of each batch."""

    def __init__(
        self,
        sampler: str,
        draw: Callable[[np.random.Generator], np.ndarray],
        length: int,
        *,
        seed: int,
        share: slice,
    ) -> None:
        """Join how an epoch is drawn with what a rank takes of it.

        Args:
            sampler: Name of the sampler, which sets its random numbers apart from others.
            draw: From a generator to the batches ``(length, places, K)`` of one epoch.
            length: Batches of every epoch.
            seed: The run's seed.
            share: This rank's places of each batch, from ``rank_slice``.
        """
        self._name, self._draw, self._length = sampler, draw, length
        self._seed, self._share, self._epoch = seed, share, 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iterator serves."""
        self._epoch = epoch

    def __len__(self) -> int:
        """Return the batches of an epoch, the same on every rank and in every epoch."""
        return self._length

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        """Yield this rank's places of each batch as ``(epoch, index)`` pairs."""
        epoch = self._epoch
        for batch in self._draw(epoch_generator(self._seed, epoch, self._name)):
            yield [(epoch, index) for index in batch[self._share].ravel().tolist()]


def rank_slice(places: int, what: str, rank: int, world_size: int) -> slice:
    """Return the places of a batch that a rank takes.

    Raises:
        ReidError: The batch cannot be cut into equal shares.
    """
    share = share_per_rank(places, what, world_size)
    return slice(rank * share, (rank + 1) * share)

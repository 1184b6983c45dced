"""Samplers: a constant length, and batches that depend on seed, epoch and rank alone."""

from __future__ import annotations

from itertools import chain

import numpy as np

from reid_core.contracts import UNKNOWN_CAMERA, BatchSampler
from reid_core.data.epoch_batches import EpochBatches
from reid_core.testing.subject import Subject, expect, untouched_generators

COUNTS = [1, 2, 3, 4, 5, 8, 11, 30] * 5
"""Images of each of 40 identities: few, many, and those that K does not divide."""

NAMELESS = np.cumsum(COUNTS)[7:32:8] - 1
"""Images without identity, far from each other: as many as P x K samplers take of a person."""

LABELS = np.repeat(np.arange(len(COUNTS)), COUNTS).astype(np.int64)
LABELS[NAMELESS] = -1
CAMIDS = np.arange(len(LABELS), dtype=np.int64) % 3
CAMIDS[::50] = UNKNOWN_CAMERA
SOURCES = (LABELS % 2).astype(np.int64)

Keys = list[tuple[int, int]]


def _sampler(subject: Subject, seed: int = 0, rank: int = 0, world_size: int = 1) -> BatchSampler:
    built: BatchSampler = subject.build(
        labels=LABELS.copy(),
        camids=CAMIDS.copy(),
        sources=SOURCES.copy(),
        columns=subject.columns(len(LABELS)),
        seed=seed,
        rank=rank,
        world_size=world_size,
    )
    return built


def _built(subject: Subject, **context: int) -> EpochBatches:
    """Build the sampler behind the core, which looks at its length and at every batch."""
    return EpochBatches(_sampler(subject, **context), subject.offer.origin, len(LABELS))


def _epoch(batches: EpochBatches, epoch: int) -> list[Keys]:
    batches.set(epoch, 0)
    return list(batches)


def it_yields_as_many_batches_as_it_announces_in_every_epoch(subject: Subject) -> None:
    """Each of pairs (epoch, index), as plain integers; the core looks at all of them."""
    with untouched_generators():
        batches = _built(subject)
        for epoch in range(4):
            _epoch(batches, epoch)


def batches_depend_on_seed_and_epoch_alone(subject: Subject) -> None:
    """A resumed training sees the same batches."""
    first = _built(subject, seed=1)
    epochs = [_epoch(first, epoch) for epoch in range(3)]
    again = [_epoch(_built(subject, seed=1), epoch) for epoch in range(3)]
    expect(again == epochs, "another object of the same seed yields other batches")
    expect(_epoch(first, 1) == epochs[1], "going back to an epoch yields other batches")


def two_iterators_of_one_epoch_do_not_disturb_each_other(subject: Subject) -> None:
    """A loader may look ahead."""
    batches = _sampler(subject)
    batches.set_epoch(0)
    first, second = iter(batches), iter(batches)
    alike = [next(first), next(first)] == [next(second), next(second)]
    expect(alike, "the second iterator yields other batches")


def a_resumed_epoch_gives_the_rest_of_its_batches(subject: Subject) -> None:
    """From the position that the checkpoint has."""
    whole = _epoch(_built(subject), 2)
    batches = _built(subject)
    batches.set(2, 1)
    expect(list(batches) == whole[1:], "the rest of the epoch differs")


def processes_share_the_batches_of_a_single_one(subject: Subject) -> None:
    """Each rank yields its share of the same global batches."""
    alone = _epoch(_built(subject), 1)
    for world_size in (2, 4):
        ranks = [_built(subject, rank=rank, world_size=world_size) for rank in range(world_size)]
        shares = [_epoch(batches, 1) for batches in ranks]
        lengths = {len(share) for share in shares}
        expect(lengths == {len(alone)}, f"{lengths} batches by rank, {len(alone)} alone")
        for whole, *parts in zip(alone, *shares, strict=True):
            expect(len({len(part) for part in parts}) == 1, "shares of one batch differ in size")
            together = sorted(chain.from_iterable(parts))
            expect(together == sorted(whole), "the shares are not the batch of a single process")


def images_without_identity_are_not_one_person(subject: Subject) -> None:
    """Their label is -1: they are left out, or each of them is on its own.

    A sampler that takes them for a person never yields one without another; one that draws images
    in any order does so now and then, unless its batches are most of the images.
    """
    batches, nameless = _built(subject), set(NAMELESS.tolist())
    found = [{i for _, i in keys} for epoch in range(8) for keys in _epoch(batches, epoch)]
    if np.mean([len(images) for images in found]) > len(LABELS) / 2:
        return
    together = [len(images & nameless) for images in found if images & nameless]
    expect(
        not together or min(together) == 1,
        f"{len(together)} batches have images without identity (label -1), and each has at least "
        f"{min(together, default=0)} of them, as if they were one person; leave them out, or take "
        "each for its own",
    )


CHECKS = (
    it_yields_as_many_batches_as_it_announces_in_every_epoch,
    batches_depend_on_seed_and_epoch_alone,
    two_iterators_of_one_epoch_do_not_disturb_each_other,
    a_resumed_epoch_gives_the_rest_of_its_batches,
    processes_share_the_batches_of_a_single_one,
    images_without_identity_are_not_one_person,
)

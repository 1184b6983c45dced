"""Samplers: a constant length, and batches that depend on seed, epoch and rank alone."""

from __future__ import annotations

from itertools import chain
from typing import Any, cast

import numpy as np

from reid_core.component import SamplerComponent, declared
from reid_core.contracts import BatchSampler
from reid_core.data.loaders import EpochBatches
from reid_core.testing.subject import Subject, expect, untouched_generators

COUNTS = [1, 2, 3, 4, 5, 8, 11, 30] * 5
"""Images of each of 40 identities: few, many, and those that K does not divide."""

LABELS = np.repeat(np.arange(len(COUNTS)), COUNTS).astype(np.int64)
CAMIDS = np.arange(len(LABELS), dtype=np.int64) % 3
SOURCES = (LABELS % 2).astype(np.int64)

Keys = list[tuple[int, int]]


def _built(subject: Subject, **context: Any) -> BatchSampler:
    names = declared(cast(SamplerComponent, subject.component).columns, subject.params)
    usual = {
        "labels": LABELS.copy(),
        "camids": CAMIDS.copy(),
        "sources": SOURCES.copy(),
        "columns": subject.columns(names, len(LABELS)),
        **{"seed": 0, "rank": 0, "world_size": 1},
    }
    built: BatchSampler = subject.build(**{**usual, **context})
    return built


def _epoch(batches: BatchSampler, epoch: int) -> list[Keys]:
    batches.set_epoch(epoch)
    return list(batches)


def the_length_is_constant_and_true(subject: Subject) -> None:
    """Schedules and progress count by it."""
    with untouched_generators():
        batches = _built(subject)
        length = len(batches)
        expect(length > 0, "it yields no batch of 320 images")
        for epoch in range(4):
            served = len(_epoch(batches, epoch))
            expect(served == len(batches) == length, f"epoch {epoch}: {served}, not {length}")


def keys_are_the_epoch_and_the_index_of_an_image(subject: Subject) -> None:
    """As plain integers: numpy's would be sent to loader processes as arrays."""
    for epoch in (0, 3):
        keys = list(chain.from_iterable(_epoch(_built(subject), epoch)))
        types = {(type(e).__name__, type(i).__name__) for e, i in keys}
        expect(types == {("int", "int")}, f"keys of types {types}")
        expect({e for e, _ in keys} == {epoch}, f"keys of other epochs than {epoch}")
        expect(all(0 <= i < len(LABELS) for _, i in keys), "an index is no image's")


def batches_depend_on_seed_and_epoch_alone(subject: Subject) -> None:
    """A resumed training sees the same batches."""
    first = _built(subject, seed=1)
    epochs = [_epoch(first, epoch) for epoch in range(3)]
    again = [_epoch(_built(subject, seed=1), epoch) for epoch in range(3)]
    expect(again == epochs, "another object of the same seed yields other batches")
    expect(_epoch(first, 1) == epochs[1], "going back to an epoch yields other batches")


def two_iterators_of_one_epoch_do_not_disturb_each_other(subject: Subject) -> None:
    """A loader may look ahead."""
    batches = _built(subject)
    batches.set_epoch(0)
    first, second = iter(batches), iter(batches)
    expect(next(first) == next(second), "the second iterator begins elsewhere")


def a_resumed_epoch_gives_the_rest_of_its_batches(subject: Subject) -> None:
    """From the position that the checkpoint has."""
    whole = _epoch(_built(subject), 2)
    batches = EpochBatches(_built(subject))
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


CHECKS = (
    the_length_is_constant_and_true,
    keys_are_the_epoch_and_the_index_of_an_image,
    batches_depend_on_seed_and_epoch_alone,
    two_iterators_of_one_epoch_do_not_disturb_each_other,
    a_resumed_epoch_gives_the_rest_of_its_batches,
    processes_share_the_batches_of_a_single_one,
)

"""The boundary around samplers: their length, and what every batch of theirs must be."""

import numpy as np
import pytest

from reid_core import ReidError
from reid_core.boundary import Origin, PluginError
from reid_core.data.epoch_batches import EpochBatches

ORIGIN = Origin("sampler", "mine", "reid-mine", "1.0")
IMAGES = 6


class Sampler:
    """Announces a length and yields batches, right or wrong."""

    def __init__(self, length=3, batches=None):
        self.length, self.batches, self.epoch = length, batches, 0

    def set_epoch(self, epoch):
        self.epoch = epoch

    def __len__(self):
        return self.length(self.epoch) if callable(self.length) else self.length

    def __iter__(self):
        if self.batches is None:
            return iter([[(self.epoch, 2 * i), (self.epoch, 2 * i + 1)] for i in range(3)])
        return iter(self.batches)


def batches_of(sampler=None, **options):
    return EpochBatches(Sampler() if sampler is None else sampler, ORIGIN, IMAGES, **options)


def fault(sampler, epoch=0, start=0):
    """Return the message of what an epoch raises."""
    batches = batches_of(sampler)
    batches.set(epoch, start)
    with pytest.raises(PluginError) as error:
        list(batches)
    text = str(error.value)
    assert text.startswith("sampler 'mine' of reid-mine 1.0 ")
    return text.removeprefix("sampler 'mine' of reid-mine 1.0 ").removesuffix(
        "; the plugin must be corrected"
    )


def test_right_batches_pass_from_the_start_on():
    batches = batches_of()
    batches.set(4, 1)
    assert list(batches) == [[(4, 2), (4, 3)], [(4, 4), (4, 5)]]
    assert len(batches) == 3
    batches.set(4, 3)
    assert list(batches) == []


def test_indices_lead_to_all_images():
    batches = EpochBatches(Sampler(), ORIGIN, IMAGES, np.array([10, 11, 12, 13, 14, 25]))
    batches.set(0, 2)
    assert list(batches) == [[(0, 14), (0, 25)]]


@pytest.mark.parametrize("start", [0, 1, 2])
@pytest.mark.parametrize(
    ("length", "message"),
    [
        (4, "yields only 3 batches and announces 4 by its length in epoch 1"),
        (2, "yields more than 2 batches and announces 2 by its length in epoch 1"),
    ],
)
def test_fewer_and_more_batches_than_announced(length, message, start):
    assert fault(Sampler(length), start=start) == message


def test_a_length_that_changes():
    batches = batches_of(Sampler(lambda epoch: 3 + (epoch == 2)))
    batches.set(1, 0)
    with pytest.raises(PluginError, match=r"has 4 batches in epoch 3 and 3 before; expected the"):
        batches.set(2, 0)


def test_no_batch_is_a_mistake_of_the_user():
    with pytest.raises(
        ReidError, match=r"sampler 'mine' of reid-mine 1\.0: 6 images make no batch; lower the batc"
    ) as error:
        batches_of(Sampler(0))
    assert not isinstance(error.value, PluginError)


@pytest.mark.parametrize("length", [2.0, -1, "3", None])
def test_a_length_that_is_none(length):
    with pytest.raises(PluginError, match="failed when it was asked for its length: "):
        batches_of(Sampler(length))


FORM = "expected a list of pairs (epoch, index), not empty at batch 2 of epoch 1"
PAIR = "expected a pair (epoch, index) of ints at batch 2 of epoch 1"


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ([], f"yields an empty list; {FORM}"),
        (((0, 1),), f"yields a tuple; {FORM}"),
        (None, f"yields a NoneType; {FORM}"),
        ([(0, 1), 2], f"yields 2; {PAIR}"),
        ([(0, 1, 2)], f"yields (0, 1, 2); {PAIR}"),
        ([(0, True)], f"yields (0, True); {PAIR}"),
        ([(0, np.int64(1))], f"yields (0, {np.int64(1)!r}); {PAIR}"),
        (
            [(0, 6)],
            "yields (0, 6); expected (epoch, index) of epoch 0 and an index from 0 to 5 at batch 2 "
            "of epoch 1",
        ),
        (
            [(1, -1)],
            "yields (1, -1); expected (epoch, index) of epoch 0 and an index from 0 to 5 at batch "
            "2 of epoch 1",
        ),
        (
            [(1, 1)],
            "yields (1, 1); expected (epoch, index) of epoch 0 and an index from 0 to 5 at batch 2 "
            "of epoch 1",
        ),
    ],
)
@pytest.mark.parametrize("start", [0, 2])
def test_a_batch_of_the_wrong_form(batch, message, start):
    assert fault(Sampler(3, [[(0, 1)], batch, [(0, 1)]]), start=start) == message


def test_what_a_sampler_raises():
    def batches():
        yield [(0, 1)]
        raise KeyError("nobody")

    text = fault(Sampler(3, batches()))
    assert text.startswith("failed at batch 2 of epoch 1: KeyError: 'nobody'")


def test_an_epoch_that_cannot_be_chosen():
    sampler = Sampler()
    sampler.set_epoch = lambda: None
    with pytest.raises(PluginError, match=r"failed in epoch 8: TypeError: "):
        batches_of(sampler).set(7, 0)

"""What samplers yield, as plain lists of image indices."""

from itertools import chain


def batches_of(sampler, epoch=0):
    """Return the batches of an epoch as lists of indices."""
    sampler.set_epoch(epoch)
    batches = list(sampler)
    assert {e for batch in batches for e, _ in batch} <= {epoch}
    return [[index for _, index in batch] for batch in batches]


def joined(batches):
    """Return the indices of all batches in order."""
    return list(chain.from_iterable(batches))

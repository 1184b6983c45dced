"""Random orders in which everything has its turn, and shares of processes; numpy only.

The samplers `random`, those that balance, and `pk_batches` stand on it.
"""

from __future__ import annotations

import zlib

import numpy as np

from reid_core import ReidError


def epoch_generator(seed: int, epoch: int, name: str) -> np.random.Generator:
    """Return a generator that depends on (seed, epoch, name), the same on every rank."""
    return np.random.default_rng(np.random.SeedSequence([seed, epoch, zlib.crc32(name.encode())]))


def share_per_rank(total: int, what: str, world_size: int) -> int:
    """Return how much of a global batch each process takes.

    Raises:
        ReidError: The batch cannot be cut into equal shares.
    """
    if total % world_size:
        fitting = max(1, total // world_size) * world_size
        raise ReidError(
            f"sampler: {what} = {total} counts all processes and cannot be shared equally by "
            f"{world_size} of them; choose a multiple of {world_size}, such as {fitting}"
        )
    return total // world_size


def shuffled_rounds(rng: np.random.Generator, n: int, length: int, block: int) -> np.ndarray:
    """Return ``length`` numbers of 0..n-1: everything once in random order, then again.

    Every number appears equally often, give or take one, both within each consecutive block
    and up to the end of each block. So a block of up to n numbers has no number twice, also
    where two rounds meet, and a larger one has them all.

    Args:
        rng: Source of randomness.
        n: How many different numbers there are.
        length: Numbers to return, a multiple of ``block``.
        block: Size of the blocks.

    Returns:
        ``(length,)`` int64.
    """
    if n < block:  # every block has whole rounds of its own; what is left over goes round
        blocks, left_over = length // block, block % n
        whole = rng.permuted(np.tile(np.arange(n), (blocks * (block // n), 1)), axis=1)
        rest = shuffled_rounds(rng, n, blocks * left_over, left_over)
        parts = (whole.reshape(blocks, block - left_over), rest.reshape(blocks, left_over))
        return np.concatenate(parts, axis=1).ravel()
    rounds = -(-length // n)
    order = rng.permuted(np.tile(np.arange(n), (rounds, 1)), axis=1)  # (rounds, n)
    for row in range(1, rounds):
        begun = row * n % block  # numbers that the last round put into the block in between
        if begun:
            order[row] = _delay(order[row], order[row - 1, n - begun :], block - begun)
    return order.ravel()[:length]


def _delay(order: np.ndarray, held: np.ndarray, count: int) -> np.ndarray:
    """Reorder a permutation so that its first ``count`` entries are not among ``held``."""
    is_held = np.zeros(len(order), dtype=bool)
    is_held[held] = True
    first = np.flatnonzero(~is_held[order])[:count]
    return np.concatenate([order[first], np.delete(order, first)])

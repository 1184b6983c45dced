"""Which gallery images a draw has, where a protocol does not rank the whole gallery."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from reid_evaluate.protocols.junk_rules import Labelled

Integers = npt.NDArray[np.int64]


def one_of_each_identity(gallery: Labelled, draws: int, rng: np.random.Generator) -> list[Integers]:
    """Draw one gallery image of every identity, anew each time.

    Args:
        gallery: The whole gallery. Images flagged junk are never drawn; distractors are one
            identity each.
        draws: How often to draw.
        rng: Draws.

    Returns:
        For each draw the positions ``(P,)`` of its images, with P identities and distractors.
    """
    alone = np.flatnonzero(gallery.distractor & ~gallery.junk)
    usable = np.flatnonzero(~gallery.distractor & ~gallery.junk)
    _, identity = np.unique(gallery.pids[usable], return_inverse=True)
    order = np.argsort(identity, kind="stable")
    number = np.bincount(identity)
    first = np.cumsum(number) - number
    return [
        np.concatenate([usable[order[first + rng.integers(0, number)]], alone])
        for _ in range(draws)
    ]

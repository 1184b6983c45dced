"""The single-gallery-shot CMC: in each draw, every identity has one gallery image.

The protocol of CUHK03's first splits: Li et al., "DeepReID: Deep Filter Pairing Neural Network
for Person Re-Identification", CVPR 2014.

Shapes: Q queries, b queries of a block.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from reid_evaluate.protocols.gallery_draws import one_of_each_identity
from reid_evaluate.protocols.junk_rules import MATCH, Pairing
from reid_evaluate.protocols.rule_data import JunkRule
from reid_evaluate.ranking.keys import Keyed, key_blocks
from reid_evaluate.ranking.rank_queries import BLOCK_SIZE

Integers = npt.NDArray[np.int64]


def single_shot_ranks(
    keyed: Keyed,
    *,
    junk_rule: JunkRule = "cross_camera",
    draws: int = 10,
    seed: int = 0,
    block_size: int = BLOCK_SIZE,
) -> Integers:
    """Rank one image of every identity, drawn anew each time.

    For each draw, one gallery image of every identity is drawn for all queries together, and
    for each query one of its matches. Distractors are one identity each.

    Args:
        keyed: Q queries and the gallery, from ``compare``.
        junk_rule: Which gallery images a query is not scored on, see ``Pairing``.
        draws: How often to draw, 1 or larger.
        seed: Of the draws, 0 or larger.
        block_size: Queries at a time.

    Returns:
        ``(draws, Q)`` rank of the query's match; 0 for a query without a match. Ties are
        pessimistic, see ``ranking``.

    Raises:
        ValueError: The junk rule is unknown or ``draws`` below 1.
    """
    if draws < 1:
        raise ValueError(f"draws must be 1 or larger, got {draws}")
    pairing = Pairing(keyed.query, keyed.gallery, junk_rule)
    rng = np.random.default_rng(seed)
    shots = one_of_each_identity(keyed.gallery, draws, rng)
    ranks = np.zeros((draws, len(keyed.query.pids)), dtype=np.int64)
    for start, keys in key_blocks(keyed, block_size):
        stop = start + len(keys)
        query, image, flags = pairing.special(start, stop)
        matches = flags == MATCH
        row, image_of_match = query[matches] - start, image[matches]
        has, first, number = np.unique(row, return_index=True, return_counts=True)
        drawn = image_of_match[first + rng.integers(0, number, size=(draws, len(has)))]
        place = torch.from_numpy(np.stack([query - start, image])).to(keys.device)
        at = torch.from_numpy(np.stack([np.broadcast_to(has, drawn.shape), drawn])).to(keys.device)
        limits = keys[at[0], at[1]]
        keys[place[0], place[1]] = torch.inf  # own images are not among the wrong ones
        rows = torch.from_numpy(has).to(keys.device)
        for draw, shot in enumerate(shots):
            wrong = keys[rows][:, torch.from_numpy(shot).to(keys.device)]
            before = (wrong <= limits[draw][:, None]).sum(dim=1)
            ranks[draw, start + has] = 1 + before.cpu().numpy()
    return ranks

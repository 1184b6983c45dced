"""Search over the parameters of k-reciprocal re-ranking, sharing all that can be shared.

The neighbours are searched once, the base distances made once for a few (k1, k2) together, and
the descriptions once for each; a further lambda costs a mixture and a ranking.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from reid_evaluate.distances.comparison import Comparison, Distance
from reid_evaluate.distances.distance_matrix import Cosine
from reid_evaluate.protocols.rule_data import JunkRule
from reid_evaluate.ranking.keys import Keyed
from reid_evaluate.ranking.rank_queries import BLOCK_SIZE, BlockRanker
from reid_evaluate.reranking.k_reciprocal import ReRanked
from reid_evaluate.reranking.reciprocal_encoding import encode, neighbourhood

PAIRS_AT_ONCE = 4
"""Choices of (k1, k2) that share the base distances of a block; each keeps its descriptions, of
about 100 entries an image."""


@dataclass(frozen=True)
class Trial:
    """The scores of one choice of parameters; k1 of 0 stands for no re-ranking.

    Attributes:
        k1: Neighbours that may be reciprocal.
        k2: Nearest images whose descriptions are averaged.
        lambda_value: Weight of the base distance.
        mean_ap: Mean standard AP over the queries with a match.
        rank1: Share of them whose nearest image is a match.
    """

    k1: int
    k2: int
    lambda_value: float
    mean_ap: float
    rank1: float


def search(
    keyed: Keyed,
    pairs: Sequence[tuple[int, int]],
    lambdas: Sequence[float],
    *,
    distance: Distance | None = None,
    power: int = 1,
    junk_rule: JunkRule = "cross_camera",
    block_size: int = BLOCK_SIZE,
) -> Iterator[Trial]:
    """Yield the scores of every (k1, k2) with every lambda, without re-ranking first.

    Args:
        keyed: Checked images, compared without steps.
        pairs: Values of k1 and k2, at least one pair.
        lambdas: Values of lambda, 0 to 1.
        distance: Symmetric distance of the images; default: cosine.
        power: Which power of it is the base distance.
        junk_rule: Which gallery images a query is not scored on.
        block_size: Queries at a time; memory is about ``16 * block_size * G`` bytes.

    Raises:
        ValueError: No query has a match, or a parameter does not fit the images.
    """
    comparison = Comparison(keyed.query.vectors, keyed.gallery.vectors, distance or Cosine())
    found = neighbourhood(comparison, max(k1 for k1, _ in pairs), power=power)
    total, size = len(keyed.query.pids), len(keyed.gallery.pids)
    device = keyed.gallery.features.device
    base, jaccard, keys = (torch.empty(min(block_size, total), size, device=device) for _ in "bjk")
    with BlockRanker(keyed, junk_rule) as ranker:
        blocks = range(0, total, block_size)
        plain = _Means()
        for start in blocks:
            part = keys[: min(block_size, total - start)]
            keyed.keys.fill(start, start + len(part), part)
            plain.add(ranker, start, part)
        yield plain.trial(0, 0, 1.0)
        for first in range(0, len(pairs), PAIRS_AT_ONCE):
            some = pairs[first : first + PAIRS_AT_ONCE]
            mixed = [ReRanked(found, encode(found, k1, k2), 0.0) for k1, k2 in some]
            means = [[_Means() for _ in lambdas] for _ in some]
            for start in blocks:
                stop = min(start + block_size, total)
                far, near, part = (b[: stop - start] for b in (base, jaccard, keys))
                mixed[0].base(start, stop, far)  # the same for every pair
                for one, row in zip(mixed, means, strict=True):
                    one.jaccard(start, stop, near)
                    for value, mean in zip(lambdas, row, strict=True):
                        torch.lerp(near, far, value, out=part)
                        mean.add(ranker, start, part)
            for (k1, k2), row in zip(some, means, strict=True):
                yield from (m.trial(k1, k2, v) for v, m in zip(lambdas, row, strict=True))


def pairs_of(k1s: Iterable[int], k2s: Iterable[int]) -> list[tuple[int, int]]:
    """Return every k1 with every k2 of at most 0.7 times its size.

    More neighbours than that to average over never won in the search of
    person-reid-tiny-baseline, whose grid this rule is from.

    >>> pairs_of([4, 10], [2, 6])
    [(4, 2), (10, 2), (10, 6)]
    """
    k2s = list(k2s)
    return [(k1, k2) for k1 in k1s for k2 in k2s if k2 <= 0.7 * k1]


class _Means:
    """Means over the queries with a match."""

    def __init__(self) -> None:
        self._ap: list[np.ndarray] = []
        self._first: list[np.ndarray] = []

    def add(self, ranker: BlockRanker, start: int, keys: torch.Tensor) -> None:
        ap, _, _, first, number, *_ = ranker.scores(ranker.sort(start, keys), len(keys))
        self._ap.append(ap[number > 0])
        self._first.append(first[number > 0])

    def trial(self, k1: int, k2: int, lambda_value: float) -> Trial:
        ap, first = np.concatenate(self._ap), np.concatenate(self._first)
        if not len(ap):
            raise ValueError("no query has a match among the gallery images that count")
        return Trial(k1, k2, lambda_value, float(ap.mean()), float((first == 1).mean()))

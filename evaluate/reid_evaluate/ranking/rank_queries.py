"""Rank a gallery for every query and score the ranking: AP, mINP, first match.

Only the ranks of the matches are needed. A match's rank is 1 + the matches before it + the
kept wrong images at its key or nearer. So the keys of one block of queries are made, those of
matches and junk are taken out, the rest of each row is sorted where it lies, and the matches
are looked up in it. The block is then overwritten by the next.

The tie rule follows from "at its key": a wrong image at exactly the key of a match ranks before
it. That does not depend on the order of the gallery, and a model that maps all images to one
point scores as badly as it deserves.

Shapes: Q queries, G gallery images, b queries of a block, n matches, C groups of the gallery.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from reid_evaluate.distances.smallest import smallest
from reid_evaluate.protocols.junk_rules import MATCH, Pairing
from reid_evaluate.protocols.rule_data import JunkRule
from reid_evaluate.ranking.ap_and_cmc import precision_terms, trapezoid_terms
from reid_evaluate.ranking.keys import Keyed, key_blocks

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

TIE_RULE = "pessimistic: a wrong image at the same float32 distance ranks before the match"

BLOCK_SIZE = 1024
"""Queries at a time: large enough for a matrix product at full speed."""

_COPY = 1e-5
"""Vectors are copies if no number differs by more than this fraction of the vector's length."""


@dataclass(frozen=True)
class Ranking:
    """The scores of every query; a query without a match has zeros in the first five.

    Attributes:
        ap: ``(Q,)`` standard average precision, 0 to 1.
        ap_trapezoid: ``(Q,)`` the trapezoid form, 0 to 1.
        inp: ``(Q,)`` inverse negative penalty, 0 to 1.
        first_rank: ``(Q,)`` int64, 1-based rank of the first match.
        num_matches: ``(Q,)`` int64, matches that the junk rule leaves.
        copies: ``(Q,)`` bool, the nearest match has the query's vector but for rounding.
        nearest_match: ``(Q,)`` distance of the first match; infinite without one.
        nearest_wrong: ``(Q,)`` distance of the hardest negative; infinite without one.
        top_indices: ``(Q, k)`` int64, the nearest gallery images, junk included.
        top_flags: ``(Q, k)`` int8, ``WRONG``, ``MATCH`` or ``JUNK``.
        top_distances: ``(Q, k)`` float32, ascending.
    """

    ap: Floats
    ap_trapezoid: Floats
    inp: Floats
    first_rank: Integers
    num_matches: Integers
    copies: npt.NDArray[np.bool_]
    nearest_match: Floats
    nearest_wrong: Floats
    top_indices: Integers
    top_flags: npt.NDArray[np.int8]
    top_distances: npt.NDArray[np.float32]


@dataclass(frozen=True)
class Block:
    """What is known of some queries when their rows have been sorted.

    Attributes:
        start: Position of the first query.
        matches: Query ``(n,)``, image ``(n,)`` and key ``(n,)`` of every match, by query and
            then key.
        wrong: For each group of gallery images, ``(b, images of the group)`` the ascending
            keys of wrong images, infinite at the end for images that are left out.
        before: ``(n, C)`` wrong images of each group at the match's key or nearer.
        top: Indices, flags and distances ``(b, k)`` of the nearest images.
    """

    start: int
    matches: tuple[Integers, Integers, Tensor]
    wrong: Sequence[Tensor]
    before: Integers
    top: tuple[npt.NDArray[Any], ...]


class Observer(Protocol):
    """Something that counts while the blocks pass; it must not keep or change their tensors."""

    def see(self, block: Block) -> None:
        """Take note of a block."""


def rank_queries(
    keyed: Keyed,
    *,
    junk_rule: JunkRule = "cross_camera",
    top_k: int = 10,
    block_size: int = BLOCK_SIZE,
    groups: Sequence[Integers] | None = None,
    observers: Sequence[Observer] = (),
) -> Ranking:
    """Rank the gallery for every query.

    Args:
        keyed: Q queries and G gallery images, from ``compare`` or, for a matrix of distances,
            from ``given_distances.keyed_by``.
        junk_rule: Which gallery images a query is not scored on, see ``Pairing``.
        top_k: How many images of each ranking to keep for pictures, at most G of them.
        block_size: Queries at a time; memory is about ``5 * block_size * G`` bytes. The last
            bit of a matrix product depends on it, and so may the order of distances that
            differ in that bit only.
        groups: ``C`` arrays of gallery positions, each image in exactly one, for observers;
            default: one group.
        observers: See every block.

    Returns:
        The scores of each query, in the order of the queries.

    Raises:
        ValueError: An option is unknown or out of range, or a distance is not a number.

    >>> from reid_evaluate.ranking.images import ImageSet
    >>> from reid_evaluate.ranking.keys import compare
    >>> def images(vectors, pids, camids):
    ...     names, flags = [f"{camids[0]}/{row}" for row in range(len(pids))], [False] * len(pids)
    ...     return ImageSet(np.array(vectors), pids, camids, names, junk=flags, distractor=flags)
    >>> query = images([[1.0, 0.0]], ["ann"], [0])
    >>> gallery = images([[1.0, 0.1], [1.0, 0.2], [0.0, 1.0]], ["bob", "ann", "ann"], [1, 1, 1])
    >>> ranking = rank_queries(compare(query, gallery))
    >>> ranking.first_rank.tolist(), ranking.ap.round(3).tolist()
    ([2], [0.583])
    >>> ranking.top_indices.tolist(), ranking.top_flags.tolist()  # 0 is wrong, 1 a match
    ([[0, 1, 2]], [[0, 1, 1]])
    """
    if top_k < 0:
        raise ValueError(f"top_k must be 0 or larger, got {top_k}")
    if block_size < 1:
        raise ValueError(f"block_size must be 1 or larger, got {block_size}")
    rows = []
    with BlockRanker(keyed, junk_rule, groups) as ranker:
        for start, keys in key_blocks(keyed, block_size):
            block = ranker.sort(start, keys, min(top_k, keys.shape[1]))
            for observer in observers:
                observer.see(block)
            rows.append((*ranker.scores(block, len(keys)), *block.top))
    return Ranking(*(np.concatenate(column) for column in zip(*rows, strict=True)))


class BlockRanker:
    """Turns blocks of queries into their scores; what ``rank_queries`` is made of."""

    def __init__(
        self,
        keyed: Keyed,
        junk_rule: JunkRule = "cross_camera",
        groups: Sequence[Integers] | None = None,
    ) -> None:
        """Prepare for the images of a comparison; see ``rank_queries``."""
        query, gallery = keyed.query.features, keyed.gallery.features
        self._features = query, gallery
        self._rounding = _COPY * keyed.query.vectors.norms
        self._values = keyed.keys.values
        self._pairing = Pairing(keyed.query, keyed.gallery, junk_rule)
        junk = torch.from_numpy(keyed.gallery.junk).to(gallery.device)
        self._junk = gallery.new_zeros(len(gallery)).masked_fill_(junk, torch.inf)
        self._any_junk = bool(keyed.gallery.junk.any())
        self._groups = [torch.from_numpy(g).to(gallery.device) for g in groups or ()]
        self._pool = ThreadPoolExecutor(torch.get_num_threads())

    def __enter__(self) -> BlockRanker:
        """Return itself."""
        return self

    def __exit__(self, *error: object) -> None:
        """End its threads."""
        self._pool.shutdown()

    def sort(self, start: int, keys: Tensor, top_k: int = 0) -> Block:
        """Sort the keys ``(b, G)`` of the queries from ``start`` on where they lie.

        Raises:
            ValueError: A key is not a number.
        """
        row, image, flags = self._pairing.special(start, start + len(keys))
        place = torch.from_numpy((row - start) * keys.shape[1] + image).to(keys.device)
        is_match = flags == MATCH
        matches = self._sorted_matches(row[is_match], image[is_match], place[is_match], keys)
        top = self._top(start, keys, place[is_match], top_k)
        keys.view(-1)[place] = torch.inf
        if self._any_junk:
            keys.add_(self._junk)  # one pass in order is faster than writing single columns
        wrong = [keys.index_select(1, g) for g in self._groups] if self._groups else [keys]
        for part in wrong:
            _sort_rows(part, self._pool)
            if bool(part[:, -1].isnan().any()):
                raise ValueError("the distance gave values that are not numbers (NaN)")
        before = np.stack([_counts(part, matches, start) for part in wrong], axis=1)
        return Block(start, matches, wrong, before, top)

    def _top(
        self, start: int, keys: Tensor, matches: Tensor, k: int
    ) -> tuple[npt.NDArray[Any], ...]:
        """Return indices, flags and distances of the k nearest; at one key matches are last."""
        flat = keys.view(-1)
        original = flat[matches]
        flat[matches] = torch.nextafter(original, torch.full_like(original, torch.inf))
        _, columns = smallest(keys, k)
        flat[matches] = original
        images = columns.cpu().numpy()
        queries = np.arange(start, start + len(keys))[:, None]
        found = self._values(keys.gather(1, columns)).cpu().numpy()
        return images, self._pairing.flags(queries, images), found

    def _sorted_matches(
        self, row: Integers, image: Integers, place: Tensor, keys: Tensor
    ) -> tuple[Integers, Integers, Tensor]:
        found = keys.view(-1)[place]
        values = found.cpu().numpy()
        if not np.isfinite(values).all():
            raise ValueError("the distance gave values that are not finite")
        order = np.lexsort((values, row))
        return row[order], image[order], found[torch.from_numpy(order).to(found.device)]

    def scores(self, block: Block, count: int) -> tuple[npt.NDArray[Any], ...]:
        """Return the first eight columns of ``Ranking`` for the block's queries."""
        query, image, keys = block.matches
        row = query - block.start
        number = np.bincount(row, minlength=count)
        first = np.cumsum(number) - number
        order = np.arange(len(row)) - np.repeat(first, number) + 1
        ranks = block.before.sum(axis=1) + order
        has = number > 0
        divisor = np.maximum(number, 1)
        head, last = first[has], (first + number - 1)[has]
        first_rank, inp = np.zeros(count, dtype=np.int64), np.zeros(count)
        first_rank[has], inp[has] = ranks[head], number[has] / ranks[last]
        copies = np.zeros(count, dtype=np.bool_)
        copies[has] = self._are_copies(query[head], image[head])
        nearest = keys.new_full((count,), torch.inf)
        nearest[torch.from_numpy(has)] = keys[torch.from_numpy(head).to(keys.device)]
        hardest = torch.stack([part[:, 0] for part in block.wrong]).amin(dim=0)
        return (
            np.bincount(row, precision_terms(order, ranks), count) / divisor,
            np.bincount(row, trapezoid_terms(order, ranks), count) / divisor,
            inp,
            first_rank,
            number,
            copies,
            self._distances(nearest),
            self._distances(hardest),
        )

    def _distances(self, keys: Tensor) -> Floats:
        return self._values(keys).double().cpu().numpy()

    def _are_copies(self, query: Integers, image: Integers) -> npt.NDArray[np.bool_]:
        device = self._features[0].device
        if not self._features[0].shape[1]:  # ranked by distances alone
            return np.zeros(len(query), dtype=np.bool_)
        pairs = torch.from_numpy(np.stack([query, image])).to(device)
        result = np.ones(len(query), dtype=np.bool_)
        for width in (8, None):  # a few numbers tell most pairs apart
            left = torch.from_numpy(np.flatnonzero(result)).to(device)
            one = self._features[0][pairs[0, left], :width]
            other = self._features[1][pairs[1, left], :width]
            close = (one - other).abs().amax(dim=1) <= self._rounding[pairs[0, left]]
            result[result] = close.cpu().numpy()
        return result


def _sort_rows(keys: Tensor, pool: ThreadPoolExecutor) -> None:
    """Sort every row in place. On the CPU numpy's sort is several times faster than torch's."""
    if keys.device.type != "cpu":
        keys.copy_(keys.sort(dim=1).values)
        return
    own, *others = np.array_split(keys.numpy(), torch.get_num_threads())
    waiting = [pool.submit(part.sort, axis=1) for part in others]
    own.sort(axis=1)  # this thread keeps its core, on which the next matrix product begins
    for part in waiting:
        part.result()


def _counts(wrong: Tensor, matches: tuple[Integers, Integers, Tensor], start: int) -> Integers:
    """Return for each match how many of its row's ascending keys are at its key or before."""
    row = matches[0] - start
    number = np.bincount(row, minlength=len(wrong))
    place = np.arange(len(row)) - np.repeat(np.cumsum(number) - number, number)
    table = wrong.new_zeros(len(wrong), int(number.max(initial=0)))
    at = torch.from_numpy(row), torch.from_numpy(place)
    table[at] = matches[2]
    counts = torch.searchsorted(wrong, table, right=True)
    found: Integers = counts[at].cpu().numpy()
    return found

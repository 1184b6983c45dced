"""Same person or not: error rates of a threshold on the distance, over all pairs.

Shapes: b queries of a block, n matches, E edges of a histogram.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from reid_evaluate.ranking.rank_queries import Block
from reid_evaluate.statistics.bootstrap import mean_interval

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

BINS = 200


class Verification:
    """Collects from the blocks of a ranking what error rates need; an ``Observer``.

    Of the keys of different persons only the smallest are kept, as many as the largest false
    positive rate needs, so memory is about ``8 * max(fprs) * Q * G`` bytes beside the matches.
    """

    def __init__(self, pairs: int, fprs: Sequence[float]) -> None:
        """Prepare for at most ``pairs`` pairs and false positive rates between 0 and 1."""
        if not fprs or not all(0 < rate < 1 for rate in fprs):
            raise ValueError(f"false positive rates must be between 0 and 1, got {list(fprs)}")
        self._fprs = tuple(fprs)
        self._capacity = int(max(fprs) * pairs) + 1
        self._bound = np.inf
        self._wrong: list[npt.NDArray[np.float32]] = []
        self._waiting = 0
        self._same: list[npt.NDArray[np.float32]] = []
        self._query: list[Integers] = []
        self._edges: Tensor | None = None
        self._counts = np.zeros((2, BINS), dtype=np.int64)

    def see(self, block: Block) -> None:
        """Take note of the keys of a block."""
        same = block.matches[2]
        self._same.append(same.cpu().numpy())
        self._query.append(block.matches[0])
        if self._edges is None:
            self._edges = _edges(same, block.wrong)
        self._counts[0] += _histogram(same.sort().values[None, :], self._edges)
        for wrong in block.wrong:
            self._counts[1] += _histogram(wrong, self._edges)
            self._keep_smallest(wrong)

    def _keep_smallest(self, wrong: Tensor) -> None:
        """Keep the keys that may be among the smallest of all; rows are ascending."""
        width = -(-self._capacity // len(wrong))
        if self._bound == np.inf and width <= wrong.shape[1]:
            # These columns hold enough keys at or below their largest to fill the capacity.
            self._bound = float(wrong[:, width - 1].max())
        reach = int(_up_to(wrong, wrong.new_tensor([self._bound])).max())
        part = wrong[:, :reach]
        kept = part[(part <= self._bound) & (part < torch.inf)].cpu().numpy()
        self._wrong.append(kept)
        self._waiting += len(kept)
        if self._waiting > 2 * self._capacity:
            smallest = np.partition(np.concatenate(self._wrong), self._capacity - 1)
            self._wrong = [smallest[: self._capacity].copy()]
            self._waiting, self._bound = self._capacity, float(self._wrong[0].max())

    def rates(self) -> dict[float, tuple[float, float]]:
        """Return for each false positive rate the true positive rate and the key of it.

        Pairs of one person are the positive ones. A pair is accepted when its key is below
        the threshold, which is the largest that accepts at most the given share of the pairs
        of different persons; equal keys are accepted or refused together.

        Returns:
            By rate: the share of accepted positive pairs (NaN when there is none), and the
            threshold's key (infinite when all are accepted).
        """
        wrong = np.sort(np.concatenate(self._wrong)) if self._wrong else np.zeros(0)
        same = np.concatenate(self._same) if self._same else np.zeros(0)
        number = int(self._counts[1].sum())
        result = {}
        for rate in self._fprs:
            allowed = int(rate * number)
            limit = float(wrong[allowed]) if allowed < len(wrong) else np.inf
            result[rate] = (float(np.mean(same < limit)) if len(same) else np.nan, limit)
        return result

    def intervals(self, *, draws: int = 1000, seed: int = 0) -> dict[float, tuple[float, float]]:
        """Return 95 % bootstrap intervals of the true positive rates, by false positive rate.

        Queries with a match are drawn, each with all of its pairs of one person. The thresholds
        are held, so that what other queries would do to these is left out.

        Args:
            draws: How often to draw, 1 or larger.
            seed: Of the draws, 0 or larger.

        Raises:
            ValueError: There is no pair of one person, or an option is out of range.
        """
        same, query = np.concatenate(self._same), np.concatenate(self._query)
        limits = {str(rate): limit for rate, (_, limit) in self.rates().items()}
        accepted = {name: same < limit for name, limit in limits.items()}
        found = mean_interval(accepted, groups=query, draws=draws, seed=seed)
        return {rate: found[str(rate)] for rate in self._fprs}

    def histogram(self) -> tuple[npt.NDArray[np.float32], Integers]:
        """Return the edges ``(BINS + 1,)`` in keys and the counts ``(2, BINS)``.

        The first row counts pairs of one person, the second pairs of different persons; keys
        beyond the range of the first rows are in the bins at the ends.
        """
        if self._edges is None:
            return np.linspace(0, 1, BINS + 1, dtype=np.float32), self._counts
        return self._edges.cpu().numpy(), self._counts


def _edges(same: Tensor, wrong: Sequence[Tensor]) -> Tensor:
    """Return even edges over the range of some keys."""
    finite = [part[:32][part[:32] < torch.inf] for part in wrong]
    found = [part for part in (same, *finite) if len(part)]
    low = min((float(part.min()) for part in found), default=0.0)
    high = max((float(part.max()) for part in found), default=1.0)
    high = max(high, low + 0.01 * max(1.0, abs(low)))
    return torch.linspace(low, high, BINS + 1, device=same.device)


def _histogram(rows: Tensor, edges: Tensor) -> Integers:
    """Count ascending rows between edges; infinite keys do not count."""
    last = torch.nextafter(edges.new_tensor(torch.inf), edges[0])  # the largest finite number
    limits = torch.cat([edges[1:-1], last[None]])
    counts: Integers = np.diff(_up_to(rows, limits).sum(dim=0).cpu().numpy(), prepend=0)
    return counts


def _up_to(rows: Tensor, limits: Tensor) -> Tensor:
    """Return how many numbers of each ascending row are at or below each limit."""
    table = limits.expand(len(rows), -1).contiguous()
    return torch.searchsorted(rows, table, right=True)

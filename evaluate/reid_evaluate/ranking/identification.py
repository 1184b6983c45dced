"""Open-set search: is the person in the gallery at all, and if so, who is it?

Reference: Grother and Micheals (eds.), Phillips et al., "Handbook of Face Recognition",
chapter on evaluation methods: detection and identification rate (watchlist task).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from reid_evaluate.statistics.bootstrap import statistic_interval

Floats = npt.NDArray[np.float64]


def detection_identification_rate(
    first_rank: npt.ArrayLike,
    nearest_match: npt.ArrayLike,
    nearest_wrong: npt.ArrayLike,
    fars: Sequence[float],
) -> dict[float, float]:
    """Return the share of known persons who are found and named, by false alarm rate.

    An alarm is raised when the nearest gallery image is nearer than a threshold. Unknown
    persons are played by all queries, each searched in the gallery without the images of its
    own person, so that its nearest wrong image decides. The threshold is the largest with
    which at most the given share of them raises a false alarm. A known person, a query with a
    match, counts when the nearest image of all is a match and nearer than the threshold.

    Args:
        first_rank: ``(Q,)`` rank of the first match; 0 for no match.
        nearest_match: ``(Q,)`` distance of the first match; infinite without one.
        nearest_wrong: ``(Q,)`` distance of the nearest wrong image; infinite without one.
        fars: False alarm rates, 0 to 1.

    Returns:
        Fraction by rate; NaN when no query has a match.

    Raises:
        ValueError: A rate is out of range or the arrays differ in length.

    >>> detection_identification_rate([1, 1, 2], [0.1, 0.4, 0.6], [0.3, 0.5, 0.5], [0.0])
    {0.0: 0.3333333333333333}
    """
    search = _Search(first_rank, nearest_match, nearest_wrong, fars)
    found = search.shares(np.ones((1, search.queries)))[0]
    if not search.any_known:
        return dict.fromkeys(fars, float("nan"))
    return dict(zip(fars, found.tolist(), strict=True))


def detection_identification_interval(
    first_rank: npt.ArrayLike,
    nearest_match: npt.ArrayLike,
    nearest_wrong: npt.ArrayLike,
    fars: Sequence[float],
    *,
    draws: int = 1000,
    seed: int = 0,
) -> dict[float, tuple[float, float]]:
    """Return 95 % bootstrap intervals of the rates; each draw of the queries has its own threshold.

    Args:
        first_rank: As for ``detection_identification_rate``.
        nearest_match: Likewise.
        nearest_wrong: Likewise; one query or more.
        fars: Likewise.
        draws: How often to draw the queries anew, 1 or larger.
        seed: Of the draws, 0 or larger.

    Returns:
        ``(low, high)`` by rate. A draw without a known person counts as 0.

    Raises:
        ValueError: As ``detection_identification_rate``, or an option is out of range.
    """
    search = _Search(first_rank, nearest_match, nearest_wrong, fars)
    ends = statistic_interval(search.shares, search.queries, draws=draws, seed=seed)
    return dict(zip(fars, ends, strict=True))


class _Search:
    """The queries in the order in which a growing threshold lets them pass."""

    def __init__(
        self,
        first_rank: npt.ArrayLike,
        nearest_match: npt.ArrayLike,
        nearest_wrong: npt.ArrayLike,
        fars: Sequence[float],
    ) -> None:
        """Sort; the arguments are those of ``detection_identification_rate``."""
        rank, match, wrong = (np.asarray(a) for a in (first_rank, nearest_match, nearest_wrong))
        if not len(rank) == len(match) == len(wrong):
            raise ValueError(
                f"arrays of different lengths: {len(rank)}, {len(match)}, {len(wrong)}"
            )
        if not all(0 <= rate <= 1 for rate in fars):
            raise ValueError(f"false alarm rates must be between 0 and 1, got {list(fars)}")
        self._fars, self._known = fars, (rank > 0).astype(np.float64)
        self.queries, self.any_known = len(rank), bool((rank > 0).any())
        self._by_alarm = np.argsort(wrong, kind="stable")
        limits = np.append(wrong[self._by_alarm], np.inf)
        named = np.flatnonzero(rank == 1)
        self._by_match = named[np.argsort(match[named], kind="stable")]
        # How many of the named pass, for every threshold that there can be.
        self._passing = np.searchsorted(match[self._by_match], limits, side="left")

    def shares(self, counts: Floats) -> Floats:
        """Return the rates ``(c, F)`` when each query is there ``counts (c, Q)`` times."""
        alarms = np.cumsum(counts[:, self._by_alarm], axis=1)
        named = np.cumsum(counts[:, self._by_match], axis=1)
        named = np.concatenate([np.zeros((len(counts), 1)), named], axis=1)
        known = np.maximum(counts @ self._known, 1)
        result = np.empty((len(counts), len(self._fars)))
        for i, rate in enumerate(self._fars):
            allowed = (rate * counts.sum(axis=1)).astype(np.int64)
            limit = (alarms <= allowed[:, None]).sum(axis=1)  # the first that is one too many
            result[:, i] = named[np.arange(len(counts)), self._passing[limit]] / known
        return result

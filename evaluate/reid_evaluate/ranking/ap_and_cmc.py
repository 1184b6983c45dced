"""Measures of one ranking: average precision by two definitions, mINP's term, and CMC.

They take the 1-based ranks of a query's matches; ``ranking`` makes these.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


def precision_terms(order: npt.ArrayLike, ranks: npt.ArrayLike) -> Floats:
    """Return the precision at each match; their mean is the standard average precision.

    Args:
        order: ``(n,)`` 1 for the first match of its query, 2 for the second, ...
        ranks: ``(n,)`` 1-based ranks of the matches.

    Returns:
        ``(n,)`` fractions above 0, up to 1.
    """
    return np.asarray(order, dtype=np.float64) / np.asarray(ranks, dtype=np.float64)


def trapezoid_terms(order: npt.ArrayLike, ranks: npt.ArrayLike) -> Floats:
    """Return the mean of the precision just before each match and at it.

    Args:
        order: ``(n,)`` 1 for the first match of its query, 2 for the second, ...
        ranks: ``(n,)`` 1-based ranks of the matches.

    Returns:
        ``(n,)`` fractions above 0, up to 1.
    """
    count, rank = np.asarray(order, dtype=np.float64), np.asarray(ranks, dtype=np.float64)
    # Before rank 1 nothing has been returned yet; the original code takes precision 1.
    before = np.where(rank > 1, (count - 1) / np.maximum(rank - 1, 1), 1.0)
    terms: Floats = (before + count / rank) / 2
    return terms


def average_precision(ranks: npt.ArrayLike) -> float:
    """Return the mean of the precision at each match.

    Args:
        ranks: ``(n,)`` 1-based ranks of the matches, ascending.

    Returns:
        Fraction from 0 to 1; 0 when there is no match.

    >>> average_precision([1, 3])
    0.8333333333333333
    """
    return _mean(precision_terms(_order(ranks), ranks))


def average_precision_trapezoid(ranks: npt.ArrayLike) -> float:
    """Return the area under the precision-recall curve by the trapezoid rule.

    The definition of the Oxford buildings and the Market-1501 evaluation code: each match
    counts the mean of the precision just before it and at it. Never above
    ``average_precision``.

    Args:
        ranks: ``(n,)`` 1-based ranks of the matches, ascending.

    Returns:
        Fraction from 0 to 1; 0 when there is no match.

    >>> average_precision_trapezoid([2])
    0.25
    """
    return _mean(trapezoid_terms(_order(ranks), ranks))


def inverse_negative_penalty(ranks: npt.ArrayLike) -> float:
    """Return the number of matches over the rank of the last one.

    Its mean over queries is mINP (Ye et al., "Deep Learning for Person Re-identification:
    A Survey and Outlook", arXiv:2001.04193, section 4.1).

    Args:
        ranks: ``(n,)`` 1-based ranks of the matches, ascending.

    Returns:
        Fraction from 0 to 1; 0 when there is no match.

    >>> inverse_negative_penalty([1, 4])
    0.5
    """
    rank = np.asarray(ranks, dtype=np.float64)
    return float(len(rank) / rank[-1]) if len(rank) else 0.0


def cmc(first_rank: npt.ArrayLike, max_rank: int) -> npt.NDArray[np.float64]:
    """Return the cumulative matching characteristic.

    Args:
        first_rank: ``(Q,)`` 1-based rank of each query's first match; 0 for no match.
        max_rank: Length of the curve, 1 or larger.

    Returns:
        ``(max_rank,)`` fractions of the queries with a match at that rank or before.

    Raises:
        ValueError: There is no query, or ``max_rank`` is below 1.

    >>> cmc([1, 3, 0, 2], 3).tolist()
    [0.25, 0.5, 0.75]
    """
    ranks = np.asarray(first_rank, dtype=np.int64)
    if not len(ranks):
        raise ValueError("there is no query to take the CMC of")
    if max_rank < 1:
        raise ValueError(f"max_rank must be 1 or larger, got {max_rank}")
    within = ranks[(ranks >= 1) & (ranks <= max_rank)]
    first_here = np.bincount(within - 1, minlength=max_rank)
    curve: npt.NDArray[np.float64] = np.cumsum(first_here) / len(ranks)
    return curve


def _order(ranks: npt.ArrayLike) -> Integers:
    return np.arange(1, len(np.asarray(ranks)) + 1)


def _mean(terms: Floats) -> float:
    return float(terms.mean()) if len(terms) else 0.0

"""How far a mean over queries would move with other queries: percentile bootstrap intervals.

Queries are drawn anew from those there are, with replacement and as many; the interval holds
the middle part of the means of many such draws. It covers the choice of the queries alone: the
gallery stays, and so does the model, so that another seed of training may well lie outside.

By default each query stands for itself, as is the custom. Queries of one identity are alike,
though, and the interval is then too narrow; ``groups`` draws whole identities instead.

Shapes: Q queries, U units that are drawn (queries or identities), m measures.

Reference: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13; for
two systems on the same queries: Smucker, Allan and Carterette, "A Comparison of Statistical
Significance Tests for Information Retrieval Evaluation", CIKM 2007.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

COUNTS_IN_MEMORY = 2**20
"""Numbers of the table of counts that is filled at a time (8 MiB)."""


def mean_interval(
    values: Mapping[str, npt.ArrayLike],
    *,
    groups: npt.ArrayLike | None = None,
    draws: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
) -> dict[str, tuple[float, float]]:
    """Return a bootstrap interval for the mean of each measure, all from the same draws.

    The means of AP, of "the first match is at rank k or before" as 0 or 1, and of the inverse
    negative penalty are mAP, rank-k and mINP. A single query gives an interval of no width.

    Args:
        values: By name, ``(Q,)`` finite values of the queries that count.
        groups: ``(Q,)`` identities, of any type that sorts: they are drawn instead of queries.
        draws: How often to draw, 1 or larger; time is about 1 s for 1000 draws of 100,000
            queries, memory some ten MiB.
        seed: Of the draws, 0 or larger; they depend on it and on U alone.
        confidence: Share of the draws' means inside, above 0 and below 1.

    Returns:
        ``(low, high)`` by name, in the units of the values.

    Raises:
        ValueError: There is no measure or no query, lengths differ, a value is not finite, or
            an option is out of range.

    >>> low, high = mean_interval({"rank1": [1, 1, 1, 0] * 25})["rank1"]
    >>> round(low, 2), round(high, 2)
    (0.66, 0.83)
    """
    table = _table(values)
    sizes = np.ones(len(table))
    if groups is not None:
        table, sizes = _sums(table, groups)
    ends = statistic_interval(
        lambda counts: counts @ table / (counts @ sizes)[:, None],
        len(table),
        draws=draws,
        seed=seed,
        confidence=confidence,
    )
    return dict(zip(values, ends, strict=True))


def statistic_interval(
    statistic: Callable[[Floats], Floats],
    units: int,
    *,
    draws: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
) -> list[tuple[float, float]]:
    """Return a bootstrap interval for each of some numbers that depend on the units drawn.

    Args:
        statistic: From how often each unit is drawn, ``(c, U)`` for c draws, to ``(c, m)`` finite
            numbers.
        units: U, 1 or larger.
        draws: As for ``mean_interval``, as are the other options.
        seed: Of the draws.
        confidence: Share of the draws' numbers inside.

    Returns:
        m times ``(low, high)``.

    Raises:
        ValueError: An option is out of range.
    """
    _check_options(draws, confidence)
    found = np.concatenate([statistic(counts) for counts in _counts(draws, units, seed)])
    tail = (1 - confidence) / 2
    low, high = np.quantile(found, [tail, 1 - tail], axis=0)
    return list(zip(low.tolist(), high.tolist(), strict=True))


def paired_difference(
    a: Mapping[str, npt.ArrayLike],
    b: Mapping[str, npt.ArrayLike],
    *,
    groups: npt.ArrayLike | None = None,
    draws: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
) -> dict[str, tuple[float, float, float]]:
    """Return how much the mean of each measure changes from a to b on the same queries.

    A query is drawn with both of its values: what makes it hard for a and b alike cancels.

    Args:
        a: By name, ``(Q,)`` finite values of one model.
        b: Those of another model, under the same names and for the same queries in order.
        groups: As for ``mean_interval``, as are the other options.
        draws: How often to draw.
        seed: Of the draws.
        confidence: Share of the draws' differences inside the interval.

    Returns:
        ``(difference, low, high)`` by name, the difference being mean of b - mean of a.

    Raises:
        ValueError: The names differ, or ``mean_interval`` would refuse the values.
    """
    if a.keys() != b.keys():
        raise ValueError(f"measures differ: {', '.join(a)} and {', '.join(b)}")
    first, second = _table(a), _table({name: b[name] for name in a})
    if len(first) != len(second):
        raise ValueError(f"a has {len(first)} queries and b {len(second)}")
    changes = dict(zip(a, (second - first).T, strict=True))
    intervals = mean_interval(changes, groups=groups, draws=draws, seed=seed, confidence=confidence)
    return {name: (float(changes[name].mean()), *intervals[name]) for name in a}


def _counts(draws: int, units: int, seed: int) -> Iterator[Floats]:
    """Yield ``(c, U)`` how often each unit is drawn, some draws at a time.

    The counts are multinomial. They are made by counting drawn positions, as numpy's own
    multinomial takes ten times as long for so many units.
    """
    rng = np.random.default_rng(seed)
    at_a_time = max(1, COUNTS_IN_MEMORY // units)
    for start in range(0, draws, at_a_time):
        counts = np.empty((min(at_a_time, draws - start), units))
        for row in counts:
            row[:] = np.bincount(rng.integers(units, size=units), minlength=units)
        yield counts


def _sums(table: Floats, groups: npt.ArrayLike) -> tuple[Floats, Floats]:
    """Return the sums ``(U, m)`` of every group and its number of queries ``(U,)``."""
    labels = np.asarray(groups)
    if labels.shape != (len(table),):
        raise ValueError(f"groups have shape {labels.shape} for {len(table)} queries")
    _, codes = np.unique(labels, return_inverse=True)
    sizes: Floats = np.bincount(codes).astype(np.float64)
    sums: Floats = np.empty((len(sizes), table.shape[1]))
    for column, values in zip(sums.T, table.T, strict=True):
        column[:] = np.bincount(codes, weights=values)
    return sums, sizes


def _table(values: Mapping[str, npt.ArrayLike]) -> Floats:
    """Return the measures as columns ``(Q, m)``; raise ValueError if they cannot be."""
    if not values:
        raise ValueError("there is no measure to take the interval of")
    columns = {name: np.asarray(column, dtype=np.float64) for name, column in values.items()}
    shapes = {name: column.shape for name, column in columns.items()}
    if len(set(shapes.values())) > 1 or any(len(shape) != 1 for shape in shapes.values()):
        raise ValueError(f"measures must be vectors of one length, got the shapes {shapes}")
    for name, column in columns.items():
        if not len(column):
            raise ValueError("there is no query to take the mean of")
        if not np.isfinite(column).all():
            raise ValueError(f"'{name}' has values that are not finite")
    return np.stack(list(columns.values()), axis=1)


def _check_options(draws: int, confidence: float) -> None:
    """Raise ValueError for an option that is out of range."""
    if draws < 1:
        raise ValueError(f"draws must be 1 or larger, got {draws}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be above 0 and below 1, got {confidence}")

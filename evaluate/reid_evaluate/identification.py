"""Open-set search: is the person in the gallery at all, and if so, who is it?

Reference: Grother and Micheals (eds.), Phillips et al., "Handbook of Face Recognition",
chapter on evaluation methods: detection and identification rate (watchlist task).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


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
    rank, match, wrong = (np.asarray(a) for a in (first_rank, nearest_match, nearest_wrong))
    if not len(rank) == len(match) == len(wrong):
        raise ValueError(f"arrays of different lengths: {len(rank)}, {len(match)}, {len(wrong)}")
    if not all(0 <= rate <= 1 for rate in fars):
        raise ValueError(f"false alarm rates must be between 0 and 1, got {list(fars)}")
    known = rank > 0
    alarms = np.append(np.sort(wrong), np.inf)
    result = {}
    for rate in fars:
        limit = alarms[int(rate * len(wrong))]
        found = known & (rank == 1) & (match < limit)
        result[rate] = float(found.sum() / known.sum()) if known.any() else float("nan")
    return result

"""Thresholds on distances: accuracy over folds, area under the ROC curve, equal error rate.

A pair is taken for one person when its distance is at most the threshold.

Shapes: n pairs.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def judged_by_folds(distances: Array, same: Array, folds: int) -> tuple[Array, Array]:
    """Return which pairs are judged rightly, each part by the best threshold of all others.

    Args:
        distances: ``(n,)``.
        same: ``(n,)`` bool.
        folds: Parts of the list, in its order.

    Returns:
        ``(n,)`` bool, and the thresholds ``(folds,)``.
    """
    right, thresholds = np.zeros(len(same), dtype=bool), np.zeros(folds)
    for fold, part in enumerate(np.array_split(np.arange(len(same)), folds)):
        others = np.setdiff1d(np.arange(len(same)), part)
        thresholds[fold] = best_threshold(distances[others], same[others])
        right[part] = (distances[part] <= thresholds[fold]) == same[part]
    return right, thresholds


def best_threshold(distances: Array, same: Array) -> float:
    """Return the threshold of the most right judgements, the smallest of several."""
    accepted, true, false = _accepted(distances, same)
    right = true + (np.count_nonzero(~same) - false)
    # Halfway to the next distance; below all of them where nobody should be accepted.
    edges = np.concatenate([[accepted[0] - 1], (accepted[:-1] + accepted[1:]) / 2, accepted[-1:]])
    return float(edges[np.argmax(np.concatenate([[np.count_nonzero(~same)], right]))])


def area(distances: Array, same: Array) -> float:
    """Return the chance that a pair of one person is nearer than one of two; ties count half."""
    _, true, false = _accepted(distances, same)
    true_rate, false_rate = (np.concatenate([[0], c]) / c[-1] for c in (true, false))
    return float(((true_rate[1:] + true_rate[:-1]) / 2 * np.diff(false_rate)).sum())


def equal_error_rate(distances: Array, same: Array) -> float:
    """Return the rate at which as many pairs of one person are refused as others accepted."""
    _, true, false = _accepted(distances, same)
    refused, false_rate = 1 - np.concatenate([[0], true]) / true[-1], np.concatenate([[0], false])
    false_rate = false_rate / false[-1]
    at = int(np.argmax(false_rate >= refused))  # the first; before it, refusals are more
    if at == 0:
        return float(false_rate[0])
    gap = refused[at - 1] - false_rate[at - 1], false_rate[at] - refused[at]
    share = gap[0] / (gap[0] + gap[1])
    return float(false_rate[at - 1] + share * (false_rate[at] - false_rate[at - 1]))


def _accepted(distances: Array, same: Array) -> tuple[Array, Array, Array]:
    """Return the distances in order, each once, and what is accepted at each.

    Returns:
        The distances, and the pairs of one person and those of two persons up to each of them.
    """
    values, place = np.unique(distances, return_inverse=True)
    true, false = (
        np.cumsum(np.bincount(place[chosen], minlength=len(values))) for chosen in (same, ~same)
    )
    return values, true, false

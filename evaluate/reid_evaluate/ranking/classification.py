"""Score logits against the right classes: top-k, balanced and per-class accuracy.

Ties are pessimistic: a wrong class with exactly the logit of the right one ranks before it,
so that a model with equal logits for all classes is never right.

Shapes: N images, C classes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

TIE_RULE = "pessimistic: a wrong class with the same logit ranks before the right one"

Integers = npt.NDArray[np.int64]


def target_ranks(logits: npt.NDArray[Any], targets: npt.NDArray[Any]) -> Integers:
    """Return the rank of each image's right class.

    Args:
        logits: ``(N, C)``, finite.
        targets: ``(N,)`` positions of the right classes, 0 to C - 1.

    Returns:
        ``(N,)`` from 1 to C.

    Raises:
        ValueError: Shapes do not fit, a logit is not finite or a target is out of range.

    >>> target_ranks(np.array([[3.0, 1.0], [2.0, 2.0]]), np.array([0, 0])).tolist()
    [1, 2]
    """
    _check(logits, targets)
    own = np.take_along_axis(logits, targets[:, None], axis=1)
    return np.asarray(np.count_nonzero(logits >= own, axis=1), dtype=np.int64)


def predictions(logits: npt.NDArray[Any], targets: npt.NDArray[Any]) -> Integers:
    """Return the class that each image counts as, under the tie rule.

    Args:
        logits: ``(N, C)``, finite.
        targets: ``(N,)`` positions of the right classes, 0 to C - 1.

    Returns:
        ``(N,)`` the class with the largest logit; where the right one shares it, the first
        of the others.

    Raises:
        ValueError: As ``target_ranks``.
    """
    right = target_ranks(logits, targets) == 1
    rivals = logits.copy()
    np.put_along_axis(rivals, targets[:, None], -np.inf, axis=1)
    return np.where(right, targets, np.argmax(rivals, axis=1))


def topk_accuracy(ranks: npt.NDArray[Any], k: int) -> float:
    """Return the fraction of images whose right class has rank k or less.

    Args:
        ranks: ``(N,)`` from ``target_ranks``, N of at least 1.
        k: 1 or larger; above C it gives 1.

    Returns:
        Fraction from 0 to 1.

    >>> topk_accuracy(np.array([1, 3, 2, 1]), 2)
    0.75
    """
    return float(np.mean(ranks <= k))


def confusion_matrix(
    targets: npt.NDArray[Any], predicted: npt.NDArray[Any], num_classes: int
) -> Integers:
    """Count images by right class (row) and predicted class (column).

    Args:
        targets: ``(N,)`` from 0 to C - 1.
        predicted: ``(N,)`` from 0 to C - 1.
        num_classes: C.

    Returns:
        ``(C, C)`` counts.

    >>> confusion_matrix(np.array([0, 1, 1]), np.array([0, 0, 1]), 2).tolist()
    [[1, 0], [1, 1]]
    """
    pairs = np.bincount(targets * num_classes + predicted, minlength=num_classes**2)
    return pairs.reshape(num_classes, num_classes)


def per_class_accuracy(confusion: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Return the fraction of right predictions of each class.

    Args:
        confusion: ``(C, C)`` from ``confusion_matrix``.

    Returns:
        ``(C,)`` from 0 to 1; NaN for a class without images.
    """
    images = confusion.sum(axis=1)
    accuracy = np.full(len(confusion), np.nan)
    np.divide(np.diag(confusion), images, out=accuracy, where=images > 0)
    return accuracy


def balanced_accuracy(confusion: npt.NDArray[Any]) -> float:
    """Return the mean accuracy of the classes that have images.

    Args:
        confusion: ``(C, C)`` from ``confusion_matrix`` with at least one image.

    Returns:
        Fraction from 0 to 1.

    >>> balanced_accuracy(np.array([[1, 0, 0], [1, 1, 0], [0, 0, 0]]))
    0.75
    """
    return float(np.nanmean(per_class_accuracy(confusion)))


def _check(logits: npt.NDArray[Any], targets: npt.NDArray[Any]) -> None:
    """Raise ValueError unless every image has finite logits and a class."""
    if logits.ndim != 2 or logits.shape[1] == 0 or targets.shape != logits.shape[:1]:
        raise ValueError(
            f"logits must be (N, C) with C >= 1 and targets (N,), "
            f"got {logits.shape} and {targets.shape}"
        )
    bad = np.flatnonzero(~np.isfinite(logits).all(axis=1))
    if len(bad):
        raise ValueError(
            f"logits: {len(bad)} of {len(logits)} rows are NaN or infinite; "
            f"the first is row {bad[0]} (counted from 0)"
        )
    outside = np.flatnonzero((targets < 0) | (targets >= logits.shape[1]))
    if len(outside):
        raise ValueError(
            f"target {targets[outside[0]]} is not a class from 0 to {logits.shape[1] - 1}"
        )

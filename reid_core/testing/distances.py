"""Distances: keys and values that can be ranked by, whatever the blocks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from reid_core.evaluation.checked_parts import CheckedDistance
from reid_core.testing.subject import Subject, drawn, expect
from reid_evaluate.distances.comparison import Distance, Vectors


def _built(subject: Subject) -> CheckedDistance:
    """Build the distance; the core looks at what it says of itself and at every key."""
    return CheckedDistance(subject.build(), subject.offer.origin)


def _vectors(subject: Subject, count: int, seed: int) -> Vectors:
    return Vectors(
        features=drawn(count, 6, seed=seed),
        pids=np.array(["a"] * count),
        camids=np.zeros(count, dtype=np.int64),
        aux=subject.values_of_heads(subject.declared("aux"), drawn(count, 6, seed=seed + 50)),
        columns=subject.columns(count),
    )


def _keys(distance: Distance, query: Vectors, gallery: Vectors) -> Tensor:
    out = torch.empty(len(query), len(gallery))
    distance.fill(distance.prepare(query), distance.prepare(gallery), out)
    return out


def _alike(one: Tensor, other: Tensor) -> bool:
    return torch.allclose(one, other, rtol=1e-5, atol=1e-6)


# ---- checks -----------------------------------------------------------------------------


def every_key_is_filled_and_finite(subject: Subject) -> None:
    """A NaN ranks nothing."""
    distance = _built(subject)
    keys = _keys(distance, _vectors(subject, 3, 0), _vectors(subject, 5, 1))
    expect(bool(torch.isfinite(keys).all()), f"{keys.tolist()}")


def values_grow_with_the_keys(subject: Subject) -> None:
    """Ranking by keys is ranking by distances."""
    distance = _built(subject)
    keys = _keys(distance, _vectors(subject, 4, 0), _vectors(subject, 9, 1)).flatten().sort().values
    values = distance.values(keys)
    expect(bool((values.diff() >= 0).all()), "a larger key has a smaller distance")


def rows_of_prepared_images_are_prepared_rows(subject: Subject) -> None:
    """A gallery is prepared once and compared in blocks."""
    distance = _built(subject)
    query, gallery = _vectors(subject, 5, 0), _vectors(subject, 7, 1)
    whole = _keys(distance, query, gallery)
    out = torch.empty(2, 4)
    distance.fill(distance.prepare(query).rows(3, 5), distance.prepare(gallery).rows(2, 6), out)
    expect(_alike(out, whole[3:5, 2:6]), "the keys of a block are not those of the whole")


def what_it_says_of_symmetry_is_true(subject: Subject) -> None:
    """Re-ranking goes by it."""
    distance = _built(subject)
    one, other = _vectors(subject, 4, 0), _vectors(subject, 4, 1)
    alike = _alike(_keys(distance, one, other), _keys(distance, other, one).T)
    expect(alike or not distance.symmetric, "it says that it is symmetric and is not")


def what_it_says_of_lengths_is_true(subject: Subject) -> None:
    """The protocol card repeats it."""
    distance = _built(subject)
    one, other = _vectors(subject, 4, 0), _vectors(subject, 4, 1)
    longer = replace(one, features=7 * one.features)
    alike = _alike(_keys(distance, longer, other), _keys(distance, one, other))
    says = f"normalizes: {distance.normalizes!r}, and the length of a vector "
    expect(distance.normalizes is alike, says + ("does not count" if alike else "counts"))


def vectors_of_zeros_can_be_compared(subject: Subject) -> None:
    """An untrained network may give them."""
    zeros = replace(_vectors(subject, 2, 0), features=torch.zeros(2, 6))
    expect(bool(torch.isfinite(_keys(_built(subject), zeros, zeros)).all()), "a key is not finite")


def the_images_are_left_as_they_were(subject: Subject) -> None:
    """Others compare them too."""
    images = _vectors(subject, 4, 0)
    before, names = images.features.clone(), set(images.aux)
    _keys(_built(subject), images, images)
    expect(torch.equal(images.features, before), "the features have been changed")
    expect(set(images.aux) == names, "aux has been changed; return a copy with more in it")


CHECKS = (
    every_key_is_filled_and_finite,
    values_grow_with_the_keys,
    rows_of_prepared_images_are_prepared_rows,
    what_it_says_of_symmetry_is_true,
    what_it_says_of_lengths_is_true,
    vectors_of_zeros_can_be_compared,
    the_images_are_left_as_they_were,
)

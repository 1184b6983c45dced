"""Distances: keys and values that can be ranked by, whatever the blocks."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from cases import cases_of
from reid_core.component import DistanceComponent
from reid_evaluate.distances.comparison import Vectors


def vectors(count, seed):
    rng = np.random.default_rng(seed)
    aux = {"uc": torch.from_numpy(rng.random(count).astype(np.float32))}
    return Vectors(
        features=torch.from_numpy(rng.standard_normal((count, 6)).astype(np.float32)),
        pids=np.array(["a"] * count),
        camids=np.zeros(count, dtype=np.int64),
        aux=aux,
    )


def keys_of(distance, query, gallery):
    out = torch.full((len(query), len(gallery)), torch.nan)
    distance.fill(distance.prepare(query), distance.prepare(gallery), out)
    return out


def test_it_declares_what_it_reads(distance):
    assert isinstance(distance.component, DistanceComponent)
    assert set(distance.component.aux) <= {"uc"}


def test_every_key_is_filled_and_finite(distance):
    keys = keys_of(distance.build(), vectors(3, 0), vectors(5, 1))
    assert torch.isfinite(keys).all()


def test_values_grow_with_the_keys_and_keep_the_shape(distance):
    built = distance.build()
    keys = keys_of(built, vectors(4, 0), vectors(9, 1)).flatten().sort().values
    values = built.values(keys)
    assert values.shape == keys.shape
    assert (values.diff() >= 0).all()


def test_rows_of_prepared_images_are_prepared_rows(distance):
    built = distance.build()
    query, gallery = vectors(5, 0), vectors(7, 1)
    whole = keys_of(built, query, gallery)
    prepared, others = built.prepare(query), built.prepare(gallery)
    out = torch.empty(2, 4)
    built.fill(prepared.rows(3, 5), others.rows(2, 6), out)
    torch.testing.assert_close(out, whole[3:5, 2:6], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("distance", cases_of("distance", lambda case: case.build().symmetric))
def test_a_symmetric_distance_is_symmetric(distance):
    built = distance.build()
    one, other = vectors(4, 0), vectors(4, 1)
    back = keys_of(built, other, one).T
    torch.testing.assert_close(keys_of(built, one, other), back, rtol=1e-5, atol=1e-6)


def test_vectors_of_zeros_can_be_compared(distance):
    zeros = Vectors(torch.zeros(2, 6), np.array(["a", "b"]), np.zeros(2), vectors(2, 0).aux)
    assert torch.isfinite(keys_of(distance.build(), zeros, zeros)).all()


def test_the_images_are_left_as_they_were(distance):
    images = vectors(4, 0)
    before = images.features.clone()
    keys_of(distance.build(), images, images)
    assert torch.equal(images.features, before)
    assert set(images.aux) == {"uc"}


def test_lengths_count_unless_the_distance_says_that_it_normalizes(distance):
    built = distance.build()
    one, other = vectors(4, 0), vectors(4, 1)
    longer = replace(one, features=7 * one.features)
    alike = torch.allclose(
        keys_of(built, longer, other), keys_of(built, one, other), rtol=1e-5, atol=1e-6
    )
    assert built.normalizes == alike

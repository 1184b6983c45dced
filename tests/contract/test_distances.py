"""Distances: keys and values that can be ranked by, whatever the blocks."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from cases import cases_of
from reid_core.component import DistanceComponent, declared
from reid_evaluate.distances.comparison import Vectors


def vectors(distance, count, seed):
    """Images with the values of heads and the columns that the distance reads, and no others."""
    rng, component, params = np.random.default_rng(seed), distance.component, distance.params()
    names = declared(component.aux, params)
    return Vectors(
        features=torch.from_numpy(rng.standard_normal((count, 6)).astype(np.float32)),
        pids=np.array(["a"] * count),
        camids=np.zeros(count, dtype=np.int64),
        aux={name: torch.from_numpy(rng.random(count).astype(np.float32)) for name in names},
        columns={
            name: rng.choice(["", "x", "y"], count) for name in declared(component.columns, params)
        },
    )


def keys_of(distance, query, gallery):
    out = torch.full((len(query), len(gallery)), torch.nan)
    distance.fill(distance.prepare(query), distance.prepare(gallery), out)
    return out


def test_it_declares_what_it_reads(distance):
    assert isinstance(distance.component, DistanceComponent)
    for names in (distance.component.aux, distance.component.columns):
        found = declared(names, distance.params())
        assert isinstance(found, tuple)
        assert all(isinstance(name, str) for name in found)
    built = distance.build()
    assert {type(built.symmetric), type(built.normalizes)} == {bool}


def test_every_key_is_filled_and_finite(distance):
    keys = keys_of(distance.build(), vectors(distance, 3, 0), vectors(distance, 5, 1))
    assert torch.isfinite(keys).all()


def test_values_grow_with_the_keys_and_keep_the_shape(distance):
    built = distance.build()
    keys = keys_of(built, vectors(distance, 4, 0), vectors(distance, 9, 1)).flatten().sort().values
    values = built.values(keys)
    assert values.shape == keys.shape
    assert (values.diff() >= 0).all()


def test_rows_of_prepared_images_are_prepared_rows(distance):
    built = distance.build()
    query, gallery = vectors(distance, 5, 0), vectors(distance, 7, 1)
    whole = keys_of(built, query, gallery)
    prepared, others = built.prepare(query), built.prepare(gallery)
    out = torch.empty(2, 4)
    built.fill(prepared.rows(3, 5), others.rows(2, 6), out)
    torch.testing.assert_close(out, whole[3:5, 2:6], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("distance", cases_of("distance", lambda case: case.build().symmetric))
def test_a_symmetric_distance_is_symmetric(distance):
    built = distance.build()
    one, other = vectors(distance, 4, 0), vectors(distance, 4, 1)
    back = keys_of(built, other, one).T
    torch.testing.assert_close(keys_of(built, one, other), back, rtol=1e-5, atol=1e-6)


def test_vectors_of_zeros_can_be_compared(distance):
    zeros = replace(vectors(distance, 2, 0), features=torch.zeros(2, 6))
    assert torch.isfinite(keys_of(distance.build(), zeros, zeros)).all()


def test_the_images_are_left_as_they_were(distance):
    images = vectors(distance, 4, 0)
    before = images.features.clone()
    keys_of(distance.build(), images, images)
    assert torch.equal(images.features, before)
    assert set(images.aux) == set(declared(distance.component.aux, distance.params()))


def test_lengths_count_unless_the_distance_says_that_it_normalizes(distance):
    built = distance.build()
    one, other = vectors(distance, 4, 0), vectors(distance, 4, 1)
    longer = replace(one, features=7 * one.features)
    alike = torch.allclose(
        keys_of(built, longer, other), keys_of(built, one, other), rtol=1e-5, atol=1e-6
    )
    assert built.normalizes == alike

"""The blocked search finds what sorting all distances finds, and never holds all of them."""

import numpy as np
import pytest
import torch

from reid_evaluate.distances.comparison import Vectors
from reid_evaluate.distances.distance_matrix import Cosine, SquaredEuclidean
from reid_evaluate.reranking import neighbours
from reid_evaluate.reranking.neighbours import nearest


def vectors(features):
    size = len(features)
    return Vectors(features, np.arange(size).astype(str), np.zeros(size, dtype=int))


class OneWay:
    """Not symmetric, without ties and exact in float32: a - b, or 3 (b - a) + 0.5."""

    symmetric = False

    def prepare(self, vectors):
        return vectors

    def fill(self, query, gallery, out):
        gap = query.features - gallery.features.T
        out.copy_(torch.where(gap < 0, 0.5 - 3 * gap, gap))

    def values(self, keys):
        return keys


class Watched(SquaredEuclidean):
    """Notes how many keys are asked for at a time, and altogether."""

    def __init__(self):
        self.largest = self.total = 0

    def fill(self, query, gallery, out):
        assert out.shape == (len(query), len(gallery))
        self.largest = max(self.largest, out.numel())
        self.total += out.numel()
        super().fill(query, gallery, out)


def all_keys(distance, features):
    """Return all keys ``(N, N)`` in float64, by a formula of each distance's own."""
    x = features.double().numpy()
    if isinstance(distance, OneWay):
        gap = x - x.T
        return np.where(gap < 0, 0.5 - 3 * gap, gap)
    if isinstance(distance, Cosine):
        unit = x / np.linalg.norm(x, axis=1, keepdims=True)
        return -(unit @ unit.T)
    return ((x[:, None] - x[None]) ** 2).sum(axis=2)


def draw(distance, size, seed):
    generator = torch.Generator().manual_seed(seed)
    if isinstance(distance, OneWay):
        return torch.randperm(1000, generator=generator)[:size, None].float()
    return torch.randn(size, 5, generator=generator)


# ---- the lists --------------------------------------------------------------------------


@pytest.fixture(params=[5, 2048])
def columns_at_once(request, monkeypatch):
    monkeypatch.setattr(neighbours, "_COLUMNS_AT_ONCE", request.param)


@pytest.mark.usefixtures("columns_at_once")
@pytest.mark.parametrize("kind", [Cosine, SquaredEuclidean, OneWay])
@pytest.mark.parametrize("block_size", [1, 3, 16, 37, 1000])
@pytest.mark.parametrize("k", [1, 2, 9, 37])
def test_the_lists_are_those_of_a_full_sort(kind, block_size, k):
    distance = kind()
    features = draw(distance, 37, seed=k)
    expected = all_keys(distance, features)

    found = nearest(distance, vectors(features), k, block_size=block_size)

    assert (found.indices.dtype, found.keys.dtype) == (torch.int64, torch.float32)
    order = expected.copy()
    np.fill_diagonal(order, -np.inf)
    np.testing.assert_array_equal(found.indices, order.argsort(axis=1)[:, :k])
    kept = np.take_along_axis(expected, found.indices.numpy(), axis=1)
    np.testing.assert_allclose(found.keys, kept, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found.farthest, expected.max(axis=1), rtol=1e-5, atol=1e-5)


@pytest.mark.usefixtures("columns_at_once")
@pytest.mark.parametrize("places", [range(45), range(45)[::-1]], ids=["first", "last"])
def test_the_nearest_are_all_in_the_first_panels_or_all_in_the_last(places):
    features = torch.tensor(places).float().square()[:, None]  # exact, some distances tie
    found = nearest(SquaredEuclidean(), vectors(features), 4, block_size=7)
    keys = all_keys(SquaredEuclidean(), features)
    np.testing.assert_array_equal(found.keys, np.sort(keys, axis=1)[:, :4])
    kept = np.take_along_axis(keys, found.indices.numpy(), axis=1)
    np.testing.assert_array_equal(found.keys, kept)


def test_equal_vectors_have_themselves_first():
    found = nearest(SquaredEuclidean(), vectors(torch.ones(20, 3)), 5, block_size=6)
    assert found.indices[:, 0].tolist() == list(range(20))
    assert all(len(set(row)) == 5 for row in found.indices.tolist())
    assert not found.keys.any()
    assert not found.farthest.any()


# ---- work and memory --------------------------------------------------------------------


def test_half_of_the_product_is_made_and_only_a_panel_at_a_time():
    distance = Watched()
    nearest(distance, vectors(torch.randn(300, 4)), 10, block_size=20)
    assert distance.largest <= 20 * 300
    assert distance.total == sum(20 * columns for columns in range(20, 301, 20))


# ---- refusals ---------------------------------------------------------------------------


@pytest.mark.parametrize("k", [0, 4])
def test_a_number_of_neighbours_that_there_are_not(k):
    with pytest.raises(ValueError, match=f"{k} neighbours asked for, but there are 3 images"):
        nearest(Cosine(), vectors(torch.eye(3)), k)


def test_a_block_size_without_rows():
    with pytest.raises(ValueError, match="block_size must be 1 or larger, got 0"):
        nearest(Cosine(), vectors(torch.eye(3)), 1, block_size=0)

"""Queries become means of their person's images from their camera, and of nothing else."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from reid_evaluate.distances.comparison import Comparison, Vectors
from reid_evaluate.distances.distance_matrix import Cosine
from reid_evaluate.reranking.multi_query import multi_query
from reid_plugins.postprocess import multi_query as plugin


def vectors(rows, pids, camids):
    features = torch.tensor(np.asarray(rows), dtype=torch.float32)
    return Vectors(features, np.array(pids), np.array(camids))


GALLERY = vectors([[0, 2], [3, 4]], ["a", "b"], [2, 2])


def comparison_of(query, images):
    return Comparison(query, GALLERY, Cosine(), extra={"multi_query": images})


def test_a_query_is_the_mean_of_unit_vectors():
    query = vectors([[1, 0]], ["a"], [1])
    images = vectors([[0, 5], [3, 4], [9, 0], [8, 0]], ["a", "a", "a", "b"], [1, 1, 2, 1])
    got = multi_query(comparison_of(query, images))
    torch.testing.assert_close(got.query.features, torch.tensor([[0.3, 0.9]]))
    torch.testing.assert_close(got.gallery.features, torch.tensor([[0.0, 1.0], [0.6, 0.8]]))
    assert query.features.tolist() == [[1, 0]]
    assert got.extra["multi_query"] is images


def test_unknown_cameras_and_queries_alone_keep_their_own_vector():
    query = vectors([[2, 0], [2, 0], [2, 0], [0, 3]], ["a", "a", "x", "b"], [-1, 3, 1, 1])
    images = vectors([[0, 1], [0, 1], [1, 0]], ["a", "a", "b"], [-1, 1, 1])
    got = multi_query(comparison_of(query, images))
    assert got.query.features.tolist() == [[1, 0], [1, 0], [1, 0], [1, 0]]


def test_a_query_of_unknown_identity_keeps_its_own_vector():
    query = vectors([[2, 0], [2, 0]], ["", "a"], [1, 1])
    images = vectors([[0, 1], [0, 1]], ["", "a"], [1, 1])
    got = multi_query(comparison_of(query, images))
    assert got.query.features.tolist() == [[1, 0], [0, 1]]


@pytest.mark.parametrize("seed", range(20))
def test_equals_brute_force(seed):
    rng = np.random.default_rng(seed)

    def draw(count):
        pids, camids = rng.choice(["1", "01", "x y"], count), rng.integers(-1, 3, count)
        rows = rng.standard_normal((count, 5)) * rng.integers(0, 3, (count, 1))
        return vectors(rows, pids, camids)

    query, images = draw(12), draw(30)
    query.camids[0], images.camids[0] = 1, 1
    query.pids[0] = images.pids[0]
    got = multi_query(comparison_of(query, images)).query
    for i in range(12):
        views = [query.features[i]]
        if query.camids[i] >= 0:
            same = [
                images.features[j]
                for j in range(30)
                if images.pids[j] == query.pids[i] and images.camids[j] == query.camids[i]
            ]
            views = same or views
        units = [v / (np.linalg.norm(v) or 1) for v in (v.double().numpy() for v in views)]
        np.testing.assert_allclose(got.features[i], sum(units) / len(units), atol=1e-6)
        assert (got.pids[i], got.camids[i]) == (query.pids[i], query.camids[i])


def test_the_plugin_reads_the_split_that_the_step_needs():
    (component,) = plugin.reid_postprocess()
    assert component.splits == ("multi_query",)
    assert component.build(component.params()) is multi_query


def test_the_split_is_missing():
    given = Comparison(GALLERY, GALLERY, Cosine())
    with pytest.raises(ValueError, match=r"^there are no images of the split 'multi_query'$"):
        multi_query(given)


def test_no_query_has_an_image():
    images = replace(GALLERY, camids=np.array([1, -1]))
    with pytest.raises(ValueError) as caught:
        multi_query(comparison_of(GALLERY, images))
    assert str(caught.value) == (
        "none of the 2 queries has an image of its pid and camera in the split 'multi_query' "
        "(2 images)"
    )

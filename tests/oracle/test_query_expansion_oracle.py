"""Query expansion against loops in float64 that are written from its definition."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from comparisons import comparison_of, random_rows, unit, vectors
from reid_evaluate.distances.comparison import Comparison
from reid_evaluate.distances.distance_matrix import Cosine, Euclidean
from reid_evaluate.reranking.query_expansion import query_expansion, unit_vectors
from reid_plugins.postprocess.query_expansion import QueryExpansionParams, build

# ---- brute force ------------------------------------------------------------------------


def cosine(a, b):
    return sum(x * y for x, y in zip(unit(a), unit(b), strict=True))


def mixed(image, neighbours, alpha):
    """Add to an image its neighbours, each times its weight; the image itself weighs 1."""
    total = unit(image)
    for other in neighbours:
        weight = max(cosine(image, other), 0.0) ** alpha
        total = [t + weight * x for t, x in zip(total, unit(other), strict=True)]
    return unit(total)


def brute_force(query, gallery, k, alpha, rounds, sides):
    for _ in range(rounds):
        if sides == "query":
            query = [
                mixed(q, sorted(gallery, key=lambda g, q=q: -cosine(q, g))[:k], alpha)
                for q in query
            ]
            continue
        images = [*query, *gallery]
        new = []
        for i, image in enumerate(images):
            others = images[:i] + images[i + 1 :]
            others.sort(key=lambda other, image=image: -cosine(image, other))
            new.append(mixed(image, others[: k - 1], alpha))
        query, gallery = new[: len(query)], new[len(query) :]
    return [unit(q) for q in query], [unit(g) for g in gallery]


@pytest.mark.parametrize("seed", range(80))
def test_equals_brute_force(seed):
    rng = np.random.default_rng(seed)
    query = random_rows(rng, rng.integers(1, 7), size := rng.integers(2, 6))
    gallery = random_rows(rng, rng.integers(1, 15), size)
    options = {
        "k": int(rng.integers(1, 12)),
        "alpha": float(rng.choice([0.0, 0.5, 1.0, 3.0, 10.0])),
        "rounds": int(rng.integers(1, 4)),
        "sides": ["query", "both"][seed % 2],
    }
    given = comparison_of(query, gallery)
    got = query_expansion(given, **options, block_size=int(rng.integers(1, 9)))
    expected = brute_force(query.tolist(), gallery.tolist(), **options)
    for side, rows in zip((got.query, got.gallery), expected, strict=True):
        np.testing.assert_allclose(side.features.numpy(), rows, atol=2e-5)
    assert got.query.pids is given.query.pids
    plugin = build(QueryExpansionParams(**options))
    torch.testing.assert_close(plugin(given).query.features, got.query.features)


def test_the_joint_form_is_the_published_mean():
    """Means over the k nearest of all, times cosine ** alpha: 3 unit vectors in the plane."""
    angles = np.radians([0, 10, 40])
    rows = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    got = query_expansion(comparison_of(rows[:1], rows[1:]), k=2, alpha=3.0)
    first = rows[0] + np.cos(np.radians(10)) ** 3 * rows[1]
    last = rows[2] + np.cos(np.radians(30)) ** 3 * rows[1]
    np.testing.assert_allclose(got.query.features[0], first / np.linalg.norm(first), atol=1e-6)
    np.testing.assert_allclose(got.gallery.features[1], last / np.linalg.norm(last), atol=1e-6)


# ---- what must not matter ---------------------------------------------------------------


@pytest.mark.parametrize("sides", ["query", "both"])
def test_the_order_of_the_gallery_does_not_matter(sides):
    rng = np.random.default_rng(0)
    query, gallery = random_rows(rng, 5, 8), random_rows(rng, 40, 8)
    order = rng.permutation(40)
    one = query_expansion(comparison_of(query, gallery), sides=sides, rounds=2)
    other = query_expansion(comparison_of(query, gallery[order]), sides=sides, rounds=2)
    torch.testing.assert_close(one.query.features, other.query.features)
    torch.testing.assert_close(one.gallery.features[order], other.gallery.features)


@pytest.mark.parametrize("sides", ["query", "both"])
def test_lengths_and_blocks_do_not_matter(sides):
    rng = np.random.default_rng(1)
    query, gallery = random_rows(rng, 30, 8), random_rows(rng, 50, 8)
    longer = comparison_of(query * 1e-20, gallery * rng.uniform(1e3, 1e18, (50, 1)))
    one = query_expansion(comparison_of(query, gallery), sides=sides, block_size=1000)
    for block_size in (1, 7, 30):
        other = query_expansion(longer, sides=sides, block_size=block_size)
        torch.testing.assert_close(one.query.features, other.query.features)
        torch.testing.assert_close(one.gallery.features, other.gallery.features)


# ---- degenerate images ------------------------------------------------------------------


@pytest.mark.parametrize("sides", ["query", "both"])
@pytest.mark.parametrize("block_size", [7, 16, 512])
def test_copies_stay_copies_bit_by_bit(sides, block_size):
    """Small blocks give the cosines of copies different last bits."""
    rng = np.random.default_rng(2)
    rows = random_rows(rng, 101, 64)
    given = comparison_of(rows[:7], np.concatenate([rows, rows[::-1], rows]))
    got = query_expansion(given, sides=sides, k=6, rounds=2, block_size=block_size)
    features = got.gallery.features
    assert torch.equal(features[:101], features[202:])
    assert torch.equal(features[:101], features[101:202].flip(0))
    assert sides == "query" or torch.equal(got.query.features, features[:7])


@pytest.mark.parametrize("sides", ["query", "both"])
def test_a_zero_vector_stays_zero_and_changes_nothing(sides):
    rng = np.random.default_rng(3)
    query, gallery = random_rows(rng, 3, 4), np.abs(random_rows(rng, 9, 4))
    query[0] = gallery[0] = 0
    got = query_expansion(comparison_of(query, gallery), sides=sides, k=20)
    without = query_expansion(comparison_of(query[1:], gallery[1:]), sides=sides, k=20)
    assert (got.query.features[0] == 0).all()
    assert (got.gallery.features[0] == 0).all()
    torch.testing.assert_close(got.query.features[1:], without.query.features)
    torch.testing.assert_close(got.gallery.features[1:], without.gallery.features)


@pytest.mark.parametrize("sides", ["query", "both"])
def test_one_point_stays_one_point(sides):
    ones = comparison_of(np.ones((3, 4)), np.ones((5, 4)))
    got = query_expansion(ones, sides=sides, k=3, rounds=2)
    torch.testing.assert_close(got.query.features, torch.full((3, 4), 0.5))
    torch.testing.assert_close(got.gallery.features, torch.full((5, 4), 0.5))


def test_an_image_on_the_other_side_has_no_weight():
    query = comparison_of([[2.0, 0.0]], [[-1.0, 0.1], [-1.0, 0.0]])
    for alpha in (0.5, 1.0, 2.0):
        got = query_expansion(query, sides="query", k=2, alpha=alpha)
        assert got.query.features.tolist() == [[1.0, 0.0]]


def test_the_gallery_is_normalised_for_euclidean_distances():
    given = replace(comparison_of([[3.0, 4.0]], [[0.0, 5.0], [2.0, 0.0]]), distance=Euclidean())
    got = query_expansion(given, sides="query")
    assert got.gallery.features.tolist() == [[0, 1], [1, 0]]
    assert given.gallery.features.tolist() == [[0, 5], [2, 0]]
    assert got.distance is given.distance


def test_other_values_of_the_images_stay():
    images = replace(vectors(np.eye(3)), aux={"uc": torch.arange(3.0)})
    got = query_expansion(Comparison(images, images, Cosine()))
    assert got.query.aux["uc"].tolist() == got.gallery.aux["uc"].tolist() == [0, 1, 2]


def test_unit_vectors_of_tiny_and_huge_vectors():
    got = unit_vectors(vectors([[3e-40, 4e-40], [3e38, 4e37], [0, 0]])).features
    expected = [[0.6, 0.8], [0.991228, 0.132164], [0, 0]]
    np.testing.assert_allclose(got.numpy(), expected, atol=1e-4)  # 3e-40 has few digits


# ---- error messages ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k": 0}, "k must be 1 or larger, got 0"),
        ({"rounds": 0}, "rounds must be 1 or larger, got 0"),
        ({"block_size": 0}, "block_size must be 1 or larger, got 0"),
        ({"alpha": -0.1}, "alpha must be 0 or larger, got -0.1"),
        ({"alpha": math.nan}, "alpha must be 0 or larger, got nan"),
        ({"sides": "gallery"}, "unknown sides 'gallery' (known: query, both)"),
    ],
)
def test_bad_option(options, message):
    with pytest.raises(ValueError) as caught:
        query_expansion(comparison_of(np.eye(3), np.eye(3)), **options)
    assert str(caught.value) == message


def test_altered_keys_are_not_lost():
    given = comparison_of(np.eye(3), np.eye(3))
    with pytest.raises(ValueError, match="must come before that of distances"):
        query_expansion(given.with_keys(given.keys))

"""Spectral refinement against loops in float64, and against a published test vector."""

import math

import numpy as np
import pytest
import torch

from comparisons import comparison_of, dot, keys_of, random_rows, unit
from reid_evaluate.distances.distance_matrix import Cosine, Euclidean
from reid_evaluate.reranking import spectral_refinement
from reid_evaluate.reranking.spectral_refinement import spectral_refine
from reid_plugins.postprocess.spectral_refine import SpectralRefineParams, build

# ---- brute force ------------------------------------------------------------------------


def brute_force(query, gallery, old_keys, k, temperature):
    """Return the new keys of one query's gallery."""
    ranking = sorted(range(len(gallery)), key=lambda g: old_keys[g])
    first = ranking[:k]
    group = [unit(gallery[g]) for g in first]
    scores = []
    for image in group:
        weights = [math.exp(dot(image, other) / temperature) for other in group]
        mean = [0.0] * len(image)
        for weight, other in zip(weights, group, strict=True):
            mean = [m + weight / sum(weights) * x for m, x in zip(mean, other, strict=True)]
        scores.append(dot(mean, unit(query)))
    new = list(old_keys)
    by_score = [g for _, g in sorted(zip(scores, first, strict=True), reverse=True)]
    for old, image in zip(first, by_score, strict=True):
        new[image] = old_keys[old]
    places = dict(zip(first, [new[g] for g in first], strict=True))
    for image in first:  # copies share one key
        own = [key for g, key in places.items() if gallery[g] == gallery[image]]
        new[image] = (min(own) + max(own)) / 2
    return new


@pytest.mark.parametrize("seed", range(60))
def test_equals_brute_force(seed):
    rng = np.random.default_rng(seed)
    query = random_rows(rng, rng.integers(1, 7), size := rng.integers(2, 7))
    gallery = random_rows(rng, rng.integers(1, 30), size)
    gallery = gallery[rng.integers(0, len(gallery), len(gallery))] if seed % 3 else gallery
    k, temperature = int(rng.integers(1, 35)), float(rng.choice([0.1, 0.5, 0.7, 2.0]))
    given = comparison_of(query, gallery, [Cosine(), Euclidean()][seed % 2])
    refined = spectral_refine(given, k=k, temperature=temperature)
    old = keys_of(given)
    expected = [
        brute_force(q, gallery.tolist(), row, k, temperature)
        for q, row in zip(query.tolist(), old.tolist(), strict=True)
    ]
    got = keys_of(refined, block_size=int(rng.integers(1, 8)))
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)
    plugin = build(SpectralRefineParams(k=k, temperature=temperature))
    np.testing.assert_array_equal(keys_of(plugin(given)), keys_of(refined))


def test_published_vector():
    """The order and the scores before and after, eight images and one query."""
    gallery = [
        [(1 + 0.25 * i) * math.sin(1 + 3 * i + 2 * k * k + 0.5 * i * k) for k in range(4)]
        for i in range(8)
    ]
    given = comparison_of([[1, 0.5, -0.25, 2]], gallery)
    before, after = keys_of(given), keys_of(spectral_refine(given, temperature=0.5))
    assert before[0].argsort().tolist() == [0, 7, 3, 2, 6, 5, 4, 1]
    assert after[0].argsort().tolist() == [0, 6, 3, 2, 7, 5, 4, 1]
    np.testing.assert_allclose(
        -np.sort(after[0]),
        [0.501445, 0.428565, 0.394777, 0.385518, 0.332981, -0.267683, -0.460702, -0.891491],
        atol=2e-6,
    )


# ---- what must not matter ---------------------------------------------------------------


def test_the_order_of_the_gallery_does_not_matter():
    rng = np.random.default_rng(0)
    query, gallery = random_rows(rng, 9, 8), random_rows(rng, 60, 8)
    gallery[40:] = gallery[:20]
    order = rng.permutation(60)
    one = keys_of(spectral_refine(comparison_of(query, gallery), k=60))
    other = keys_of(spectral_refine(comparison_of(query, gallery[order]), k=60))
    np.testing.assert_allclose(one[:, order], other, atol=1e-6)


def test_blocks_do_not_matter(monkeypatch):
    rng = np.random.default_rng(1)
    given = comparison_of(random_rows(rng, 20, 8), random_rows(rng, 60, 8))
    one = keys_of(spectral_refine(given, k=12))
    for floats, block_size in ((1, 20), (12 * 12 * 3, 20), (12 * 12 * 3, 7)):
        monkeypatch.setattr(spectral_refinement, "_FLOATS_AT_ONCE", floats)
        other = keys_of(spectral_refine(given, k=12), block_size)
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_all_but_the_first_keep_their_keys_and_the_first_exchange_theirs():
    rng = np.random.default_rng(2)
    given = comparison_of(random_rows(rng, 20, 16), random_rows(rng, 200, 16))
    old, new = keys_of(given), keys_of(spectral_refine(given, k=30, temperature=0.1))
    np.testing.assert_array_equal(np.sort(old), np.sort(new))
    last = np.sort(old)[:, 29:30]
    np.testing.assert_array_equal(old[old > last], new[old > last])
    assert (old != new).mean() > 0.02  # of 30 in 200
    assert spectral_refine(given).keys.values(torch.tensor([-0.25])).tolist() == [0.75]


def test_k_1_changes_nothing_and_a_large_k_is_the_gallery():
    rng = np.random.default_rng(3)
    given = comparison_of(random_rows(rng, 5, 4), random_rows(rng, 12, 4))
    np.testing.assert_array_equal(keys_of(given), keys_of(spectral_refine(given, k=1)))
    whole, more = (keys_of(spectral_refine(given, k=k)) for k in (12, 500))
    np.testing.assert_array_equal(whole, more)


def test_it_refines_altered_keys():
    """A second refinement starts from the order of the first."""
    rng = np.random.default_rng(4)
    query, gallery = random_rows(rng, 4, 5), random_rows(rng, 25, 5)
    once = spectral_refine(comparison_of(query, gallery), k=15)
    expected = [
        brute_force(q, gallery.tolist(), row, 6, 0.5)
        for q, row in zip(query.tolist(), keys_of(once).tolist(), strict=True)
    ]
    np.testing.assert_allclose(keys_of(spectral_refine(once, k=6)), expected, atol=1e-6)


# ---- degenerate images ------------------------------------------------------------------


@pytest.mark.parametrize("k", [3, 40, 300])
def test_copies_tie_bit_by_bit(k):
    """Every image is there twice; a list of an odd length takes one of a pair only."""
    rng = np.random.default_rng(5)
    rows = random_rows(rng, 150, 64)
    given = comparison_of(random_rows(rng, 11, 64), np.concatenate([rows, rows[::-1]]))
    got = keys_of(spectral_refine(given, k=k, temperature=0.1))
    differ = got[:, :150] != got[:, 150:][:, ::-1]
    assert differ.sum(axis=1).max() <= k % 2


def test_one_point_and_zero_vectors():
    same = comparison_of(np.ones((2, 3)), np.full((6, 3), 2.0))
    np.testing.assert_allclose(keys_of(spectral_refine(same)), -1, atol=1e-6)
    assert len(np.unique(keys_of(spectral_refine(same)))) == 1
    zeros = comparison_of(np.zeros((2, 3)), np.eye(3))
    assert (keys_of(spectral_refine(zeros)) == 0).all()
    some = comparison_of(np.eye(3), [[0, 0, 0], [1, 1, 0], [0, 0, 0], [0, 1, 2]])
    got = keys_of(spectral_refine(some))
    assert np.isfinite(got).all()
    np.testing.assert_array_equal(got[:, 0], got[:, 2])


# ---- error messages ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k": 0}, "k must be 1 or larger, got 0"),
        ({"temperature": 0.0}, "temperature must be above 0, got 0.0"),
        ({"temperature": math.inf}, "temperature must be above 0, got inf"),
    ],
)
def test_bad_option(options, message):
    with pytest.raises(ValueError) as caught:
        spectral_refine(comparison_of(np.eye(3), np.eye(3)), **options)
    assert str(caught.value) == message

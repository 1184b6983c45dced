"""Re-ranking against plain loops over the paper's definition, published vectors, and itself.

Itself: the order of the gallery, the block size, the size of the search and equal vectors do
not matter, and neither the search nor the encoding ever holds all pairs.
"""

import math
import random
import tracemalloc

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from comparisons import comparison_of, filled, vectors
from reid_evaluate.distances.comparison import Comparison
from reid_evaluate.distances.distance_matrix import Cosine, Euclidean, SquaredEuclidean
from reid_evaluate.reranking import jaccard, k_reciprocal, reciprocal_encoding
from reid_evaluate.reranking.k_reciprocal import ReRanked, encode, neighbourhood, re_ranked
from reid_plugins.postprocess.k_reciprocal import KReciprocalParams, build

CASES = 150


def distances_of(comparison, block_size=1000, **options):
    keys = re_ranked(comparison, **options).keys
    return keys.values(torch.from_numpy(filled(keys, comparison, block_size))).numpy()


def draw(rng, images):
    """Draw vectors in clusters, which may be far apart or all but one."""
    size, clusters = rng.randint(4, 9), rng.randint(1, 8)
    spread = rng.choice((0.0, 1.0, 3.0))
    centres = [[rng.gauss(0, spread) for _ in range(size)] for _ in range(clusters)]
    return [[x + rng.gauss(0, 1) for x in rng.choice(centres)] for _ in range(images)]


# ---- brute force ------------------------------------------------------------------------


def distance_between(a, b, kind):
    if kind is Cosine:
        norms = [math.sqrt(sum(x * x for x in v)) for v in (a, b)]
        return 1.0 - sum(x * y for x, y in zip(a, b, strict=True)) / norms[0] / norms[1]
    return sum((x - y) ** 2 for x, y in zip(a, b, strict=True))


def half_of(k1):
    """Return k1 / 2; where that ends in a half, the even one of both neighbours."""
    half = k1 // 2
    return half + 1 if k1 % 2 and half % 2 else half


def reciprocal(rankings, i, k):
    return {j for j in rankings[i][: k + 1] if i in rankings[j][: k + 1]}


def described(d, rankings, i, k1):
    """Return V_i before it is averaged, as a dict without its zeros."""
    members = reciprocal(rankings, i, k1)
    expanded = set(members)
    for j in members:
        others = reciprocal(rankings, j, half_of(k1))
        if 3 * len(others & members) > 2 * len(others):
            expanded |= others
    total = sum(math.exp(-d[i][j]) for j in expanded)
    return {j: math.exp(-d[i][j]) / total for j in expanded}


def brute_force(rows, queries, kind, *, k1, k2, lambda_value, power):
    """Return the ``(Q, G)`` distances."""
    n = len(rows)
    d = [[distance_between(a, b, kind) ** power for b in rows] for a in rows]
    d = [[value / max(row) for value in row] for row in d]
    rankings = [sorted(range(n), key=lambda j, i=i: (j != i, d[i][j])) for i in range(n)]
    before = [described(d, rankings, i, k1) for i in range(n)]
    v = [
        [sum(before[near].get(j, 0.0) for near in rankings[i][:k2]) / k2 for j in range(n)]
        for i in range(n)
    ]
    result = np.empty((queries, n - queries))
    for q in range(queries):
        for g in range(queries, n):
            smaller = sum(min(a, b) for a, b in zip(v[q], v[g], strict=True))
            larger = sum(max(a, b) for a, b in zip(v[q], v[g], strict=True))
            far = 1 - smaller / larger
            result[q, g - queries] = (1 - lambda_value) * far + lambda_value * d[q][g]
    return result


# ---- the definition ---------------------------------------------------------------------


@pytest.mark.parametrize("parts", ["small parts", "one part"])
def test_random_cases_agree_with_the_brute_force(parts, monkeypatch):
    if parts == "small parts":
        monkeypatch.setattr(jaccard, "_SHARED_AT_ONCE", 5)
        monkeypatch.setattr(k_reciprocal, "ROWS_AT_ONCE", 2)
        monkeypatch.setattr(reciprocal_encoding, "_PAIRS_AT_ONCE", 3)
    for seed in range(CASES):
        rng = random.Random(seed)
        rows = draw(rng, rng.randint(3, 40))
        queries, kind = rng.randint(1, len(rows) - 1), rng.choice((Cosine, SquaredEuclidean))
        k1 = rng.randint(1, min(len(rows) - 1, rng.choice((4, 40))))
        options = {
            "k1": k1,
            "k2": rng.randint(1, k1 + 1),
            "lambda_value": rng.choice((0.0, 0.3, 0.5, 1.0)),
            "power": rng.choice((1, 2)),
        }
        expected = brute_force(rows, queries, kind, **options)
        comparison = comparison_of(rows[:queries], rows[queries:], kind())
        got = distances_of(comparison, block_size=rng.randint(1, 40), **options)
        np.testing.assert_allclose(got, expected, atol=1e-5, err_msg=f"case {seed}: {options}")


PUBLISHED = {
    1: (
        [0.7578, 0.3007, 0.9714, 0.8586, 0.9853, 0.8395, 0.8764, 0.9700],
        [[1, 0, 5, 3, 6, 7, 2, 4], [1, 0, 2, 5, 4, 3, 7, 6], [1, 0, 5, 3, 7, 2, 6, 4]],
        5e-4,  # that code stores float16
    ),
    2: (
        [0.6743, 0.1364, 0.9682, 0.7836, 0.9710, 0.7804, 0.8034, 0.9654],
        [[1, 0, 5, 3, 6, 7, 2, 4], [1, 0, 2, 4, 3, 7, 6, 5], [1, 0, 3, 5, 7, 2, 6, 4]],
        1e-4,
    ),
}


@pytest.mark.parametrize("power", PUBLISHED)
def test_the_plugin_gives_what_the_published_codes_give(power):
    first_row, orders, tolerance = PUBLISHED[power]
    rng = np.random.RandomState(0)
    comparison = comparison_of(rng.randn(3, 6), rng.randn(8, 6))
    step = build(KReciprocalParams(k1=4, k2=2, power=power))
    got = filled(step(comparison).keys, comparison)
    np.testing.assert_allclose(got[0], first_row, atol=tolerance)
    assert got.argsort(axis=1).tolist() == orders


# ---- what does not matter ---------------------------------------------------------------


@pytest.fixture
def clusters():
    """12 queries and 60 gallery images of 9 people, as a comparison by cosine."""
    rng = np.random.default_rng(1)
    rows = rng.standard_normal((9, 8)).repeat(8, axis=0) + 0.7 * rng.standard_normal((72, 8))
    rows = rng.permutation(rows)
    return comparison_of(rows[:12], rows[12:])


def test_the_order_of_the_gallery_does_not_matter(clusters):
    order = np.random.default_rng(2).permutation(60)
    other = comparison_of(clusters.query.features, clusters.gallery.features[order])
    straight = distances_of(clusters, k1=9, k2=4)
    np.testing.assert_allclose(distances_of(other, k1=9, k2=4), straight[:, order], atol=1e-5)


def test_a_search_over_parameters_shares_its_steps(clusters):
    found = neighbourhood(clusters, 15)
    for k1, k2 in ((15, 3), (9, 4), (2, 1)):
        parts = ReRanked(found, encode(found, k1, k2), 0.0)
        base, jaccard = torch.empty(2, 12, 60)
        parts.base(0, 12, base)
        parts.jaccard(0, 12, jaccard)
        for lambda_value in (0.0, 0.2, 1.0):
            expected = distances_of(clusters, k1=k1, k2=k2, lambda_value=lambda_value)
            mixed = torch.lerp(jaccard, base, lambda_value)
            np.testing.assert_allclose(mixed, expected, atol=1e-6)


@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize("kind", [Cosine, Euclidean, SquaredEuclidean])
def test_images_at_one_point_have_distances(kind, power):
    comparison = comparison_of(np.full((4, 3), 0.3), np.full((30, 3), 0.3), kind())
    got = distances_of(comparison, k1=5, k2=2, power=power)
    assert ((got >= 0) & (got <= 1 + 1e-6)).all()


@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize("kind", [Euclidean, SquaredEuclidean])  # Cosine's are 0 but for rounding
def test_images_at_one_point_have_no_distance_of_their_own(kind, power):
    comparison = comparison_of(np.full((4, 3), 0.3), np.full((30, 3), 0.3), kind())
    assert not distances_of(comparison, k1=5, k2=2, power=power, lambda_value=1.0).any()


@pytest.mark.parametrize("kind", [Cosine, SquaredEuclidean])
@pytest.mark.parametrize("points", [1, 12])
def test_gallery_images_with_equal_vectors_have_equal_distances(kind, points):
    """Their neighbours are found in some order, in which copies differ."""
    rng = np.random.default_rng(points)
    centres = rng.standard_normal((points, 5))
    place = rng.integers(0, points, 60)
    rows = np.concatenate([rng.standard_normal((4, 5)), centres[:1]])
    got = distances_of(comparison_of(rows, centres[place], kind()), k1=6, k2=3)
    for point in range(points):
        copies = got[:, place == point]
        np.testing.assert_array_equal(copies, copies[:, :1].repeat(copies.shape[1], axis=1))


@pytest.mark.parametrize("scale", [1e-18, 1e18])
def test_the_unit_of_the_vectors_does_not_matter(clusters, scale):
    query, gallery = (side.features.numpy() for side in (clusters.query, clusters.gallery))
    expected = distances_of(comparison_of(query, gallery, SquaredEuclidean()), k1=9, k2=4, power=2)
    scaled = comparison_of(query * scale, gallery * scale, SquaredEuclidean())
    np.testing.assert_allclose(distances_of(scaled, k1=9, k2=4, power=2), expected, atol=1e-5)


# ---- memory -----------------------------------------------------------------------------


class Watched(Cosine):
    """Notes the largest block of keys that is asked for."""

    largest = 0

    def fill(self, query, gallery, out):
        self.largest = max(self.largest, out.numel())
        super().fill(query, gallery, out)


def test_all_pairs_are_never_held_at_once():
    rng = np.random.default_rng(3)
    rows = rng.standard_normal((300, 16)).repeat(10, axis=0) + rng.standard_normal((3000, 16))
    comparison = Comparison(vectors(rows[::10]), vectors(rows), Watched())
    out = torch.empty(50, len(rows))
    tracemalloc.start()
    keys = re_ranked(comparison).keys
    for start in range(0, 300, 50):
        keys.fill(start, start + 50, out)
    _, peak = tracemalloc.get_traced_memory()  # numpy's and scipy's; torch's is the block
    tracemalloc.stop()
    pairs = 3300**2
    assert comparison.distance.largest <= 1024 * 3300
    assert peak < pairs  # a quarter of a float32 matrix


# ---- refusals ---------------------------------------------------------------------------


class OneWay(Cosine):
    symmetric = False


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k1": 5, "k2": 7}, "k2 must be from 1 to k1 + 1 = 6, got 7"),
        ({"k1": 5, "k2": 0}, "k2 must be from 1 to k1 + 1 = 6, got 0"),
        ({"k1": 72}, "k1 must be from 1 to 71 for 72 images, got 72"),
        ({"k1": 0}, "k1 must be from 1 to 71 for 72 images, got 0"),
        ({"lambda_value": 1.1}, "lambda must be from 0 to 1, got 1.1"),
        ({"lambda_value": math.nan}, "lambda must be from 0 to 1, got nan"),
        ({"power": 0}, "power must be 1 or larger, got 0"),
    ],
)
def test_numbers_out_of_range(clusters, options, message):
    with pytest.raises(ValueError) as caught:
        re_ranked(clusters, **options)
    assert str(caught.value) == message


def test_more_neighbours_than_were_searched(clusters):
    with pytest.raises(ValueError, match="k1 must be from 1 to 4, got 5"):
        encode(neighbourhood(clusters, 4), 5, 1)


def test_a_distance_that_depends_on_the_direction(clusters):
    comparison = Comparison(clusters.query, clusters.gallery, OneWay())
    with pytest.raises(ValueError, match="needs a symmetric distance"):
        re_ranked(comparison)


def test_distances_that_were_altered_before(clusters):
    with pytest.raises(ValueError, match="must be the first step that alters distances"):
        re_ranked(re_ranked(clusters))


def test_params_with_more_averaged_than_searched():
    assert KReciprocalParams(k1=3, k2=4).k2 == 4
    with pytest.raises(ValidationError, match="k2 must be at most k1 \\+ 1, got k1 3 and k2 5"):
        KReciprocalParams(k1=3, k2=5)

"""Graph re-ranking against its published loops and dense form, both in float64."""

import math

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from comparisons import comparison_of, dot, keys_of, random_rows, unit, vectors
from reid_evaluate.reranking import graph_reranking
from reid_evaluate.reranking.graph_reranking import graph_factors, graph_rerank
from reid_plugins.postprocess.graph_rerank import GraphRerankParams, build

# ---- brute force ------------------------------------------------------------------------


def lists_of_neighbours(x, k1):
    """Return cosines and indices of the k1 nearest of each row, itself first."""
    cosines = [[dot(a, b) for b in x] for a in x]
    near = [
        sorted(range(len(x)), key=lambda j, i=i: (j != i, -cosines[i][j]))[:k1]
        for i in range(len(x))
    ]
    return [[cosines[i][j] for j in row] for i, row in enumerate(near)], near


def loops(x, k1, k2, rounds):
    """Return A as the published kernels make it: entry by entry."""
    n = len(x)
    s, r = lists_of_neighbours(x, k1)
    a = [[0.0] * n for _ in range(n)]
    for i in range(n):
        for j in r[i]:
            a[i][j] = 1.0
    for _ in range(rounds if k2 != 1 else 0):
        a = [[a[i][j] + a[j][i] for j in range(n)] for i in range(n)]
        new = [[0.0] * n for _ in range(n)]
        for i in range(n):
            for near, cosine in list(zip(r[i], s[i], strict=True))[:k2]:
                for column in range(n):
                    new[i][column] += cosine**2 * a[near][column]
        a = [unit(row) for row in new]
    return [unit(row) for row in a]


def dense_form(x, k1, k2, rounds):
    """Return A by matrix products."""
    s, r = (np.array(part) for part in lists_of_neighbours(x, k1))
    a, m = np.zeros((2, len(x), len(x)))
    np.put_along_axis(a, r, 1.0, axis=1)
    np.put_along_axis(m, r[:, :k2], s[:, :k2] ** 2, axis=1)
    for _ in range(rounds):
        a = m @ (a + a.T)
        a /= np.linalg.norm(a, axis=1, keepdims=True)
    return a


def brute_force(query, gallery, k1, k2, lambda_value, rounds):
    x = [unit(row) for row in [*query, *gallery]]
    a = loops(x, k1, k2, rounds)
    q = len(query)
    return [
        [
            -(1 - lambda_value) * dot(a[i], a[j]) - lambda_value * dot(x[i], x[j])
            for j in range(q, len(x))
        ]
        for i in range(q)
    ]


@pytest.mark.parametrize("seed", range(60))
def test_equals_brute_force(seed):
    rng = np.random.default_rng(seed)
    query = random_rows(rng, rng.integers(1, 6), size := rng.integers(2, 7))
    gallery = random_rows(rng, rng.integers(1, 16), size)
    k1 = int(rng.integers(1, 25))
    options = {
        "k1": k1,
        "k2": 1 if seed % 6 == 0 else int(rng.integers(1, k1 + 1)),
        "lambda_value": float(rng.choice([0.0, 0.3, 1.0])),
        "rounds": int(rng.integers(1, 4)),
    }
    reranked = graph_rerank(comparison_of(query, gallery), **options)
    got = keys_of(reranked, block_size=int(rng.integers(1, 7)))
    expected = brute_force(query.tolist(), gallery.tolist(), **options)
    np.testing.assert_allclose(got, expected, atol=5e-6)
    plugin = build(GraphRerankParams(**options))
    np.testing.assert_allclose(keys_of(plugin(comparison_of(query, gallery))), got, atol=1e-6)


@pytest.mark.parametrize("seed", range(10))
def test_loops_dense_form_and_factors_agree(seed):
    rng = np.random.default_rng(seed)
    rows = random_rows(rng, 30, 5)
    x = [unit(row) for row in rows.tolist()]
    assert [row[0] for row in lists_of_neighbours(x, 8)[1]] == list(range(30))
    a = dense_form(x, 8, 3, 2)
    np.testing.assert_allclose(loops(x, 8, 3, 2), a, atol=1e-12)
    left, right = graph_factors(vectors(rows), k1=8, k2=3, rounds=2)
    product = (left @ right).toarray()
    product /= np.linalg.norm(product, axis=1, keepdims=True)
    np.testing.assert_allclose(product, a, atol=1e-6)


def test_without_messages_it_is_the_share_of_common_neighbours():
    rng = np.random.default_rng(0)
    rows = random_rows(rng, 20, 4)
    given = comparison_of(rows[:5], rows[5:])
    got = keys_of(graph_rerank(given, k1=6, k2=1, lambda_value=0.0))
    near = [set(row) for row in lists_of_neighbours([unit(r) for r in rows.tolist()], 6)[1]]
    common = [[len(near[i] & near[j]) / 6 for j in range(5, 20)] for i in range(5)]
    np.testing.assert_allclose(-got, common, atol=1e-6)


# ---- what must not matter ---------------------------------------------------------------


def test_the_order_of_the_gallery_does_not_matter():
    rng = np.random.default_rng(1)
    query, gallery = random_rows(rng, 9, 8), random_rows(rng, 60, 8)
    order = rng.permutation(60)
    one = keys_of(graph_rerank(comparison_of(query, gallery), k1=10, k2=4))
    other = keys_of(graph_rerank(comparison_of(query, gallery[order]), k1=10, k2=4))
    np.testing.assert_allclose(one[:, order], other, atol=1e-6)


def test_lengths_and_blocks_do_not_matter(monkeypatch):
    rng = np.random.default_rng(2)
    query, gallery = random_rows(rng, 20, 8), random_rows(rng, 60, 8)
    one = keys_of(graph_rerank(comparison_of(query, gallery)))
    monkeypatch.setattr(graph_reranking, "_ROWS_AT_ONCE", 7)
    longer = comparison_of(query * 1e-20, gallery * rng.uniform(1e3, 1e18, (60, 1)))
    for block_size in (1, 6, 20):
        np.testing.assert_allclose(keys_of(graph_rerank(longer), block_size), one, atol=2e-6)


def test_the_distance_is_1_minus_the_similarity():
    keys = graph_rerank(comparison_of(np.eye(3), np.eye(3))).keys
    assert keys.values(torch.tensor([-1.0, 0.25])).tolist() == [0, 1.25]


# ---- degenerate images ------------------------------------------------------------------


def test_copies_tie_bit_by_bit():
    """Also where a list of neighbours ends among copies: there are nine of one image."""
    rng = np.random.default_rng(3)
    rows = random_rows(rng, 150, 64)
    rows[:8] = rows[8]
    gallery = np.concatenate([rows, rows[::-1]])
    got = keys_of(graph_rerank(comparison_of(random_rows(rng, 11, 64), gallery), k1=5, k2=3))
    np.testing.assert_array_equal(got[:, :150], got[:, 150:][:, ::-1])
    assert (got[:, :9] == got[:, :1]).all()


def test_one_point_and_zero_vectors():
    same = keys_of(graph_rerank(comparison_of(np.ones((2, 3)), np.full((40, 3), 2.0))))
    assert np.isfinite(same).all()
    assert (same == same[:, :1]).all()
    zeros = keys_of(graph_rerank(comparison_of(np.zeros((2, 3)), np.zeros((4, 3)))))
    assert (zeros == 0).all()
    mixture = comparison_of([[0, 0], [1, 1]], [[1, 1], [0, 0], [2, 1]])
    got = keys_of(graph_rerank(mixture, k1=2, k2=2))
    assert (got[0] == 0).all()
    assert got[1].argsort(kind="stable").tolist() == [0, 2, 1]


# ---- error messages ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k1": 0}, "k1 must be 1 or larger, got 0"),
        ({"k2": 0}, "k2 must be 1 or larger, got 0"),
        ({"rounds": 0}, "rounds must be 1 or larger, got 0"),
        ({"k1": 5, "k2": 6}, "k2 must be at most k1, got k1 5 and k2 6"),
        ({"lambda_value": 1.1}, "lambda_value must be from 0 to 1, got 1.1"),
        ({"lambda_value": math.nan}, "lambda_value must be from 0 to 1, got nan"),
    ],
)
def test_bad_option(options, message):
    with pytest.raises(ValueError) as caught:
        graph_rerank(comparison_of(np.eye(3), np.eye(3)), **options)
    assert str(caught.value) == message


def test_params_check_k2_against_the_default_k1_too():
    with pytest.raises(ValidationError, match="k2 must be at most k1, got k1 5 and k2 7"):
        GraphRerankParams(k1=5)
    assert GraphRerankParams(k1=7).k2 == 7


def test_altered_keys_are_not_lost():
    given = comparison_of(np.eye(3), np.eye(3))
    with pytest.raises(ValueError, match="must be the first to change the distances"):
        graph_rerank(given.with_keys(given.keys))

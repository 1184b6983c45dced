"""Vectors far from the origin, very long and very short ones: the same ranking, or a refusal."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from reid_core.contracts import Features, NamedPart
from reid_evaluate.distances.common_mean import NARROW, spread_of_directions
from reid_evaluate.distances.comparison import Vectors
from reid_evaluate.distances.distance_matrix import Cosine, Euclidean, SquaredEuclidean
from reid_evaluate.ranking.images import ImageSet
from reid_evaluate.ranking.keys import compare
from reid_evaluate.ranking.rank_queries import rank_queries
from reid_evaluate.reranking.k_reciprocal import re_ranked
from reid_plugins.evaluator import market_evaluate
from reid_plugins.loss import contrastive, lifted_structure, ranked_list, triplet
from reid_plugins.objective._distillation import relative_distances
from reid_plugins.toolkit.loss_distances import pairwise_distance, squared_distance

IDS, DIM = 40, 32
OFFSETS = (0.0, 100.0, 3e3, 1e5, -3e4)


def drawn(offset, seed=1):
    """Return query and gallery features of drawn persons, float32, all moved by an offset."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(IDS, DIM))
    query = centres + rng.normal(size=centres.shape)
    gallery = centres.repeat(4, axis=0) + rng.normal(size=(4 * IDS, DIM))
    return (query + offset).astype(np.float32), (gallery + offset).astype(np.float32)


def images(rows, pids, camera):
    count = len(rows)
    return ImageSet(
        features=rows,
        pids=np.asarray(pids).astype(str),
        camids=np.full(count, camera),
        names=np.array([f"{camera}/{i}" for i in range(count)]),
        junk=np.zeros(count, dtype=bool),
        distractor=np.zeros(count, dtype=bool),
    )


def exact(query, gallery):
    """Return the Euclidean distances of all pairs in float64, by differences."""
    return np.linalg.norm(query.astype(float)[:, None] - gallery.astype(float)[None], axis=2)


def keys_of(distance, query, gallery):
    found = compare(
        images(query, range(len(query)), 0),
        images(gallery, range(len(gallery)), 1),
        distance=distance,
    )
    out = torch.empty(len(query), len(gallery))
    found.keys.fill(0, len(query), out)
    return found.keys.values(out).numpy()


@pytest.mark.parametrize("offset", OFFSETS)
@pytest.mark.parametrize(("kind", "power"), [(Euclidean, 1), (SquaredEuclidean, 2)])
def test_distances_are_those_of_float64_wherever_the_vectors_lie(kind, power, offset):
    query, gallery = drawn(offset)
    expected = exact(query, gallery) ** power
    np.testing.assert_allclose(keys_of(kind(), query, gallery), expected, rtol=2e-5, atol=1e-5)


@pytest.mark.parametrize(("of_query", "of_gallery"), [(3e3, 0.0), (0.0, 3e3), (3e3, -3e3)])
def test_both_sides_may_lie_at_different_places(of_query, of_gallery):
    query, gallery = drawn(of_query)[0], drawn(of_gallery)[1]
    found = keys_of(Euclidean(), query, gallery)
    np.testing.assert_allclose(found, exact(query, gallery), rtol=1e-6)


def test_the_map_of_moved_vectors_is_that_of_float64():
    query, gallery = drawn(3e3)
    found = rank_queries(
        compare(
            images(query, range(IDS), 0),
            images(gallery, np.arange(IDS).repeat(4), 1),
            distance=Euclidean(),
        )
    )
    order = exact(query, gallery).argsort(axis=1)
    places = [np.flatnonzero(order[i] // 4 == i) + 1 for i in range(IDS)]
    expected = [(np.arange(1, 5) / place).mean() for place in places]
    np.testing.assert_allclose(found.ap, expected, atol=1e-9)


def test_reranking_by_neighbours_does_not_see_where_the_vectors_lie():
    def distances(offset):
        # Whole numbers: moving them is exact.
        query, gallery = ((8 * side).round() + offset for side in drawn(0.0))
        sides = images(query, range(IDS), 0), images(gallery, range(4 * IDS), 1)
        step = lambda c: re_ranked(c, k1=6, k2=3, lambda_value=0.3)  # noqa: E731
        found = compare(*sides, distance=SquaredEuclidean(), postprocess=[step]).keys
        out = torch.empty(IDS, 4 * IDS)
        found.fill(0, IDS, out)
        return found.values(out).numpy()

    np.testing.assert_allclose(distances(4096.0), distances(0.0), atol=1e-5)


def test_ordinary_vectors_are_not_copied_and_keep_their_keys():
    query, gallery = (torch.from_numpy(side) for side in drawn(1.0))

    def vectors(rows):
        return Vectors(rows, np.zeros(len(rows)), np.zeros(len(rows)))

    prepared = SquaredEuclidean().prepare(vectors(gallery))
    assert prepared.features is gallery
    assert set(prepared.aux) == {"square"}
    out = torch.empty(IDS, 4 * IDS)
    SquaredEuclidean().fill(SquaredEuclidean().prepare(vectors(query)), prepared, out)
    by_hand = torch.addmm(prepared.aux["square"][None], query, gallery.T, alpha=-2)
    by_hand += query.double().square().sum(1).float()[:, None]
    torch.testing.assert_close(out, by_hand)


@pytest.mark.parametrize("scale", [1e-17, 1e17])
def test_long_and_short_vectors_are_ranked_as_others(scale):
    query, gallery = drawn(0.0)
    found = keys_of(Euclidean(), (query * scale).astype(np.float32), gallery * np.float32(scale))
    np.testing.assert_allclose(found / scale, exact(query, gallery), rtol=1e-4)


@pytest.mark.parametrize(("scale", "word"), [(1e-20, "small"), (1e-30, "small"), (1e20, "large")])
def test_lengths_whose_squares_leave_float32_are_refused(scale, word):
    query, gallery = ((side * scale).astype(np.float32) for side in drawn(0.0))
    with pytest.raises(ValueError, match=f"too {word} for float32 Euclidean .* multiply all"):
        keys_of(Euclidean(), query, gallery)
    cosine = 1 - keys_of(Cosine(), query, gallery)  # which has no such limits
    unit = [s / np.linalg.norm(s.astype(float), axis=1)[:, None] for s in (query, gallery)]
    np.testing.assert_allclose(cosine, unit[0] @ unit[1].T, atol=1e-5)


# ---- cosine -----------------------------------------------------------------------------


def scored(offset, distance):
    def features(rows, pids, split):
        count = len(rows)
        none = np.zeros(count, dtype=bool)
        names = np.array([f"{split}/{i}" for i in range(count)])
        camids = np.full(count, int(split == "gallery"))
        pids = np.asarray(pids).astype(str)
        return Features({"embedding": rows}, pids, camids, names, none, none, meta={})

    query, gallery = drawn(offset)
    splits = {
        "query": features(query, range(IDS), "query"),
        "gallery": features(gallery, np.arange(IDS).repeat(4), "gallery"),
    }
    (component,) = market_evaluate.reid_evaluator()
    part = NamedPart(type(distance).__name__.lower(), {}, distance)
    return component.build(component.params(bootstrap_draws=0), distance=part)(splits)


def test_the_card_says_when_cosines_are_rounding():
    near, far = scored(0.0, Cosine()), scored(300.0, Cosine())
    assert "warning" not in near.card
    assert "direction_spread" not in near.protocol
    assert far.protocol["direction_spread"] < NARROW
    assert "float32 loses digits below 0.001" in far.card["warning"]
    assert "warning" not in scored(300.0, Euclidean()).card


def test_the_spread_is_the_mean_of_all_pairs():
    rows = torch.from_numpy(drawn(1.0)[1])
    unit = torch.nn.functional.normalize(rows.double())
    inverse = rows.norm(dim=1).reciprocal()
    found = spread_of_directions(rows, inverse)
    assert found == pytest.approx(float(1 - (unit @ unit.T).mean()), abs=1e-5)
    zeros = spread_of_directions(torch.zeros(2, 3), torch.zeros(2))
    assert zeros == 1.0


# ---- losses -----------------------------------------------------------------------------


def batch(offset):
    """Return features of whole numbers, so that moving them is exact, and their pids."""
    rng = np.random.default_rng(5)
    rows = rng.integers(-8, 9, size=(16, 6)) + offset
    return torch.tensor(rows, dtype=torch.float32, requires_grad=True), torch.arange(16) // 4


LOSSES = [
    (triplet, {"mining": "hard"}),
    (triplet, {"mining": "weighted"}),
    (contrastive, {}),
    (lifted_structure, {}),
    (ranked_list, {}),
]


@pytest.mark.parametrize(("module", "params"), LOSSES)
def test_losses_and_their_gradients_do_not_see_where_the_vectors_lie(module, params):
    from reid_core.contracts import LossInput, Progress

    found = []
    for offset in (0, 4096):
        features, pids = batch(offset)
        (component,) = module.reid_loss()
        progress = Progress(epoch=0, epochs=1, step=7, steps_per_epoch=10, seed=3)
        loss = component.build(component.params(**params))
        value = loss(LossInput(features, pids, pids, progress)).value
        value.backward()
        found.append((value.detach(), features.grad))
    assert float(found[0][1].abs().max()) > 0
    torch.testing.assert_close(found[1], found[0], rtol=1e-4, atol=1e-5)


def test_gradients_of_distances_are_those_of_float64():
    features, _ = batch(4096)
    pairwise_distance(features, features).square().sum().backward()
    twice = features.detach().double().requires_grad_()
    (twice[:, None] - twice[None]).square().sum().backward()
    torch.testing.assert_close(features.grad.double(), twice.grad, rtol=1e-4, atol=1e-3)


def test_one_vector_that_is_no_number_leaves_the_others_their_distances():
    rows = torch.tensor([[0.0, 1.0], [3.0, 5.0], [torch.inf, 0.0], [torch.nan, 0.0]])
    found = squared_distance(rows, rows)
    assert found[0, 1] == 25
    assert not found[2:].isfinite().any()


def test_relative_distances_of_the_distillation_are_those_near_the_origin():
    (near, _), (far, _) = batch(0), batch(4096)
    torch.testing.assert_close(relative_distances(far)[0], relative_distances(near)[0])

"""The batch-hard triplet loss against loops in float64, published values and another library."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pytorch_metric_learning import distances, losses, miners, reducers

from loss_batches import FEATURES, PIDS, POINT_PIDS, POINTS, random_batch
from reid_core.contracts import LossInput, Progress
from reid_plugins.loss import triplet
from reid_plugins.toolkit.loss_distances import pairwise_distance

PROGRESS = Progress(epoch=0, epochs=1, step=0, steps_per_epoch=1)


def loss_of(params, features, pids):
    loss = triplet.build(triplet.TripletParams(**params))
    return loss(LossInput(features, pids, pids, PROGRESS))


def loop_distance(a, b, distance):
    if distance == "euclidean":
        return math.sqrt(sum((x - y) ** 2 for x, y in zip(a, b, strict=True)))
    norms = math.sqrt(sum(x * x for x in a)) * math.sqrt(sum(y * y for y in b))
    return 1 - sum(x * y for x, y in zip(a, b, strict=True)) / norms


def loop_triplet(features, pids, margin, distance):
    rows, pids, terms = features.tolist(), pids.tolist(), []
    for i, anchor in enumerate(rows):
        far = [
            loop_distance(anchor, rows[j], distance)
            for j in range(len(rows))
            if pids[j] == pids[i] and j != i
        ]
        near = [
            loop_distance(anchor, rows[j], distance) for j in range(len(rows)) if pids[j] != pids[i]
        ]
        if far and near:
            gap = max(far) - min(near)
            terms.append(math.log1p(math.exp(gap)) if margin == "soft" else max(0.0, gap + margin))
    return sum(terms) / len(terms) if terms else 0.0


# ---- distances --------------------------------------------------------------------------


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
def test_pairwise_distance_equals_the_loop(distance):
    distmat = pairwise_distance(FEATURES, FEATURES[:5], distance)
    for i, a in enumerate(FEATURES.tolist()):
        for j, b in enumerate(FEATURES[:5].tolist()):
            expected = max(1e-6, loop_distance(a, b, distance))
            assert distmat[i, j].item() == pytest.approx(expected, abs=2e-6)


# ---- triplet ----------------------------------------------------------------------------


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
@pytest.mark.parametrize("margin", [0.0, 0.3, 2.5, "soft"])
@pytest.mark.parametrize("counts", [[2, 2, 2, 2], [4, 1, 3, 2], [1, 5]])
def test_triplet_equals_the_loop(distance, margin, counts):
    features, pids = random_batch(sum(counts), counts)
    output = loss_of({"margin": margin, "distance": distance}, features, pids)
    expected = loop_triplet(features, pids, margin, distance)
    assert output.value.item() == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize(("margin", "expected"), [(0.16, 2.007854), ("soft", 2.075817)])
def test_triplet_has_the_published_values(margin, expected):
    output = loss_of({"margin": margin}, FEATURES, PIDS)
    assert output.value.item() == pytest.approx(expected, abs=5e-7)


def test_triplet_finds_the_hardest_pairs_of_six_points():
    distmat = pairwise_distance(POINTS, POINTS)
    positive, negative = triplet.hardest_pairs(distmat, POINT_PIDS)
    assert positive.tolist() == pytest.approx([1.0] * 6)
    assert negative.tolist() == pytest.approx([2, math.sqrt(5), 2, 3, 3, math.sqrt(10)])
    assert loss_of({"margin": 0.3}, POINTS, POINT_PIDS).value.item() == 0
    soft = loss_of({"margin": "soft"}, POINTS, POINT_PIDS)
    assert soft.value.item() == pytest.approx(0.2073898, abs=5e-8)


def test_triplet_monitors_describe_the_six_points():
    monitors = loss_of({"margin": 1.5}, POINTS, POINT_PIDS).monitors
    negatives = [2, math.sqrt(5), 2, 3, 3, math.sqrt(10)]
    assert monitors["active"].item() == pytest.approx(3 / 6)
    assert monitors["positive_distance"].item() == pytest.approx(1)
    assert monitors["negative_distance"].item() == pytest.approx(sum(negatives) / 6)
    assert not any(value.requires_grad for value in monitors.values())


@pytest.mark.parametrize("seed", range(5))
def test_triplet_equals_pytorch_metric_learning(seed):
    features, pids = random_batch(seed, [3, 3, 3, 3])
    distance = distances.LpDistance(normalize_embeddings=False)
    hardest = miners.BatchHardMiner(distance=distance)(features, pids)
    other = losses.TripletMarginLoss(margin=0.3, distance=distance, reducer=reducers.MeanReducer())(
        features, pids, hardest
    )
    torch.testing.assert_close(loss_of({}, features, pids).value, other)


@pytest.mark.parametrize("margin", [1.0, "soft"])
@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
def test_triplet_gradient_equals_finite_differences(margin, distance):
    features, pids = random_batch(3, [3, 1, 2])
    features.requires_grad_()

    def value(features):
        return loss_of({"margin": margin, "distance": distance}, features, pids).value

    assert torch.autograd.gradcheck(value, features)


@given(st.integers(0, 99), st.lists(st.integers(1, 4), min_size=1, max_size=4))
@settings(max_examples=30, deadline=None)
def test_triplet_ignores_the_order_of_the_batch(seed, counts):
    features, pids = random_batch(seed, counts)
    order = torch.randperm(len(pids), generator=torch.Generator().manual_seed(seed + 1))
    one = loss_of({"margin": "soft"}, features, pids)
    two = loss_of({"margin": "soft"}, features[order], pids[order])
    torch.testing.assert_close(one.value, two.value)
    torch.testing.assert_close(dict(one.monitors), dict(two.monitors))


# ---- every batch -------------------------------------------------------------------------

GENERATOR = torch.Generator().manual_seed(0)
RANDOM = torch.randn(6, 4, generator=GENERATOR)
DEGENERATE = {
    "one identity": (RANDOM, [0] * 6),
    "one image per identity": (RANDOM, [0, 1, 2, 3, 4, 0]),
    "all different": (RANDOM[:5], [0, 1, 2, 3, 4]),
    "one image": (RANDOM[:1], [2]),
    "identical features": (RANDOM[:1].repeat(6, 1), [0, 0, 1, 1, 2, 2]),
    "zero features": (torch.zeros(6, 4), [0, 0, 1, 1, 2, 2]),
    "huge norms": (RANDOM * 1e6, [0, 0, 1, 1, 2, 2]),
    "tiny norms": (RANDOM * 1e-12, [0, 0, 1, 1, 2, 2]),
}


@pytest.mark.parametrize("case", DEGENERATE)
@pytest.mark.parametrize("params", [{}, {"margin": "soft"}, {"distance": "cosine"}])
def test_value_and_gradient_stay_finite_and_attached(params, case):
    features, pids = DEGENERATE[case]
    features = features.clone().requires_grad_()
    output = loss_of(params, features, torch.tensor(pids))
    output.value.backward()
    assert output.value.isfinite()
    assert output.value.shape == ()
    assert features.grad.isfinite().all()
    assert all(value.isfinite() for value in output.monitors.values())


@pytest.mark.parametrize("case", ["one identity", "all different", "one image"])
@pytest.mark.parametrize("margin", [0.3, "soft"])
def test_triplet_without_a_complete_triplet_is_exactly_zero(case, margin):
    features, pids = DEGENERATE[case]
    features = features.clone().requires_grad_()
    output = loss_of({"margin": margin}, features, torch.tensor(pids))
    output.value.backward()
    assert output.value.item() == 0
    assert features.grad.count_nonzero() == 0
    assert {value.item() for value in output.monitors.values()} == {0.0}


def test_triplet_skips_an_anchor_without_a_positive():
    features, pids = random_batch(4, [2, 2])
    alone = features.mean(0, keepdim=True) + 100  # too far to be anybody's negative
    output = loss_of({}, torch.cat([features, alone]), torch.cat([pids, torch.tensor([9])]))
    torch.testing.assert_close(output.value, loss_of({}, features, pids).value)

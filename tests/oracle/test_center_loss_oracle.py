"""The center loss against loops in float64, published values and a second optimizer."""

import copy
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from loss_batches import random_batch
from reid_core.contracts import LossInput, Progress
from reid_core.params.messages import read_params, validate
from reid_core.params.schema import LossEntry
from reid_plugins.loss import center
from reid_plugins.loss._center import CenterLoss

PROGRESS = Progress(epoch=0, epochs=1, step=0, steps_per_epoch=1)


def loss_with(centers, rate=0.5):
    """Return the loss with the given centers."""
    loss = CenterLoss(*centers.shape, rate).to(centers.dtype)
    loss.load_state_dict({"centers": centers})
    return loss


def called(loss, features, pids):
    return loss(LossInput(features, pids, pids, PROGRESS))


def random_centers(seed, counts, dim=3):
    """Return features, pids and centers; the last identity has no images."""
    shape = (len(counts) + 1, dim)
    features, centers, pids = random_batch(seed, counts, dim, [shape])
    return features, pids, centers


COUNTS = st.lists(st.integers(1, 4), min_size=1, max_size=4)


# ---- the value --------------------------------------------------------------------------


def loop_value(features, pids, centers):
    squares = [
        sum((x - c) ** 2 for x, c in zip(row, centers[pid], strict=True))
        for row, pid in zip(features, pids, strict=True)
    ]
    return sum(squares) / len(squares)


@given(st.integers(0, 99), COUNTS)
@settings(max_examples=30, deadline=None)
def test_value_and_gradient_equal_the_loop(seed, counts):
    features, pids, centers = random_centers(seed, counts)
    leaf = features.requires_grad_()
    ours = called(loss_with(centers), leaf, pids).value
    other = loop_value(leaf, pids.tolist(), centers)
    torch.testing.assert_close(ours, other)
    torch.testing.assert_close(*(torch.autograd.grad(v, leaf) for v in (ours, other)))


def test_value_has_the_published_number():
    features = torch.tensor(
        [
            [(1 + 0.25 * i) * math.sin(1 + 3 * i + 2 * k**2 + 0.5 * i * k) for k in range(4)]
            for i in range(8)
        ],
        dtype=torch.float64,
    )
    value = called(loss_with(features[::2]), features, torch.arange(8) // 2).value
    assert value.item() == pytest.approx(10.403768, abs=5e-7)


POINTS = torch.tensor([[0, 0], [1, 0], [0, 2], [0, 3], [4, 0], [4, 1]], dtype=torch.float64)
POINT_PIDS = torch.tensor([0, 0, 1, 1, 2, 2])
CENTERS = torch.tensor([[0, 1], [2, 3], [4, 5]], dtype=torch.float64)


def test_six_points_have_the_published_value_and_move_the_centers_as_published():
    loss = loss_with(CENTERS)
    output = called(loss, POINTS, POINT_PIDS)
    assert output.value.item() == pytest.approx(8.833333, abs=5e-7)
    roots = [1, 2**0.5, 5**0.5, 2, 5, 4]
    assert output.monitors["center_distance"].item() == pytest.approx(sum(roots) / 6)
    loss.after_step()
    expected = [1 / 6, 2 / 3, 4 / 3, 17 / 6, 4, 3.5]
    assert loss.centers.flatten().tolist() == pytest.approx(expected)


def test_gradient_equals_finite_differences():
    features, pids, centers = random_centers(0, [3, 1, 2])
    loss = loss_with(centers)
    assert torch.autograd.gradcheck(
        lambda x: called(loss, x, pids).value, features.requires_grad_()
    )


@given(st.integers(0, 99), COUNTS)
@settings(max_examples=20, deadline=None)
def test_the_order_of_the_batch_does_not_matter(seed, counts):
    features, pids, centers = random_centers(seed, counts)
    order = torch.randperm(len(pids), generator=torch.Generator().manual_seed(seed + 1))
    one, two = loss_with(centers), loss_with(centers)
    outputs = [called(one, features, pids), called(two, features[order], pids[order])]
    torch.testing.assert_close(*(x.value for x in outputs))
    torch.testing.assert_close(*(dict(x.monitors) for x in outputs))
    for loss in (one, two):
        loss.after_step()
    torch.testing.assert_close(one.centers, two.centers)


# ---- the centers ------------------------------------------------------------------------


class SecondOptimizer:
    """The center loss with parameters, as the first published code trains it.

    Its gradient comes from the weighted total and is divided by the weight before the step.
    """

    def __init__(self, centers, rate, weight):
        self.centers, self.weight = nn.Parameter(centers.clone()), weight
        self.optimizer = torch.optim.SGD([self.centers], lr=rate)

    def value(self, features, pids):
        return ((features - self.centers[pids]) ** 2).sum() / len(pids)

    def step(self):
        self.centers.grad /= self.weight
        self.optimizer.step()
        self.optimizer.zero_grad()


class Ours:
    """The same calls for the loss."""

    def __init__(self, centers, rate, weight):
        self.loss = loss_with(centers, rate)

    centers = property(lambda self: self.loss.centers)

    def value(self, features, pids):
        return called(self.loss, features, pids).value

    def step(self):
        self.loss.after_step()


def trained(side, weight, steps=6):
    """Train a layer under the weighted loss; return its weights and the centers of each step."""
    generator = torch.Generator().manual_seed(1)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    layer = nn.Linear(4, 3, dtype=torch.float64)
    layer.load_state_dict({"weight": draw(3, 4), "bias": draw(3)})
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.1)
    history = []
    for _ in range(steps):
        images, pids = draw(8, 4), torch.randint(5, (8,), generator=generator)
        assert len(pids.unique()) < len(pids)  # some identity has several images
        optimizer.zero_grad()
        features = layer(images)
        # Another loss, so that the weight matters to the layer.
        total = weight * side.value(features, pids) + (features[:, 0] - 1).square().mean()
        total.backward()
        optimizer.step()
        side.step()
        history.append((layer.weight.detach().clone(), side.centers.detach().clone()))
    return history


@pytest.mark.parametrize("rate", [0.5, 0.05])
@pytest.mark.parametrize("weight", [0.0005, 1.0, 3.0])
def test_the_centers_move_as_under_a_second_optimizer(weight, rate):
    _, _, centers = random_centers(0, [2, 2, 2, 2])
    ours = trained(Ours(centers, rate, weight), weight)
    other = trained(SecondOptimizer(centers, rate, weight), weight)
    torch.testing.assert_close(ours, other, rtol=1e-10, atol=1e-12)
    assert not torch.equal(ours[0][1], centers)


@pytest.mark.parametrize("count", [1, 2, 4])
def test_a_center_comes_near_to_the_mean_by_a_fixed_part_of_its_way(count):
    features, pids, centers = random_centers(3, [count, 3, 2])
    loss, mean = loss_with(centers, rate=0.4), features[pids == 0].mean(0)
    for steps in range(1, 6):
        called(loss, features, pids)
        loss.after_step()
        left = (1 - 2 * 0.4 * count / len(pids)) ** steps
        torch.testing.assert_close(loss.centers[0] - mean, left * (centers[0] - mean))


def test_the_center_of_an_absent_identity_stays():
    features, pids, centers = random_centers(0, [2, 3])
    loss = loss_with(centers)
    called(loss, features, pids)
    loss.after_step()
    assert torch.equal(loss.centers[2], centers[2])
    assert (loss.centers[:2] != centers[:2]).all()


def test_centers_with_a_rate_of_zero_stay():
    features, pids, centers = random_centers(0, [2, 3])
    loss = loss_with(centers, rate=0.0)
    called(loss, features, pids)
    loss.after_step()
    assert torch.equal(loss.centers, centers)


def test_the_centers_move_once_for_each_step_and_only_in_training():
    features, pids, centers = random_centers(0, [2, 3])
    loss = loss_with(centers)
    loss.after_step()
    loss.eval()
    called(loss, features, pids)
    loss.after_step()
    assert torch.equal(loss.centers, centers)
    loss.train()
    called(loss, features, pids)
    assert torch.equal(loss.centers, centers)  # not before the step
    loss.after_step()
    moved = loss.centers.clone()
    assert not torch.equal(moved, centers)
    loss.after_step()
    assert torch.equal(loss.centers, moved)


def test_the_centers_are_no_parameters_and_get_no_gradient():
    features, pids, centers = random_centers(0, [2, 3])
    loss = loss_with(centers)
    called(loss, features.requires_grad_(), pids).value.backward()
    loss.after_step()
    assert not list(loss.parameters())
    assert loss.centers.grad is None
    assert not loss.centers.requires_grad


def test_the_centers_begin_with_a_normal_distribution():
    torch.manual_seed(4)
    loss = center.build(center.CenterParams(), dim=3, num_pids=5)
    torch.manual_seed(4)
    assert torch.equal(loss.centers, torch.randn(5, 3))


# ---- state ------------------------------------------------------------------------------


def test_saved_centers_go_on_to_the_same_bytes(tmp_path):
    first = loss_with(random_centers(0, [2, 2, 2])[2])
    for seed in range(6):
        features, pids, _ = random_centers(seed, [2, 2, 2])
        if seed == 3:
            torch.save(first.state_dict(), tmp_path / "centers.pt")
            second = CenterLoss(4, 3, rate=0.5).double()
            second.load_state_dict(torch.load(tmp_path / "centers.pt", weights_only=True))
        losses = [first] if seed < 3 else [first, second]
        values = [called(loss, features, pids).value for loss in losses]
        for loss in losses:
            loss.after_step()
        assert torch.equal(values[0], values[-1])
    assert torch.equal(first.centers, second.centers)


def test_a_copy_has_centers_of_its_own():
    features, pids, centers = random_centers(0, [2, 3])
    loss = loss_with(centers)
    called(loss, 2 * features.requires_grad_(), pids)  # within a graph, as in training
    other = copy.deepcopy(loss)
    loss.after_step()
    assert torch.equal(other.centers, centers)


def test_a_loss_built_without_values_can_be_filled():
    features, pids, centers = random_centers(0, [2, 3])
    with torch.device("meta"):
        loss = center.build(center.CenterParams(), dim=3, num_pids=3)
        output = called(loss, torch.zeros(5, 3), torch.zeros(5, dtype=torch.int64))
        loss.after_step()
    assert output.value.is_meta
    assert output.value.shape == ()
    assert loss.centers.shape == (3, 3)
    loss.to_empty(device="cpu").double().load_state_dict({"centers": centers})
    value = called(loss, features, pids).value
    torch.testing.assert_close(value, loop_value(features, pids.tolist(), centers))


# ---- every batch ------------------------------------------------------------------------

RANDOM = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
CENTERS_OF_6 = torch.randn(6, 4, generator=torch.Generator().manual_seed(1))
PAIRS = [0, 0, 1, 1, 2, 2]
DEGENERATE = {
    "one identity": (RANDOM, [0] * 6),
    "one image per identity": (RANDOM, [0, 1, 2, 3, 4, 5]),
    "one image": (RANDOM[:1], [2]),
    "identical features": (RANDOM[:1].repeat(6, 1), PAIRS),
    "zero features": (torch.zeros(6, 4), PAIRS),
    "huge norms": (RANDOM * 1e4, PAIRS),
    "tiny norms": (RANDOM * 1e-6, PAIRS),
    "features at their centers": (CENTERS_OF_6[PAIRS], PAIRS),
}


@pytest.mark.filterwarnings("ignore:Anomaly Detection")
@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("case", DEGENERATE)
def test_value_gradient_and_centers_stay_finite(case, autocast):
    features, pids = DEGENERATE[case]
    leaf, loss = features.clone().requires_grad_(), loss_with(CENTERS_OF_6)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        output = called(loss, leaf, torch.tensor(pids))
    with torch.autograd.detect_anomaly():
        output.value.backward()
    loss.after_step()
    assert output.value.shape == ()
    assert output.value.dtype == torch.float32
    assert output.value.isfinite()
    assert leaf.grad.isfinite().all()
    assert loss.centers.isfinite().all()
    assert all(m.isfinite() and not m.requires_grad for m in output.monitors.values())
    expected = loop_value(features.double(), pids, CENTERS_OF_6.double())
    torch.testing.assert_close(output.value.double(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("autocast", [False, True])
def test_features_at_their_centers_cost_nothing_and_leave_them(autocast):
    features, pids = DEGENERATE["features at their centers"]
    leaf, loss = features.clone().requires_grad_(), loss_with(CENTERS_OF_6)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        output = called(loss, leaf, torch.tensor(pids))
    output.value.backward()
    loss.after_step()
    assert output.value.item() == 0
    assert not leaf.grad.any()
    assert torch.equal(loss.centers, CENTERS_OF_6)


def test_the_size_is_that_of_the_batch_and_the_host_does_not_wait(operations):
    batch, dim, num_pids = 6, 7, 500
    loss = CenterLoss(num_pids, dim, rate=0.5)
    features = torch.randn(batch, dim, requires_grad=True)
    with operations() as seen:
        called(loss, features, torch.tensor(PAIRS)).value.backward()
    assert (seen.largest, seen.waiting) == (batch * dim, [])
    before = loss.centers.data_ptr()
    with operations() as seen:
        loss.after_step()
    assert (seen.largest, seen.waiting) == (num_pids * dim, [])  # the centers, in place
    assert loss.centers.data_ptr() == before


# ---- params -----------------------------------------------------------------------------


def test_the_core_builds_it_for_a_branch(catalog):
    entry = read_params(LossEntry, {"name": "center", "params": {"rate": 0.25}}, catalog)
    loss = entry.build(dim=8, num_pids=4, branch=None)
    assert loss.rate == 0.25
    assert loss.centers.shape == (4, 8)


def test_a_negative_rate_is_refused():
    problems = []
    assert validate(center.CenterParams, {"rate": -0.5}, problems) is None
    assert problems == ["rate: must be >= 0.0, got -0.5"]

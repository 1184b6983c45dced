"""The circle loss against plain loops in float64, and as reid-core builds it."""

import math

import pytest
import reid_circle_loss
import torch
from reid_circle_loss import circle_logits, circle_loss, pair_masks

from reid_core import ReidError
from reid_core.contracts import BranchSpec, LossInput, LossOutput, Progress
from reid_core.discovery import isolated_catalog, load_catalog
from reid_core.params import build, check_run_params
from reid_core.schema import LossEntry

PROGRESS = Progress(epoch=0, epochs=1, step=0, steps_per_epoch=1)
BRANCH = BranchSpec("global", 8, None, frozenset({"metric"}))


@pytest.fixture
def catalog():
    return isolated_catalog(reid_circle_loss)


def compute(catalog, features, pids, **params) -> LossOutput:
    """Build the loss as a training does, and call it on vectors that are normalised already."""
    entry = LossEntry(name="circle", params=params)
    loss = build(catalog, "loss", entry, dim=features.shape[1], num_pids=9, branch=BRANCH)
    return loss(LossInput(features, pids, torch.zeros_like(pids), PROGRESS))


def by_loops(features, pids, margin, gamma, weights_at=None):
    """The definition, pair by pair; ``weights_at`` are the vectors that the weights come from."""
    weights_at = features if weights_at is None else weights_at
    positive = negative = 0.0
    for i in range(len(pids)):
        for j in range(i + 1, len(pids)):
            s = sum(a * b for a, b in zip(features[i], features[j], strict=True))
            held = sum(a * b for a, b in zip(weights_at[i], weights_at[j], strict=True))
            if pids[i] == pids[j]:
                positive += math.exp(-gamma * max(0, 1 + margin - held) * (s - (1 - margin)))
            else:
                negative += math.exp(gamma * max(0, held + margin) * (s - margin))
    return math.log1p(positive * negative)


def random_batch(seed=0, images=8, dim=5):
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(images, dim, dtype=torch.float64, generator=generator)
    pids = torch.randint(3, (images,), generator=generator)
    return torch.nn.functional.normalize(features, dim=1), pids


def test_five_unit_vectors_give_the_known_value(catalog):
    features = torch.tensor(
        [[1, 0, 0], [0.8, 0.6, 0], [0, 1, 0], [0, 0.6, 0.8], [0, 0, 1]], dtype=torch.float64
    )
    value = compute(catalog, features, torch.tensor([0, 0, 1, 1, 2]), gamma=32.0).value
    assert float(value) == pytest.approx(21.621393, abs=3e-6)  # known in float32


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("margin", "gamma"), [(0.25, 64.0), (0.0, 1.0), (0.4, 10.0)])
def test_the_value_is_that_of_plain_loops(catalog, seed, margin, gamma):
    features, pids = random_batch(seed)
    value = compute(catalog, features, pids, margin=margin, gamma=gamma).value
    expected = by_loops(features.tolist(), pids.tolist(), margin, gamma)
    assert float(value) == pytest.approx(expected, rel=1e-12)


def test_the_gradient_is_the_difference_quotient_with_fixed_weights(catalog):
    features, pids = random_batch(seed=1)
    leaf = features.clone().requires_grad_()
    compute(catalog, leaf, pids, gamma=8.0).value.backward()
    step, rows = 1e-6, features.tolist()
    for i in range(len(pids)):
        for k in range(features.shape[1]):
            up, down = [list(r) for r in rows], [list(r) for r in rows]
            up[i][k] += step
            down[i][k] -= step
            values = [by_loops(r, pids.tolist(), 0.25, 8.0, weights_at=rows) for r in (up, down)]
            quotient = (values[0] - values[1]) / (2 * step)
            assert float(leaf.grad[i, k]) == pytest.approx(quotient, rel=1e-5, abs=1e-6)


def test_gradcheck_passes_on_the_logits():
    features, pids = random_batch(seed=2)
    logits = [x.requires_grad_() for x in circle_logits(features @ features.T, 0.25, 4.0)]
    masks = pair_masks(pids)
    assert torch.autograd.gradcheck(lambda p, n: circle_loss(p, n, *masks), logits)


def test_the_order_of_the_images_does_not_matter(catalog):
    features, pids = random_batch(seed=3)
    order = torch.randperm(len(pids), generator=torch.Generator().manual_seed(0))
    plain = compute(catalog, features, pids)
    shuffled = compute(catalog, features[order], pids[order])
    torch.testing.assert_close(shuffled.value, plain.value)
    assert shuffled.monitors.keys() == plain.monitors.keys()
    for name, monitor in plain.monitors.items():
        torch.testing.assert_close(shuffled.monitors[name], monitor)


@pytest.mark.parametrize(
    "pids", [[0, 1, 2, 3], [5, 5, 5, 5], [7]], ids=["no positive", "no negative", "one image"]
)
def test_a_batch_without_pairs_of_both_sorts_gives_0_that_is_attached_to_the_graph(catalog, pids):
    features = torch.eye(4)[: len(pids)].requires_grad_()
    output = compute(catalog, features, torch.tensor(pids))
    assert output.value.item() == 0
    output.value.backward()
    assert torch.equal(features.grad, torch.zeros_like(features))
    assert all(monitor.isfinite() for monitor in output.monitors.values())


def test_monitors_are_the_mean_cosines_of_both_sorts_of_pairs(catalog):
    features = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]], requires_grad=True)
    monitors = compute(catalog, features, torch.tensor([0, 0, 1])).monitors
    assert float(monitors["positive_cosine"]) == pytest.approx(0.6)
    assert float(monitors["negative_cosine"]) == pytest.approx(0.4)
    assert not any(m.requires_grad for m in monitors.values())


def test_perfect_pairs_cost_what_the_margin_leaves_and_wrong_ones_far_more(catalog):
    pids = torch.tensor([0, 0, 1, 1])
    right = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    wrong = right[[0, 2, 1, 3]]
    # Each pair stands m beyond its goal with the weight m: 2 positive and 4 negative terms.
    left = math.log1p(2 * math.exp(-64 * 0.25**2) * 4 * math.exp(-64 * 0.25**2))
    assert compute(catalog, right, pids).value.item() == pytest.approx(left, rel=1e-5)
    assert compute(catalog, wrong, pids).value > 50


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"margin": 1.0}, "loss.0.params.margin: must be < 1"),
        ({"gamma": 0}, "loss.0.params.gamma: must be > 0"),
        ({"gama": 64}, "loss.0.params.gama: unknown key; did you mean 'gamma'?"),
    ],
)
def test_a_wrong_param_is_named_with_its_place(catalog, params, message):
    with pytest.raises(ReidError) as error:
        check_run_params({"loss": [{"name": "circle", "params": params}]}, catalog, "params.json")
    assert message in str(error.value)


def test_the_installed_package_offers_the_loss():
    offer = load_catalog().offer("loss", "circle")
    assert offer.distribution == "reid-circle-loss", "install it first: pip install -e ."

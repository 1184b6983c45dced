"""The supervised contrastive loss against loops in float64, and as reid-core builds it."""

import math

import pytest
import reid_supcon_loss
import torch
from reid_supcon_loss import supcon_loss

from reid_core import ReidError
from reid_core.component import call_build
from reid_core.contracts import BranchSpec, LossInput, LossOutput, Progress
from reid_core.discovery import isolated_catalog, load_catalog
from reid_core.params.validation import check_run_params
from reid_core.testing import check_component
from reid_plugins.toolkit.pair_mining import pair_masks

PROGRESS = Progress(epoch=0, epochs=1, step=0, steps_per_epoch=1)
BRANCH = BranchSpec("global", 8, None, frozenset({"metric"}))


@pytest.fixture
def catalog():
    return isolated_catalog(reid_supcon_loss)


def compute(catalog, features, pids, **params) -> LossOutput:
    """Build the loss as a training does, and call it on vectors that are normalised already."""
    supcon = catalog.component("loss", "supcon")
    checked = supcon.params(**params)
    loss = call_build(supcon, checked, dim=features.shape[1], num_pids=9, branch=BRANCH)
    return loss(LossInput(features, pids, torch.zeros_like(pids), PROGRESS))


def by_loops(features, pids, temperature):
    """The definition, anchor by anchor and positive by positive."""

    def exponential(i, j):
        dot = sum(a * b for a, b in zip(features[i], features[j], strict=True))
        return math.exp(dot / temperature)

    losses = []
    for i in range(len(pids)):
        others = [a for a in range(len(pids)) if a != i]
        positives = [p for p in others if pids[p] == pids[i]]
        if positives:
            total = sum(exponential(i, a) for a in others)
            logarithms = [math.log(exponential(i, p) / total) for p in positives]
            losses.append(-sum(logarithms) / len(positives))
    return sum(losses) / len(losses)


def random_batch(seed=0, dim=5):
    """Nine images of identities with 4, 2, 2 images and 1, in any order."""
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(9, dim, dtype=torch.float64, generator=generator)
    pids = torch.tensor([0, 0, 0, 0, 1, 1, 2, 2, 3])[torch.randperm(9, generator=generator)]
    return torch.nn.functional.normalize(features, dim=1), pids


def test_it_keeps_the_contract_of_losses(catalog):
    check_component("loss", "supcon", catalog)


# ---- the value --------------------------------------------------------------------------


def test_three_images_have_the_value_computed_by_hand(catalog):
    features = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]], dtype=torch.float64)
    value = compute(catalog, features, torch.tensor([0, 0, 1]), temperature=0.5).value
    # Cosines 0.6 of the pair, 0 and 0.8 of its images to the third, which has no positive.
    first = -math.log(math.exp(1.2) / (math.exp(1.2) + math.exp(0)))
    second = -math.log(math.exp(1.2) / (math.exp(1.2) + math.exp(1.6)))
    assert float(value) == pytest.approx((first + second) / 2, rel=1e-12)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("temperature", [0.07, 0.1, 1.0, 10.0])
def test_the_value_is_that_of_plain_loops(catalog, seed, temperature):
    features, pids = random_batch(seed)
    value = compute(catalog, features, pids, temperature=temperature).value
    expected = by_loops(features.tolist(), pids.tolist(), temperature)
    assert float(value) == pytest.approx(expected, rel=1e-12)


def test_the_temperature_is_a_tenth_unless_the_entry_says_otherwise(catalog):
    features, pids = random_batch()
    expected = by_loops(features.tolist(), pids.tolist(), 0.1)
    assert float(compute(catalog, features, pids).value) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_value_and_gradient_are_those_of_another_library(catalog, seed):
    losses = pytest.importorskip("pytorch_metric_learning.losses")
    features, pids = random_batch(seed)
    ours, theirs = (features.clone().requires_grad_() for _ in range(2))
    unit = torch.nn.functional.normalize(ours, dim=1)  # as the library does by itself
    value = compute(catalog, unit, pids, temperature=0.2).value
    expected = losses.SupConLoss(temperature=0.2)(theirs, pids)
    torch.testing.assert_close(value, expected)
    value.backward()
    expected.backward()
    torch.testing.assert_close(ours.grad, theirs.grad)


def test_gradcheck_passes_also_where_an_image_has_no_positive():
    features, pids = random_batch(seed=2)
    masks = pair_masks(pids)
    assert torch.autograd.gradcheck(
        lambda x: supcon_loss(x @ x.T, *masks, 0.2), features.requires_grad_()
    )


def test_the_order_of_the_images_does_not_matter(catalog):
    features, pids = random_batch(seed=3)
    order = torch.randperm(len(pids), generator=torch.Generator().manual_seed(0))
    plain = compute(catalog, features, pids)
    shuffled = compute(catalog, features[order], pids[order])
    torch.testing.assert_close(shuffled.value, plain.value)
    assert shuffled.monitors.keys() == plain.monitors.keys()
    for name, monitor in plain.monitors.items():
        torch.testing.assert_close(shuffled.monitors[name], monitor)


@pytest.mark.parametrize("images", [2, 3, 5])
def test_perfect_images_cost_the_choice_among_their_equals(catalog, images):
    features = torch.eye(3, dtype=torch.float64).repeat_interleave(images, dim=0)
    pids = torch.arange(3).repeat_interleave(images)
    value = compute(catalog, features, pids, temperature=0.25).value
    left = math.log(images - 1 + 2 * images * math.exp(-1 / 0.25))
    assert float(value) == pytest.approx(left, rel=1e-12)


def test_a_small_temperature_overflows_nothing(catalog):
    features = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]], requires_grad=True)
    right = compute(catalog, features, torch.tensor([0, 0, 1, 1]), temperature=1e-3).value
    wrong = compute(catalog, features, torch.tensor([0, 1, 0, 1]), temperature=1e-3).value
    assert right.item() == 0
    assert wrong.item() == pytest.approx(1000)  # a cosine of 1 against one of 0, over 0.001
    (right + wrong).backward()
    assert features.grad.isfinite().all()


# ---- degenerate batches -----------------------------------------------------------------


@pytest.mark.parametrize(
    "pids", [[0, 1, 2, 3], [5, 5], [7]], ids=["no positive", "one pair alone", "one image"]
)
def test_a_batch_that_leaves_nothing_to_choose_gives_0_attached_to_the_graph(catalog, pids):
    features = torch.eye(4)[: len(pids)].requires_grad_()
    with torch.autograd.set_detect_anomaly(True):  # a NaN on the way fails too
        output = compute(catalog, features, torch.tensor(pids))
        output.value.backward()
    assert output.value.item() == 0
    assert torch.equal(features.grad, torch.zeros_like(features))
    assert all(monitor.isfinite() for monitor in output.monitors.values())


def test_a_batch_of_one_person_has_a_finite_gradient(catalog):
    features = torch.eye(4, requires_grad=True)
    output = compute(catalog, features, torch.tensor([5, 5, 5, 5]))
    assert output.value.item() == pytest.approx(math.log(3))
    output.value.backward()
    assert features.grad.isfinite().all()
    assert output.monitors["negative_cosine"] == 0


# ---- monitors, waits, params ------------------------------------------------------------


def test_monitors_are_the_mean_cosines_of_both_sorts_of_pairs(catalog):
    features = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]], requires_grad=True)
    monitors = compute(catalog, features, torch.tensor([0, 0, 1])).monitors
    assert float(monitors["positive_cosine"]) == pytest.approx(0.6)
    assert float(monitors["negative_cosine"]) == pytest.approx(0.4)
    assert not any(m.requires_grad for m in monitors.values())


def test_no_value_is_read_back_so_that_a_gpu_never_waits(catalog):
    # Tensors on the meta device have shapes and no values: reading one is an error.
    features = torch.ones(6, 8, device="meta", requires_grad=True)
    output = compute(catalog, features, torch.zeros(6, dtype=torch.int64, device="meta"))
    output.value.backward()
    assert output.value.shape == ()
    assert features.grad.shape == (6, 8)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"temperature": 0}, "loss.0.params.temperature: must be > 0"),
        ({"temperature": 10.5}, "loss.0.params.temperature: must be <= 10"),
        ({"temprature": 1}, "loss.0.params.temprature: unknown key; did you mean 'temperature'?"),
    ],
)
def test_a_wrong_param_is_named_with_its_place(catalog, params, message):
    with pytest.raises(ReidError) as error:
        check_run_params({"loss": [{"name": "supcon", "params": params}]}, catalog, "params.json")
    assert message in str(error.value)


def test_the_installed_package_offers_the_loss():
    offer = load_catalog().offer("loss", "supcon")
    assert offer.distribution == "reid-supcon-loss", "install it first: pip install -e ."

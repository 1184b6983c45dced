"""Losses, as the core applies them: finite on every batch, attached to the graph, order-free."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from cases import cases_of
from networks import network_of
from reid_core.contracts import Batch, Branch, BranchSpec, FeatureMap, HeadOutput, Progress, Step
from reid_core.params.messages import read_params
from reid_core.params.schema import ClassifierParams, LossEntry
from reid_core.training.weighted_losses import build_losses

DIM = 16


class Through(nn.Module):
    """A backbone that returns its input: the "images" ``(B, DIM, 1, 1)`` are the features."""

    out_channels, stride = DIM, 1

    def forward(self, images, side):
        return FeatureMap(images)


class Whole(nn.Module):
    """A head of one branch that takes the map as it is, with an uncertainty made of it."""

    branches = (BranchSpec("global", DIM, "global", frozenset({"id", "metric"})),)

    def forward(self, features):
        vectors = features.map.flatten(1)
        uc = vectors.mean(dim=1).tanh() / 10
        return HeadOutput({"global": Branch(vectors, vectors)}, {"uc": uc})


class Applied:
    """A loss in the core's hands: selection, normalisation, casts, classifiers."""

    def __init__(self, catalog, name, num_pids, **entry):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.model = network_of(Through(), Whole(), num_pids=num_pids)
            # Random weights would give every identity the same tiny logits.
            section = SimpleNamespace(
                loss=[read_params(LossEntry, {"name": name, **entry}, catalog)],
                objective=[],
                classifier=ClassifierParams(init_std=0.5),
            )
            self.losses = build_losses(section, self.model)
        (self.term,) = self.losses.terms

    def __call__(self, features, pids):
        zeros = torch.zeros_like(pids)
        batch = Batch(features, pids, zeros, zeros, torch.arange(len(pids)))
        progress = Progress(epoch=0, epochs=2, step=3, steps_per_epoch=10, accuracy=0.5)
        for part in (*self.losses.modules(), *self.term.losses):
            if hasattr(part, "set_progress"):
                part.set_progress(progress)
        step = Step(batch, self.model, self.model(features[..., None, None]), progress)
        (output,) = self.losses(step).values()
        return output


def accuracy_of(output):
    """Return the accuracy by its name, where there is one."""
    return {} if output.accuracy is None else {"accuracy": output.accuracy}


def spy(applied):
    """Return a list that receives what the loss is given and what it returns."""
    seen = []

    def listen(built):
        def called(x):
            output = built(x)
            seen.append((x, output))
            return output

        return called

    applied.term.losses = [listen(built) for built in applied.term.losses]
    return seen


@pytest.fixture
def apply(catalog, loss):
    """Build the loss for a number of identities and hand it to the core."""

    def build(num_pids=4, **entry):
        return Applied(catalog, f"{loss.offer.distribution}:{loss.name}", num_pids, **entry)

    return build


def random_features(count=8, seed=0):
    return torch.randn(count, DIM, generator=torch.Generator().manual_seed(seed))


PAIRS = torch.tensor([0, 0, 1, 1, 2, 2, 3, 3])
BATCHES = {
    "four identities with two images": (random_features(), PAIRS),
    "uneven identities": (random_features(), torch.tensor([0, 0, 0, 0, 1, 1, 2, 3])),
    "one identity": (random_features(), torch.zeros(8, dtype=torch.int64)),
    "one image per identity": (random_features(), torch.arange(8)),
    "identical features": (torch.ones(8, DIM), PAIRS),
    "two copies of each image": (random_features(4).repeat_interleave(2, dim=0), PAIRS),
    "opposite features": (
        random_features(4).repeat(2, 1) * torch.tensor([1, -1])[PAIRS % 2, None],
        PAIRS,
    ),
    "features of zero": (torch.zeros(8, DIM), PAIRS),
    "huge norms": (random_features() * 1e4, PAIRS),
    "tiny norms": (random_features() * 1e-6, PAIRS),
    "one image": (random_features(1), torch.tensor([2])),
}


# ---- the declaration --------------------------------------------------------------------


def test_role_input_and_needs_are_declared_in_known_words(loss):
    declared = loss.component
    assert declared.role in ("id", "metric")
    assert declared.on in ("feature", "embedding")
    assert type(declared.normalize) is bool
    assert isinstance(declared.needs, frozenset)
    assert declared.needs <= {"classifier", "pairs", "batch"}


def test_a_classifier_is_made_when_the_loss_needs_one_and_not_otherwise(loss, apply):
    assert ("global" in apply().model.classifier) == ("classifier" in loss.component.needs)


# ---- values and gradients ---------------------------------------------------------------


@pytest.mark.parametrize("batch", BATCHES)
def test_value_and_gradient_are_finite_and_attached_to_the_graph(apply, batch):
    features, pids = BATCHES[batch]
    features = features.clone().requires_grad_()
    output = apply(num_pids=8)(features, pids)
    assert output.value.shape == ()
    assert output.value.dtype == torch.float32
    assert output.value.isfinite()
    assert output.value.requires_grad
    output.value.backward()
    assert features.grad is not None, "the value does not depend on the features"
    assert features.grad.isfinite().all()


@pytest.mark.parametrize("batch", BATCHES)
def test_monitors_are_finite_detached_scalars(apply, batch):
    features, pids = BATCHES[batch]
    output = apply(num_pids=8)(features.clone().requires_grad_(), pids)
    numbers = {**output.monitors, **accuracy_of(output)}
    for name, monitor in numbers.items():
        assert isinstance(name, str)
        assert monitor.shape == ()
        assert monitor.isfinite()
        assert not monitor.requires_grad


def test_monitors_of_the_loss_itself_are_detached(apply):
    applied = apply()
    seen = spy(applied)
    applied(random_features().requires_grad_(), PAIRS)
    ((_, output),) = seen
    numbers = {**output.monitors, **accuracy_of(output)}
    assert not any(number.requires_grad for number in numbers.values())


def test_the_names_of_the_monitors_do_not_depend_on_the_batch(apply):
    applied = apply(num_pids=8)
    outputs = [applied(*batch) for batch in BATCHES.values()]
    assert len({(*output.monitors, *accuracy_of(output)) for output in outputs}) == 1


def test_an_identity_accuracy_is_told_by_its_field_alone(apply):
    output = apply()(random_features(), PAIRS)
    assert "accuracy" not in output.monitors
    assert all(0 <= value <= 1 for value in accuracy_of(output).values())


@pytest.mark.parametrize("loss", cases_of("loss", lambda case: "pairs" in case.component.needs))
def test_a_single_image_has_no_pairs_and_costs_nothing(loss, apply):
    features, pids = BATCHES["one image"]
    features = features.clone().requires_grad_()
    value = apply()(features, pids).value
    assert value.item() == 0
    value.backward()
    assert not features.grad.any()


def test_a_small_step_against_the_gradient_lowers_the_value(apply):
    # Near each other: of vectors that are apart, some losses ask no more.
    applied, features = apply(), (random_features() + 1).requires_grad_()
    value = applied(features, PAIRS).value
    value.backward()
    moved = features.detach() - 1e-3 * features.grad / features.grad.norm()
    assert applied(moved, PAIRS).value < value.detach()


def test_the_order_of_the_images_does_not_matter(apply):
    applied, features = apply(), random_features()
    order = torch.randperm(8, generator=torch.Generator().manual_seed(0))
    first, second = applied(features, PAIRS), applied(features[order], PAIRS[order])
    torch.testing.assert_close(first.value, second.value)
    assert first.monitors.keys() == second.monitors.keys()
    for name, monitor in {**first.monitors, **accuracy_of(first)}.items():
        torch.testing.assert_close(monitor, {**second.monitors, **accuracy_of(second)}[name])


def test_the_same_step_has_the_same_value(apply, untouched_global_generators):
    features = random_features()
    first, second = (apply()(features, PAIRS).value for _ in range(2))
    assert torch.equal(first, second)


def test_the_entry_decides_on_weight_and_normalisation(apply):
    for normalize in (True, False):
        applied = apply(normalize=normalize, weight=0.25)
        seen = spy(applied)
        assert applied(random_features(), PAIRS).weight == 0.25
        norms = seen[0][0].features.norm(dim=1)
        assert norms.allclose(torch.ones(8)) == normalize


# ---- precision --------------------------------------------------------------------------


def test_half_precision_features_reach_the_loss_as_float32_outside_autocast(apply):
    applied = apply()
    seen = spy(applied)
    applied.model.bfloat16()
    features = random_features().bfloat16().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = applied(features, PAIRS).value
    ((given, _),) = seen
    values = (given.features, given.weight, given.logits, *given.aux.values())
    tensors = [value for value in values if value is not None]
    assert {t.dtype for t in tensors} == {torch.float32}
    assert value.dtype == torch.float32
    value.backward()
    assert features.grad.isfinite().all()


# ---- state ------------------------------------------------------------------------------


def test_a_loss_with_state_saves_it_and_updates_it_after_a_step(apply):
    first, second = apply(), apply()
    first(random_features().requires_grad_(), PAIRS).value.backward()
    for part in (*first.losses.modules(), *first.term.losses):
        if hasattr(part, "after_step"):
            part.after_step()
    second.losses.load_state_dict(first.losses.state_dict())
    second.model.load_state_dict(first.model.state_dict())
    values = [applied(random_features(seed=1), PAIRS).value for applied in (first, second)]
    assert torch.equal(*values)

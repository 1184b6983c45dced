"""The warm-up of the loss: its weight in every step, and what it does to one step of training."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import nn

from reid_core import ReidError
from reid_core.contracts import Batch, Progress
from reid_core.discovery import isolated_catalog
from reid_core.params.messages import read_params
from reid_core.params.schema import LossWarmup, OptimizerParams
from reid_core.params.validation import check_run_params
from reid_core.training.loop import train_one_epoch
from reid_core.training.module import StepResult
from reid_core.training.parameter_groups import build_optimizer, parameter_groups
from reid_core.training.weighted_losses import loss_weight


def weights(steps_per_epoch, of, **warmup):
    """Return the weight of every step of a training of some epochs."""
    warmup = LossWarmup(**warmup)
    return [
        loss_weight(Progress(step // steps_per_epoch, of, step, steps_per_epoch), warmup)
        for step in range(of * steps_per_epoch)
    ]


def layumis(steps_per_epoch, warm_epoch, epochs):
    """Return the weights of Person_reID_baseline_pytorch: a number that grows step by step."""
    weight, found = 0.1, []
    for epoch in range(epochs):
        for _ in range(steps_per_epoch):
            if epoch < warm_epoch:
                weight = min(1.0, weight + 0.9 / (steps_per_epoch * warm_epoch))
                found.append(weight)
            else:
                found.append(1.0)
    return found


@given(steps=st.integers(1, 50), warm_epoch=st.integers(1, 5))
def test_the_weights_are_those_of_person_reid_baseline(steps, warm_epoch):
    found = weights(steps, warm_epoch + 2, epochs=warm_epoch)

    assert found == pytest.approx(layumis(steps, warm_epoch, warm_epoch + 2), rel=1e-9)
    assert found[steps * warm_epoch - 1 :] == pytest.approx([1.0] * (2 * steps + 1))


def test_the_weight_rises_in_a_line_within_epochs():
    assert weights(4, 2, epochs=1, start=0.2) == pytest.approx([0.4, 0.6, 0.8, 1, 1, 1, 1, 1])
    assert weights(4, 1, epochs=0.5, start=0) == pytest.approx([0.5, 1, 1, 1])
    assert weights(4, 1, epochs=0.625, start=0) == pytest.approx([0.4, 0.8, 1, 1])
    assert weights(4, 1, epochs=3, start=1) == [1, 1, 1, 1]


def test_without_a_warm_up_the_weight_is_one():
    assert loss_weight(Progress(0, 1, 0, 5), None) == 1.0


@pytest.mark.parametrize(
    "warmup", [{"epochs": 0}, {"epochs": -1}, {"epochs": 1, "start": 1.1}, {"start": 0.1}, {}]
)
def test_an_impossible_warm_up_is_refused(warmup):
    with pytest.raises(ValidationError):
        LossWarmup.model_validate(warmup)


def test_an_impossible_warm_up_is_named_in_the_file(catalog, tiny_params):
    tiny_params["train"]["loss_warmup"] = {"epochs": 0, "begin": 1}
    with pytest.raises(ReidError) as error:
        check_run_params(tiny_params, catalog, "test")
    assert sorted(problem.partition(":")[0] for problem in error.value.problems) == [
        "train.loss_warmup.begin",
        "train.loss_warmup.epochs",
    ]


# ---- a step -----------------------------------------------------------------------------

RATE, DECAY, STEPS = 0.1, 0.3, 4
FIRST = torch.tensor([2.0, -1.0], dtype=torch.float64)


class Line(nn.Module):
    """A loss with the gradient (3, 1), whatever the weights are."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(FIRST.clone())

    def parts(self):
        return []

    def set_progress(self, progress):
        pass

    def forward(self, batch, streams):
        total = (self.weight * torch.tensor([3.0, 1.0], dtype=torch.float64)).sum()
        return StepResult(total, {"line": total.detach()}, {})


@pytest.fixture
def trained(training_of):
    """A function: train one epoch; return the weights after every step and the reported totals."""

    def train(name, warmup, factor=1.0):
        module = Line()
        params = read_params(
            OptimizerParams,
            {"name": name, "lr": RATE, "weight_decay": DECAY}
            | ({"params": {"momentum": 0.0}} if name == "sgd" else {}),
            isolated_catalog(),
        )
        optimizer = build_optimizer(params, parameter_groups(params, module.named_parameters()))
        zero = torch.zeros(1, dtype=torch.int64)
        states, totals = [], []

        def report(progress, result, rates):
            totals.append(float(result.total.detach()))
            states.append(module.weight.detach().clone())

        training = training_of(
            module,
            optimizer,
            [Batch(torch.zeros(1, 3, 1, 1), zero, zero, zero, zero)] * STEPS,
            steps=STEPS,
            schedule=lambda progress, history: factor,
            loss_warmup=warmup,
        )
        train_one_epoch(training, report)
        return states, totals

    return train


def test_the_weight_scales_the_gradient_and_neither_weight_decay_nor_the_report(trained):
    found, totals = trained("sgd", LossWarmup(epochs=1, start=0.2), factor=0.5)
    weight, gradient = FIRST, torch.tensor([3.0, 1.0], dtype=torch.float64)
    for step, small in enumerate((0.4, 0.6, 0.8, 1.0)):
        assert totals[step] == pytest.approx(float((weight * gradient).sum()))
        weight = weight - 0.5 * RATE * (small * gradient + DECAY * weight)
        torch.testing.assert_close(found[step], weight)


def test_adam_hardly_notices_it(trained):
    small, _ = trained("adamw", LossWarmup(epochs=100, start=0.01))
    full, _ = trained("adamw", None)
    # Adam divides by the gradient's size; only the rise from step to step is left.
    torch.testing.assert_close(small[0], full[0], rtol=1e-6, atol=0)
    assert (small[-1] - full[-1]).abs().max() < 0.2 * (full[-1] - FIRST).abs().max()

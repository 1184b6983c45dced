"""Objectives: one step of a real model, a finite total, a gradient for every parameter."""

import pytest
import torch

from reid_core.assembly import build_module
from reid_core.contracts import Batch, LossOutput, Progress, Step
from reid_core.params import check_run_params

PIDS = 4


@pytest.fixture
def module(objective, catalog, tiny_params):
    raw = {**tiny_params, "objective": [{"name": objective.name, "params": objective.minimal}]}
    params = check_run_params(raw, catalog, "params.json")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        built, _ = build_module(params, catalog, PIDS)
    return built.train()


@pytest.fixture
def batch():
    images = torch.randn(8, 3, 32, 16, generator=torch.Generator().manual_seed(0))
    pids = torch.arange(8) % PIDS
    return Batch(images, pids, torch.zeros(8).long(), torch.zeros(8).long(), torch.arange(8))


def test_the_objective_maps_a_step_to_named_losses(module, batch):
    (objective,) = module.objectives
    step = Step(batch, module.model, module.model(batch.images), Progress(0, 1, 0, 1))
    results = objective(step)
    assert results
    for name, output in results.items():
        assert isinstance(name, str)
        assert isinstance(output, LossOutput)
        assert output.value.shape == ()
        assert not any(monitor.requires_grad for monitor in output.monitors.values())


def test_every_parameter_receives_a_finite_gradient(module, batch):
    result = module(batch)
    assert result.total.isfinite()
    result.total.backward()
    trained = {name: p for name, p in module.named_parameters() if p.requires_grad}
    # A parameter without a gradient stops distributed training.
    assert [name for name, p in trained.items() if p.grad is None] == []
    assert [name for name, p in trained.items() if not p.grad.isfinite().all()] == []


def test_a_small_step_against_the_gradient_lowers_the_total(module, batch):
    before = module(batch).total
    before.backward()
    trained = [p for p in module.parameters() if p.grad is not None]
    norm = torch.stack([p.grad.square().sum() for p in trained]).sum().sqrt()
    with torch.no_grad():
        for parameter in trained:
            parameter -= 1e-2 * parameter.grad / norm
        assert module(batch).total < before

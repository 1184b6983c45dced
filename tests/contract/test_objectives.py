"""Objectives: one step of a real model, a finite total, a gradient for every parameter."""

from pathlib import Path

import pytest
import torch

from reid_core.contracts import Batch
from reid_core.data.measured_preprocessing import MeasuredPreprocessing
from reid_core.network.weights import save_weights
from reid_core.params.field_facts import path_names
from reid_core.params.validation import check_run_params
from reid_core.training.assembly import check_on_meta
from reid_core.training.build_module import ModuleBuilder

PIDS = 4
CLASSES = tuple(("people", str(pid)) for pid in range(PIDS))

TERMS = {
    "logits": {"weight": 1.0},
    "features": {"weight": 1.0},
    "distances": {"weight": 1.0},
    "similarities": {"weight": 1.0},
}
PARAMS = {"distillation": {"terms": TERMS}}
"""Params under which an objective does all that it can."""


@pytest.fixture
def raw(objective, catalog, tiny_params, tmp_path):
    """Params of a training by the objective; where it reads a file, that is a trained network."""
    given = {**objective.minimal, **PARAMS.get(objective.name, {})}
    for name in path_names(objective.component.params):
        given[name] = str(tmp_path / "trained.safetensors")
        save_trained(tiny_params, catalog, given[name])
    loss = tiny_params["loss"] if objective.component.takes("losses") else []
    entry = {"name": objective.name, "params": given}
    return {**tiny_params, "objective": [entry], "loss": loss}


@pytest.fixture
def module(raw, catalog):
    return built(raw, catalog).train()


def built(raw, catalog, seed=0):
    """Build model and objectives as a run does."""
    params = check_run_params(raw, catalog, "params.json")
    preprocessing = MeasuredPreprocessing.of(params.augmentation)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module = ModuleBuilder(params, catalog, preprocessing).module(PIDS, CLASSES)
    return module


def save_trained(raw, catalog, path):
    """Write the weights of a network with the same parts and other weights."""
    dump = check_run_params(raw, catalog, "params.json").model_dump(mode="json")
    preprocessing = {"operations": dump["augmentation"][:2]}
    metadata = {"params": dump, "classes": [*CLASSES], "preprocessing": preprocessing}
    save_weights(Path(path), built(raw, catalog, seed=1).model, metadata)


@pytest.fixture
def batch():
    images = torch.randn(8, 3, 32, 16, generator=torch.Generator().manual_seed(0))
    pids = torch.arange(8) % PIDS
    return Batch(images, pids, torch.zeros(8).long(), torch.zeros(8).long(), torch.arange(8))


def test_every_parameter_receives_a_finite_gradient(module, batch):
    result = module(batch)
    assert result.total.isfinite()
    result.total.backward()
    trained = {name: p for name, p in module.named_parameters() if p.requires_grad}
    # A parameter without a gradient stops distributed training.
    assert [name for name, p in trained.items() if p.grad is None] == []
    assert [name for name, p in trained.items() if not p.grad.isfinite().all()] == []


def test_shapes_alone_are_built_without_reading_a_file(raw, catalog, tmp_path):
    for path in tmp_path.glob("*.safetensors"):
        path.unlink()
    check_on_meta(check_run_params(raw, catalog, "params.json"), catalog)


def test_building_draws_no_more_random_numbers_than_the_model(raw, catalog, tiny_params):
    def state_after(params):
        checked = check_run_params(params, catalog, "params.json")
        preprocessing = MeasuredPreprocessing.of(checked.augmentation)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            ModuleBuilder(checked, catalog, preprocessing).module(PIDS, CLASSES)
            return torch.get_rng_state()

    assert torch.equal(state_after(raw), state_after(tiny_params))

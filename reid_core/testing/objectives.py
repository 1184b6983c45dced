"""Objectives: one step of a small network, a finite total, a gradient for every parameter."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reid_core.component import ObjectiveComponent, declared
from reid_core.contracts import (
    Batch,
    Branch,
    BranchSpec,
    FeatureMap,
    HeadOutput,
    Objective,
    Progress,
    Step,
    Term,
)
from reid_core.network.model import ReIDModel
from reid_core.params.schema import HeadEntry
from reid_core.testing.heads import SmallBackbone
from reid_core.testing.subject import BATCH, Subject, backward, drawn, expect
from reid_core.training.loop import TrainingModule

PIDS = 4
SIZE = (32, 16)
CLASSES = tuple(("people", str(pid)) for pid in range(PIDS))
PROGRESS = Progress(epoch=0, epochs=2, step=3, steps_per_epoch=10, accuracy=0.5)


class _Pooled(nn.Module):
    """A head of one classified branch: the mean of the map."""

    branches = (BranchSpec("pooled", 32, "pooled", frozenset({"id", "metric"})),)

    def forward(self, features: FeatureMap) -> HeadOutput:
        vector = features.map.mean(dim=(2, 3))
        return HeadOutput({"pooled": Branch(vector, vector)})


class _Losses(nn.Module):
    """What stands for the params' list of losses."""

    def forward(self, step: Step) -> dict[str, Term]:
        (logits,) = step.outputs.logits.values()
        return {"identity": Term(F.cross_entropy(logits, step.batch.pids))}


def _network(seed: int) -> ReIDModel:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        entry = HeadEntry(name="pooled")
        model = ReIDModel(SmallBackbone(), [(entry, _Pooled())], PIDS)
        model.add_classifiers(["pooled"], bias=False, init_std=0.5)
    return model


class _Preprocessing:
    """That of the images of the step."""

    height, width = SIZE
    colours = np.arange(12, dtype=np.float64).reshape(4, 3)
    operations = "none"

    def same_size(self, other: Any) -> bool:
        return bool((self.height, self.width) == (other.height, other.width))

    def same_colours(self, other: Any) -> bool:
        return np.array_equal(self.colours, other.colours)


def _trained(path: str) -> Any:
    """Return a trained network, whatever the path: another one with the same parts."""
    model = _network(seed=1).eval().requires_grad_(False)
    facts = {"classes": CLASSES, "preprocessing": _Preprocessing()}
    return SimpleNamespace(path=Path(path), digest=bytes(32), model=model, **facts)


def _built(subject: Subject, seed: int = 0) -> tuple[TrainingModule, Objective]:
    """Build network and objective as a run does; return them joined, and the objective."""
    model = _network(seed)
    objective: Objective = subject.build_seeded(
        name=subject.component.name,
        losses=_Losses(),
        model=model,
        num_pids=PIDS,
        classes=CLASSES,
        preprocessing=_Preprocessing(),
        load_trained=_trained,
    )
    return TrainingModule(model, [objective]).train(), objective


def _module(subject: Subject, seed: int = 0) -> TrainingModule:
    return _built(subject, seed)[0]


def _batch(subject: Subject) -> Batch:
    pids, zeros = torch.arange(BATCH) % PIDS, torch.zeros(BATCH, dtype=torch.int64)
    component = cast(ObjectiveComponent, subject.component)
    names = declared(component.columns, subject.params)
    columns = {n: torch.from_numpy(v) for n, v in subject.columns(names, BATCH).items()}
    masks: dict[str, Any] = {
        name: torch.ones(BATCH, *SIZE, dtype=torch.uint8)
        for name in declared(component.extras, subject.params)
    }
    images = drawn(BATCH, 3, *SIZE)
    return Batch(images, pids, zeros, zeros, torch.arange(BATCH), columns, masks)


def _total(subject: Subject, module: TrainingModule) -> Tensor:
    total: Tensor = module(_batch(subject)).total
    return total


# ---- checks -----------------------------------------------------------------------------


def it_maps_a_step_to_named_terms(subject: Subject) -> None:
    """Each a scalar with detached monitors."""
    (module, objective), batch = _built(subject), _batch(subject)
    terms = objective(Step(batch, cast(Any, module.model), module.model(batch.images), PROGRESS))
    expect(isinstance(terms, dict) and terms, f"it returns {terms!r}")
    for name, term in terms.items():
        right = isinstance(name, str) and isinstance(term, Term)
        expect(right, f"{name!r}: {type(term).__name__}; expected a Term")
        expect(term.value.shape == (), f"'{name}': the value has shape {tuple(term.value.shape)}")
        attached = [n for n, monitor in term.monitors.items() if monitor.requires_grad]
        expect(not attached, f"'{name}': monitors that are not detached: {attached}")


def every_parameter_that_is_trained_receives_a_finite_gradient(subject: Subject) -> None:
    """Those of the objective as well; the network may have some that it does not use."""
    module = _module(subject)
    total = _total(subject, module)
    expect(bool(total.isfinite()), f"the total is {total.item()}")
    backward(total)
    trained = {name: p for name, p in module.named_parameters() if p.requires_grad}
    expect(any(p.grad is not None for p in trained.values()), "nothing is trained by it")
    own = {id(p) for p in module.objectives.parameters()}
    bare = [n for n, p in trained.items() if p.grad is None and id(p) in own]
    expect(not bare, f"no gradient: {', '.join(bare)}")
    found = {n: p.grad for n, p in trained.items() if p.grad is not None}
    wrong = [name for name, gradient in found.items() if not gradient.isfinite().all()]
    expect(not wrong, f"not finite: {', '.join(wrong)}")


def a_small_step_against_the_gradient_lowers_the_total(subject: Subject) -> None:
    """Down is better."""
    module = _module(subject)
    before = _total(subject, module)
    backward(before)
    trained = [p for p in module.parameters() if p.grad is not None]
    norm = torch.stack([cast(Tensor, p.grad).square().sum() for p in trained]).sum().sqrt()
    with torch.no_grad():
        for parameter in trained:
            parameter.sub_(1e-2 * cast(Tensor, parameter.grad) / norm)
        after = _total(subject, module)
    expect(after < before, f"from {before.item()} to {after.item()}")


def it_is_built_on_shapes_alone_without_reading_a_file(subject: Subject) -> None:
    """``reid check --model`` does that; there are no classes and no preprocessing then."""

    def forbidden(path: str) -> Any:
        raise AssertionError(f"{path} is read on the meta device")

    with torch.device("meta"):
        subject.build(
            name=subject.component.name,
            losses=_Losses(),
            model=_network(0),
            num_pids=PIDS,
            classes=(),
            preprocessing=None,
            load_trained=forbidden,
        )


def a_saved_state_gives_the_same_total(subject: Subject) -> None:
    """A resumed training goes on as it would have."""
    first, second = _module(subject), _module(subject, seed=2)
    backward(_total(subject, first))
    second.load_state_dict(first.state_dict())
    totals = [_total(subject, module.train()) for module in (first, second)]
    expect(torch.equal(*totals), f"{totals[0].item()} and {totals[1].item()}")


CHECKS = (
    it_maps_a_step_to_named_terms,
    every_parameter_that_is_trained_receives_a_finite_gradient,
    a_small_step_against_the_gradient_lowers_the_total,
    it_is_built_on_shapes_alone_without_reading_a_file,
    a_saved_state_gives_the_same_total,
)

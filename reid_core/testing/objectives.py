"""Objectives: one step of a small network, a finite total, a gradient for every parameter."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from reid_core.component import LossComponent, Params
from reid_core.contracts import Batch, Loss, LossOutput, Progress, Step, Term, parts_with
from reid_core.discovery import isolated_catalog
from reid_core.hookspecs import hookimpl
from reid_core.network.model import ReIDModel
from reid_core.params.entries import ObjectiveEntry
from reid_core.params.messages import read_params
from reid_core.params.schema import ClassifierParams, LossEntry
from reid_core.testing.networks import Pooled, SmallBackbone, network_of
from reid_core.testing.subject import BATCH, Subject, backward, drawn, expect, trained_well
from reid_core.training.module import NamedObjective, StepResult, TrainingModule
from reid_core.training.weighted_losses import WeightedLosses, build_losses

PIDS = 4
SIZE = (32, 16)
CLASSES = tuple(("people", str(pid)) for pid in range(PIDS))
PROGRESS = Progress(epoch=0, epochs=2, step=3, steps_per_epoch=10, accuracy=0.5)
CLASSIFIER = ClassifierParams(init_std=0.5)


class _Identity:
    """Offers the loss that stands for those of the params."""

    @hookimpl
    def reid_loss(self) -> list[LossComponent]:
        def build(params: Params) -> Loss:
            return lambda x: LossOutput(F.cross_entropy(cast(Tensor, x.logits), x.pids))

        identity = LossComponent(
            name="identity",
            build=build,
            summary="The cross entropy of the logits",
            role="id",
            needs=frozenset({"classifier"}),
        )
        return [identity]


def _network(seed: int) -> ReIDModel:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return network_of(SmallBackbone(), Pooled(SmallBackbone.out_channels), PIDS)


def _losses(subject: Subject, model: ReIDModel) -> WeightedLosses:
    """Build a list of losses if the objective takes it, and the classifiers that are needed."""
    entry = read_params(LossEntry, {"name": "identity"}, isolated_catalog(_Identity()))
    section = SimpleNamespace(
        loss=[entry] if subject.component.takes("losses") else [],
        objective=[subject.read(ObjectiveEntry)],
        classifier=CLASSIFIER,
    )
    return build_losses(cast(Any, section), model)


def _another(model: ReIDModel, seed: int) -> ReIDModel:
    """Return another network with the same parts."""
    other = _network(seed)
    other.add_classifiers(model.classifier.keys(), bias=CLASSIFIER.bias, init_std=0.5)
    return other


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
    model = _network(seed=1)
    model.add_classifiers(["whole"], bias=CLASSIFIER.bias, init_std=0.5)
    facts = {"classes": CLASSES, "preprocessing": _Preprocessing()}
    model.eval().requires_grad_(False)
    return SimpleNamespace(path=Path(path), digest=bytes(32), model=model, **facts)


def _forbidden(path: str) -> Any:
    raise AssertionError(f"{path} is read on the meta device")


def _module(subject: Subject, seed: int = 0, *, meta: bool = False) -> TrainingModule:
    """Build network, losses and the objective as a run does, in training mode."""
    model = _network(seed)
    losses = _losses(subject, model)
    objective = subject.build_seeded(
        name=subject.component.name,
        losses=losses,
        model=model,
        num_pids=PIDS,
        classes=() if meta else CLASSES,
        preprocessing=None if meta else _Preprocessing(),
        load_trained=_forbidden if meta else _trained,
        build_model=lambda: _another(model, seed + 10),
    )
    named = NamedObjective(subject.component.name, subject.read(ObjectiveEntry), objective)
    module = TrainingModule(model, losses, [named])
    module.set_progress(PROGRESS)
    for part in parts_with("set_progress", [part for part, _ in module.parts()]):
        part.set_progress(PROGRESS)
    return module.train()


def _batch(subject: Subject) -> Batch:
    pids, zeros = torch.arange(BATCH) % PIDS, torch.zeros(BATCH, dtype=torch.int64)
    columns, extras = subject.coded_columns(BATCH), subject.extras(BATCH, SIZE)
    images = drawn(BATCH, 3, *SIZE)
    return Batch(images, pids, zeros, zeros, torch.arange(BATCH), columns, extras)


def _result(subject: Subject, module: TrainingModule) -> StepResult:
    """Run a step; the core looks at the form of every term."""
    batch = _batch(subject)
    views = {name: (batch,) * count for name, count in subject.case.streams.items()}
    result: StepResult = module(batch, views)
    return result


# ---- checks -----------------------------------------------------------------------------


def it_maps_a_step_to_finite_terms_with_detached_monitors(subject: Subject) -> None:
    """As far as the core does not look at it in every step."""
    module = _module(subject)
    seen: list[dict[str, Term]] = []
    (named,) = module.named

    def listen(step: Step) -> dict[str, Term]:
        seen.append(named.objective(step))
        return seen[0]

    module.named = (replace(named, objective=listen),)
    result = _result(subject, module)
    expect(bool(result.total.isfinite()), f"the total is {result.total.item()}")
    for name, term in seen[0].items():
        attached = [n for n, monitor in term.monitors.items() if monitor.requires_grad]
        expect(not attached, f"'{name}': monitors that are not detached: {attached}")


def every_parameter_that_is_trained_receives_a_finite_gradient(subject: Subject) -> None:
    """Those of the objective as well; the network may have some that it does not use."""
    module = _module(subject)
    backward(_result(subject, module).total)
    trained_well(module.objectives)
    gradients = [p.grad for p in module.parameters() if p.grad is not None]
    expect(gradients, "nothing is trained by it")
    expect(all(g.isfinite().all() for g in gradients), "a gradient of the network is not finite")


def a_small_step_against_the_gradient_lowers_the_total(subject: Subject) -> None:
    """Down is better."""
    module = _module(subject)
    before = _result(subject, module).total
    backward(before)
    trained = [p for p in module.parameters() if p.grad is not None]
    norm = torch.stack([cast(Tensor, p.grad).square().sum() for p in trained]).sum().sqrt()
    with torch.no_grad():
        for parameter in trained:
            parameter.sub_(1e-2 * cast(Tensor, parameter.grad) / norm)
        after = _result(subject, module).total
    expect(after < before, f"from {before.item()} to {after.item()}")


def it_is_built_on_shapes_alone_without_reading_a_file(subject: Subject) -> None:
    """``reid check --model`` does that; there are no classes and no preprocessing then."""
    with torch.device("meta"):
        _module(subject, meta=True)


def a_saved_state_gives_the_same_total(subject: Subject) -> None:
    """A resumed training goes on as it would have."""
    first, second = _module(subject), _module(subject, seed=2)
    backward(_result(subject, first).total)
    second.load_state_dict(first.state_dict())
    totals = [_result(subject, module.train()).total for module in (first, second)]
    expect(torch.equal(*totals), f"{totals[0].item()} and {totals[1].item()}")


CHECKS = (
    it_maps_a_step_to_finite_terms_with_detached_monitors,
    every_parameter_that_is_trained_receives_a_finite_gradient,
    a_small_step_against_the_gradient_lowers_the_total,
    it_is_built_on_shapes_alone_without_reading_a_file,
    a_saved_state_gives_the_same_total,
)

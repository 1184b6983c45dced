"""Heads: the branches that they declare are the branches that they give."""

from __future__ import annotations

import copy
from typing import Any, cast

import torch
from torch import Tensor

from reid_core.contracts import BranchSpec, FeatureMap, HeadOutput, Progress, parts_with
from reid_core.network.first_results import check_head, check_output
from reid_core.testing.networks import SmallBackbone
from reid_core.testing.subject import Subject, backward, drawn, expect, trained_well

SIZE = (24, 8)
"""Cells of the map; 24 can be cut into 2, 3, 4, 6, 8 and 12 stripes."""

COUNT, PIDS = 6, 5


def _backbone(subject: Subject) -> Any:
    return subject.case.context.get("backbone") or SmallBackbone()


def _built(subject: Subject, seed: int = 0) -> Any:
    """Build the head for a backbone, in training mode."""
    network = _backbone(subject)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        context = {
            **{"in_channels": network.out_channels, "num_pids": PIDS},
            **subject.case.context,
            "backbone": copy.deepcopy(network),
        }
        head = subject.offer.build(subject.params, **context)
    return check_head(head, subject.offer.origin)


def _checked(subject: Subject, module: Any, features: FeatureMap) -> HeadOutput:
    """Return what a head gives; the core looks at its form in every step."""
    output = module(features)
    return check_output(output, module.branches, features.map, subject.offer.origin)


def _features(subject: Subject, device: str = "cpu") -> FeatureMap:
    """Return values of 0 and more, as they come out of a ReLU."""
    channels = subject.case.context.get("in_channels", _backbone(subject).out_channels)
    height, width = subject.case.size or SIZE
    tokens = subject.case.tokens
    return FeatureMap(
        drawn(COUNT, channels, height, width).relu().to(device),
        drawn(COUNT, tokens, channels).to(device) if tokens else None,
        {n: drawn(COUNT, *shape).relu().to(device) for n, shape in subject.case.maps.items()},
    )


def _first(features: FeatureMap) -> FeatureMap:
    """Return the first image of a batch."""
    tokens = None if features.tokens is None else features.tokens[:1]
    maps = {name: values[:1] for name, values in features.maps.items()}
    return FeatureMap(features.map[:1], tokens, maps)


def _told(module: Any, accuracy: float) -> Any:
    """Send the progress, as the loop does; some heads wait for a certain accuracy."""
    progress = Progress(epoch=1, epochs=4, step=10, steps_per_epoch=10, accuracy=accuracy)
    for part in parts_with("set_progress", module.modules()):
        part.set_progress(progress)
    return module


def _vectors(output: HeadOutput) -> dict[tuple[str, str], Tensor]:
    """Return all vectors of an output by (branch, form), and its extra values."""
    branches = {
        (name, form): cast(Tensor, getattr(branch, form))
        for name, branch in output.branches.items()
        for form in ("feature", "embedding")
    }
    return branches | {("aux", name): value for name, value in output.aux.items()}


# ---- checks -----------------------------------------------------------------------------


def branches_are_declared_before_the_first_forward(subject: Subject) -> None:
    """Classifiers and losses are built from them; the core looks at their form."""
    _built(subject)


def roles_classifiers_and_the_test_embedding_agree(subject: Subject) -> None:
    """A loss of the role "id" classifies."""
    branches: tuple[BranchSpec, ...] = _built(subject).branches
    dims: dict[str, int] = {}
    for spec in branches:
        classified = "id" not in spec.roles or spec.classifier is not None
        expect(classified, f"branch '{spec.name}' has the role 'id' and no classifier")
        same = dims.setdefault(spec.classifier or spec.name, spec.dim) == spec.dim
        expect(same, f"classifier '{spec.classifier}' is shared by branches of different sizes")
    expect(any(spec.roles for spec in branches), "no branch has a role: nothing trains it")


def forward_gives_what_is_declared(subject: Subject) -> None:
    """In training and evaluation, early and late."""
    for training in (True, False):
        for accuracy in (0.0, 1.0):
            module = _told(_built(subject).train(training), accuracy)
            for name, vector in _vectors(_checked(subject, module, _features(subject))).items():
                expect(bool(vector.isfinite().all()), f"{name}: not finite")


def forward_gives_the_same_names_in_training_and_evaluation(subject: Subject) -> None:
    """Who reads a value finds it in both."""
    outputs = [_built(subject).train(mode)(_features(subject)) for mode in (True, False)]
    names = [(list(output.branches), list(output.aux)) for output in outputs]
    expect(names[0] == names[1], f"{names[0]} and {names[1]}")


def shapes_can_be_checked_without_memory(subject: Subject) -> None:
    """``reid check --model`` builds everything on the meta device."""
    with torch.device("meta"):
        _checked(subject, _built(subject).eval(), _features(subject, device="meta"))


def the_map_and_every_parameter_receive_finite_gradients(subject: Subject) -> None:
    """A parameter without a gradient stops distributed training."""
    for accuracy in (0.0, 1.0):
        module = _told(_built(subject).train(), accuracy)
        given = _features(subject)
        given.map.requires_grad_()
        if given.tokens is not None:
            given.tokens.requires_grad_()
        results = _vectors(module(given)).values()
        backward(torch.stack([(v * drawn(*v.shape, seed=1)).sum() for v in results]).sum())
        inputs = [x.grad for x in (given.map, given.tokens) if x is not None]
        reached = [g for g in inputs if g is not None and g.any()]
        expect(reached, "no gradient reaches the backbone")
        expect(all(g.isfinite().all() for g in reached), "the input's gradient is not finite")
        trained_well(module)


def a_saved_state_gives_the_same_vectors_in_another_head(subject: Subject) -> None:
    """Weights files and resumed trainings stand on it."""
    first, second = _built(subject, seed=0), _built(subject, seed=1).eval()
    first.train()(_features(subject))  # statistics of BN are part of the state
    second.load_state_dict(first.eval().state_dict())
    with torch.inference_mode():
        expected, loaded = (_vectors(module(_features(subject))) for module in (first, second))
    differing = [key for key, vector in expected.items() if not torch.equal(loaded[key], vector)]
    expect(not differing, f"differing: {differing}")


def in_evaluation_an_image_does_not_depend_on_the_others(subject: Subject) -> None:
    """Of the branches that make the embedding; and all are repeatable."""
    module = _told(_built(subject).eval(), accuracy=1.0)
    given = _features(subject)
    in_test = {spec.name for spec in module.branches if spec.in_test}
    with torch.inference_mode():
        first, again, alone = (_vectors(module(part)) for part in (given, given, _first(given)))
    for (name, form), vector in first.items():
        expect(torch.equal(vector, again[name, form]), f"{name} {form} is not repeatable")
        if name in in_test:
            torch.testing.assert_close(vector[:1], alone[name, form], rtol=1e-4, atol=1e-5)


def half_precision_leaves_the_vectors_finite(subject: Subject) -> None:
    """Under autocast to bfloat16."""
    module = _told(_built(subject).train(), accuracy=1.0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = module(_features(subject))
    wrong = [key for key, vector in _vectors(output).items() if not vector.isfinite().all()]
    expect(not wrong, f"not finite: {wrong}")


CHECKS = (
    branches_are_declared_before_the_first_forward,
    roles_classifiers_and_the_test_embedding_agree,
    forward_gives_what_is_declared,
    forward_gives_the_same_names_in_training_and_evaluation,
    shapes_can_be_checked_without_memory,
    the_map_and_every_parameter_receive_finite_gradients,
    a_saved_state_gives_the_same_vectors_in_another_head,
    in_evaluation_an_image_does_not_depend_on_the_others,
    half_precision_leaves_the_vectors_finite,
)

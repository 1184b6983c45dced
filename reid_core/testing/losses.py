"""Losses, as the core applies them: finite on every batch, attached to the graph, order-free."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import torch
from torch import Tensor, nn

from reid_core.component import LossComponent, declared
from reid_core.contracts import (
    Batch,
    Branch,
    BranchSpec,
    FeatureMap,
    HeadOutput,
    LossInput,
    LossOutput,
    Progress,
    Step,
    Term,
    parts_with,
)
from reid_core.network.model import ReIDModel
from reid_core.params.messages import read_params
from reid_core.params.schema import ClassifierParams, HeadEntry, LossEntry
from reid_core.testing.subject import Subject, backward, drawn, expect
from reid_core.training.weighted_losses import LossTerm, build_losses

DIM = 16
PROGRESS = Progress(epoch=0, epochs=2, step=3, steps_per_epoch=10, accuracy=0.5)

PAIRS = torch.tensor([0, 0, 1, 1, 2, 2, 3, 3])
BATCHES: dict[str, tuple[Tensor, Tensor]] = {
    "four identities with two images": (drawn(8, DIM), PAIRS),
    "uneven identities": (drawn(8, DIM), torch.tensor([0, 0, 0, 0, 1, 1, 2, 3])),
    "one identity": (drawn(8, DIM), torch.zeros(8, dtype=torch.int64)),
    "one image per identity": (drawn(8, DIM), torch.arange(8)),
    "identical features": (torch.ones(8, DIM), PAIRS),
    "two copies of each image": (drawn(4, DIM).repeat_interleave(2, dim=0), PAIRS),
    "opposite features": (
        drawn(4, DIM).repeat(2, 1) * torch.tensor([1, -1])[PAIRS % 2, None],
        PAIRS,
    ),
    "features of zero": (torch.zeros(8, DIM), PAIRS),
    "huge norms": (drawn(8, DIM) * 1e4, PAIRS),
    "tiny norms": (drawn(8, DIM) * 1e-6, PAIRS),
    "one image": (drawn(1, DIM), torch.tensor([2])),
}
"""Vectors ``(B, DIM)`` and identities, the degenerate ones as well."""


class _Through(nn.Module):
    """A backbone that returns its input: the "images" ``(B, DIM)`` are the features."""

    def forward(self, images: Tensor, side: object = None) -> FeatureMap:
        return FeatureMap(images)


class _Whole(nn.Module):
    """A head of one branch that takes the map as it is, with values made of it."""

    branches = (BranchSpec("whole", DIM, "whole", frozenset({"id", "metric"})),)

    def __init__(self, values: Callable[[Tensor], dict[str, Tensor]]) -> None:
        super().__init__()
        self.values = values

    def forward(self, features: FeatureMap) -> HeadOutput:
        branch = Branch(features.map, features.map)
        return HeadOutput({"whole": branch}, self.values(features.map))


class Applied:
    """A loss in the core's hands: selection, normalisation, casts, classifiers.

    Attributes:
        model: A network that passes its "images" ``(B, DIM)`` on as features and embeddings.
        losses: The weighted losses of an entry of the params.
        term: The only one.
    """

    def __init__(self, subject: Subject, num_pids: int = 4, **entry: Any) -> None:
        """Build the loss as a training does; ``entry`` is what stands beside its params."""
        self.subject, self.component = subject, cast(LossComponent, subject.component)
        raw = {"name": subject.offer.qualified_name, "params": dict(subject.given), **entry}
        read = read_params(LossEntry, raw, subject.catalog)
        reads = declared(self.component.reads, read.params)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            head = _Whole(lambda features: subject.values_of_heads(reads, features))
            self.model = ReIDModel(_Through(), [(HeadEntry(name="whole"), head)], num_pids)
            # Random weights would give every identity the same tiny logits.
            classifier = ClassifierParams(init_std=0.5)
            section = SimpleNamespace(loss=[read], classifier=classifier)
            self.losses = build_losses(cast(Any, section), self.model)
        (self.term,) = cast(list[LossTerm], list(self.losses.terms))
        self.columns = declared(self.component.columns, read.params)

    def __call__(self, features: Tensor, pids: Tensor) -> Term:
        """Return what a training step adds for a batch."""
        for part in parts_with("set_progress", [*self.losses.modules(), *self.term.losses]):
            part.set_progress(PROGRESS)
        terms: dict[str, Term] = self.losses(self.step(features, pids))
        (term,) = terms.values()
        return term

    def step(self, features: Tensor, pids: Tensor) -> Step:
        """Return the training step of a batch."""
        zeros = torch.zeros_like(pids)
        columns = {
            name: torch.from_numpy(values)
            for name, values in self.subject.columns(self.columns, len(pids)).items()
        }
        batch = Batch(features, pids, zeros, zeros, torch.arange(len(pids)), columns)
        return Step(batch, cast(Any, self.model), self.model(features), PROGRESS)

    def seen(self) -> list[tuple[LossInput, LossOutput]]:
        """Return a list that receives what the loss is given and what it returns."""
        seen: list[tuple[LossInput, LossOutput]] = []

        def listen(built: Callable[[LossInput], LossOutput]) -> Callable[[LossInput], LossOutput]:
            def called(x: LossInput) -> LossOutput:
                output = built(x)
                seen.append((x, output))
                return output

            return called

        self.term.losses = [listen(built) for built in self.term.losses]
        return seen


def numbers(output: Term | LossOutput) -> dict[str, Tensor]:
    """Return the monitors, and the accuracy by its name where there is one."""
    accuracy = {} if output.accuracy is None else {"accuracy": output.accuracy}
    return {**output.monitors, **accuracy}


# ---- checks -----------------------------------------------------------------------------


def it_declares_role_input_and_needs_in_known_words(subject: Subject) -> None:
    """The core selects by them."""
    declared_ = cast(LossComponent, subject.component)
    expect(declared_.role in ("id", "metric"), f"role: {declared_.role!r}")
    expect(declared_.on in ("feature", "embedding"), f"on: {declared_.on!r}")
    expect(type(declared_.normalize) is bool, f"normalize: {declared_.normalize!r}")
    known = {"classifier", "pairs", "batch"}
    right = isinstance(declared_.needs, frozenset) and declared_.needs <= known
    expect(right, f"needs: {declared_.needs!r}; use a frozenset of {sorted(known)}")


def a_value_is_a_finite_scalar_attached_to_the_graph_and_its_gradient_is_finite(
    subject: Subject,
) -> None:
    """On every batch: a training meets them all."""
    for name, (given, pids) in BATCHES.items():
        features = given.clone().requires_grad_()
        applied = Applied(subject, num_pids=8)
        seen = applied.seen()
        value = applied(features, pids).value
        own = seen[0][1].value
        what = f"batch '{name}': the value"
        expect(own.shape == (), f"{what} has shape {tuple(own.shape)}; it must be a scalar")
        expect(value.dtype == torch.float32, f"{what} is {value.dtype}")
        expect(bool(value.isfinite()), f"{what} is {value.item()}")
        expect(value.requires_grad, f"{what} is not attached to the graph")
        backward(value)
        gradient = features.grad
        expect(gradient is not None, f"{what} does not depend on the features")
        expect(bool(cast(Tensor, gradient).isfinite().all()), f"batch '{name}': gradient is NaN")


def monitors_are_finite_detached_scalars_of_the_same_names(subject: Subject) -> None:
    """They are logged in every step."""
    names = set()
    for name, (features, pids) in BATCHES.items():
        applied = Applied(subject, num_pids=8)
        seen = applied.seen()
        applied(features.clone().requires_grad_(), pids)
        ((_, output),) = seen
        expect("accuracy" not in output.monitors, "the accuracy has a field of its own")
        for word, number in numbers(output).items():
            what = f"batch '{name}': the monitor '{word}'"
            expect(number.shape == (), f"{what} has shape {tuple(number.shape)}")
            expect(bool(number.isfinite()), f"{what} is {number.item()}")
            expect(not number.requires_grad, f"{what} is not detached")
        names.add(tuple(numbers(output)))
    expect(len(names) == 1, f"they differ by batch: {sorted(names)}")


def an_accuracy_is_a_fraction(subject: Subject) -> None:
    """It drives what waits for it."""
    accuracy = Applied(subject)(*BATCHES["four identities with two images"]).accuracy
    expect(accuracy is None or 0 <= accuracy <= 1, f"it is {accuracy}")


def a_single_image_has_no_pairs_and_costs_nothing(subject: Subject) -> None:
    """For losses that need pairs."""
    if "pairs" not in cast(LossComponent, subject.component).needs:
        return
    given, pids = BATCHES["one image"]
    features = given.clone().requires_grad_()
    value = Applied(subject)(features, pids).value
    expect(value.item() == 0, f"it costs {value.item()}")
    backward(value)
    expect(not cast(Tensor, features.grad).any(), "it has a gradient")


def a_small_step_against_the_gradient_lowers_the_value(subject: Subject) -> None:
    """Near each other: of vectors that are apart, some losses ask no more."""
    applied, features = Applied(subject), (drawn(8, DIM) + 1).requires_grad_()
    value = applied(features, PAIRS).value
    backward(value)
    gradient = cast(Tensor, features.grad)
    moved = features.detach() - 1e-3 * gradient / gradient.norm()
    after = applied(moved, PAIRS).value.item()
    expect(after < value.item(), f"from {value.item()} to {after}")


def the_order_of_the_images_does_not_matter(subject: Subject) -> None:
    """A batch is a set."""
    applied, features = Applied(subject), drawn(8, DIM)
    if applied.columns:
        return  # the columns made here go by position
    order = torch.randperm(8, generator=torch.Generator().manual_seed(0))
    first, second = applied(features, PAIRS), applied(features[order], PAIRS[order])
    torch.testing.assert_close(first.value, second.value)
    for name, number in numbers(first).items():
        torch.testing.assert_close(number, numbers(second)[name])


def the_same_step_has_the_same_value(subject: Subject) -> None:
    """Random choices come from ``progress.generator``."""
    features, before = drawn(8, DIM), torch.get_rng_state()
    first, second = (Applied(subject)(features, PAIRS).value for _ in range(2))
    expect(torch.equal(first, second), f"{first.item()} and {second.item()}")
    expect(torch.equal(before, torch.get_rng_state()), "torch's global generator has been used")


def half_precision_reaches_it_as_float32_outside_autocast(subject: Subject) -> None:
    """The core casts; the loss must not go back."""
    applied = Applied(subject)
    seen = applied.seen()
    applied.model.bfloat16()
    features = drawn(8, DIM).bfloat16().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = applied(features, PAIRS).value
    ((given, _),) = seen
    values = (given.features, given.weight, given.logits, *given.aux.values())
    types = {value.dtype for value in values if value is not None}
    expect(types == {torch.float32}, f"it is given {types}")
    expect(value.dtype == torch.float32, f"the value is {value.dtype}")
    backward(value)
    expect(bool(cast(Tensor, features.grad).isfinite().all()), "the gradient is not finite")


def a_saved_state_gives_the_same_value(subject: Subject) -> None:
    """A resumed training goes on as it would have."""
    first, second = Applied(subject), Applied(subject)
    value = first(drawn(8, DIM).requires_grad_(), PAIRS).value
    backward(value)
    for part in parts_with("after_step", [*first.losses.modules(), *first.term.losses]):
        part.after_step()
    second.losses.load_state_dict(first.losses.state_dict())
    second.model.load_state_dict(first.model.state_dict())
    values = [applied(drawn(8, DIM, seed=1), PAIRS).value for applied in (first, second)]
    expect(torch.equal(*values), f"{values[0].item()} and {values[1].item()}")


CHECKS = (
    it_declares_role_input_and_needs_in_known_words,
    a_value_is_a_finite_scalar_attached_to_the_graph_and_its_gradient_is_finite,
    monitors_are_finite_detached_scalars_of_the_same_names,
    an_accuracy_is_a_fraction,
    a_single_image_has_no_pairs_and_costs_nothing,
    a_small_step_against_the_gradient_lowers_the_value,
    the_order_of_the_images_does_not_matter,
    the_same_step_has_the_same_value,
    half_precision_reaches_it_as_float32_outside_autocast,
    a_saved_state_gives_the_same_value,
)

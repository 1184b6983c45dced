"""Losses, as the core applies them: finite on every batch, attached to the graph, order-free."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from reid_core.component import LossComponent
from reid_core.contracts import (
    Batch,
    LossInput,
    LossOutput,
    Progress,
    Relabelling,
    Step,
    Term,
    parts_with,
)
from reid_core.params.schema import ClassifierParams, LossEntry
from reid_core.testing.networks import Pooled, Through, network_of
from reid_core.testing.subject import Subject, backward, drawn, expect, told_of
from reid_core.training.weighted_losses import LossTerm, build_losses

DIM = 16
MASK = (16, 8)
"""(height, width) of the masks beside the images, in pixels."""

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


class Applied:
    """A loss in the core's hands: selection, normalisation, casts, classifiers, checks.

    Attributes:
        model: A network that passes its "images" ``(B, DIM, 1, 1)`` on as features and embeddings.
        losses: The weighted losses of an entry of the params.
        term: The only one.
    """

    def __init__(self, subject: Subject, num_pids: int = 4, **entry: Any) -> None:
        """Build the loss as a training does; ``entry`` is what stands beside its params."""
        self.subject, reads = subject, subject.declared("reads")
        with torch.random.fork_rng():
            torch.manual_seed(0)
            head = Pooled(DIM, lambda vectors: subject.values_of_heads(reads, vectors))
            self.model = network_of(Through(DIM), head, num_pids)
            # Random weights would give every identity the same tiny logits.
            classifier = ClassifierParams(init_std=0.5)
            read = subject.read(LossEntry, **entry)
            section = SimpleNamespace(loss=[read], objective=[], classifier=classifier)
            self.losses = build_losses(cast(Any, section), self.model)
        (self.term,) = cast(list[LossTerm], list(self.losses.terms))
        if subject.case.context:
            (spec,) = self.model.branches
            built = subject.build_seeded(dim=DIM, num_pids=num_pids, branch=spec)
            self.term.set_losses([built])

    def __call__(self, features: Tensor, pids: Tensor, **batch: Any) -> Term:
        """Return what a training step adds for a batch; see ``step``."""
        for part in parts_with("set_progress", [*self.losses.modules(), *self.term.losses]):
            part.set_progress(PROGRESS)
        terms: dict[str, Term] = self.losses(self.step(features, pids, **batch))
        (term,) = terms.values()
        return term

    def step(
        self,
        features: Tensor,
        pids: Tensor,
        order: Tensor | None = None,
        *,
        is_known: bool = True,
    ) -> Step:
        """Return the training step of a batch.

        Args:
            features: ``(B, DIM)``.
            pids: ``(B,)``.
            order: ``(B,)``, in which the images come; default: as they stand.
            is_known: Their columns are known.
        """
        count, at = len(pids), torch.arange(len(pids)) if order is None else order
        columns = {
            name: codes[at] if is_known else torch.full((count,), -1)
            for name, codes in self.subject.coded_columns(count).items()
        }
        extras = {
            name: [given[i] for i in at.tolist()] if isinstance(given, list) else given[at]
            for name, given in self.subject.extras(count, MASK).items()
        }
        zeros = torch.zeros_like(pids)
        batch = Batch(features[at], pids[at], zeros, zeros, at, columns, extras)
        output = self.model(batch.images[..., None, None])
        return Step(batch, cast(Any, self.model), output, PROGRESS)

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


def _after_a_step(subject: Subject) -> Applied:
    """Return a loss that has seen a batch: some have a memory that is empty at first."""
    applied = Applied(subject)
    backward(applied(drawn(8, DIM).requires_grad_(), PAIRS).value)
    for part in parts_with("after_step", [*applied.losses.modules(), *applied.term.losses]):
        part.after_step()
    return applied


def numbers(output: Term | LossOutput) -> dict[str, Tensor]:
    """Return the monitors, and the accuracy by its name where there is one."""
    accuracy = {} if output.accuracy is None else {"accuracy": output.accuracy}
    return {**output.monitors, **accuracy}


# ---- checks -----------------------------------------------------------------------------


def a_value_is_finite_and_attached_to_the_graph_and_its_gradient_is_finite(
    subject: Subject,
) -> None:
    """On every batch: a training meets them all; the core looks at types and shapes."""
    for name, (given, pids) in BATCHES.items():
        with told_of(f"batch '{name}'"):
            features = given.clone().requires_grad_()
            value = Applied(subject, num_pids=8)(features, pids).value
            expect(value.dtype == torch.float32, f"the value is {value.dtype}")
            expect(bool(value.isfinite()), f"the value is {value.item()}")
            backward(value)
            gradient = features.grad
            expect(gradient is not None, "the value does not depend on the features")
            expect(bool(cast(Tensor, gradient).isfinite().all()), "the gradient is not finite")


def monitors_are_finite_detached_and_of_the_same_names(subject: Subject) -> None:
    """They are logged in every step."""
    names = set()
    for name, (features, pids) in BATCHES.items():
        applied = Applied(subject, num_pids=8)
        seen = applied.seen()
        with told_of(f"batch '{name}'"):
            applied(features.clone().requires_grad_(), pids)
            ((_, output),) = seen
            expect("accuracy" not in output.monitors, "the accuracy has a field of its own")
            for word, number in numbers(output).items():
                expect(bool(number.isfinite()), f"the monitor '{word}' is {number.item()}")
                expect(not number.requires_grad, f"the monitor '{word}' is not detached")
        names.add(tuple(numbers(output)))
    expect(len(names) == 1, f"they differ by batch: {sorted(names)}")


def what_is_not_known_of_the_images_leaves_numbers(subject: Subject) -> None:
    """Columns of which nothing is known have the number -1."""
    if not subject.declared("columns"):
        return
    features = drawn(8, DIM).requires_grad_()
    value = Applied(subject)(features, PAIRS, is_known=False).value
    expect(bool(value.isfinite()), f"of images of unknown columns the value is {value.item()}")


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
    applied, features = _after_a_step(subject), (drawn(8, DIM) + 1).requires_grad_()
    value = applied(features, PAIRS).value
    backward(value)
    gradient = cast(Tensor, features.grad)
    expect(gradient.any(), "the gradient is 0")
    moved = features.detach() - 1e-3 * gradient / gradient.norm()
    after = applied(moved, PAIRS).value.item()
    expect(after < value.item(), f"from {value.item()} to {after}")


def the_order_of_the_images_does_not_matter(subject: Subject) -> None:
    """A batch is a set."""
    applied, features = Applied(subject), drawn(8, DIM)
    order = torch.randperm(8, generator=torch.Generator().manual_seed(0))
    first, second = applied(features, PAIRS), applied(features, PAIRS, order=order)
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
    first, second = _after_a_step(subject), Applied(subject)
    second.losses.load_state_dict(first.losses.state_dict())
    second.model.load_state_dict(first.model.state_dict())
    values = [applied(drawn(8, DIM, seed=1), PAIRS).value for applied in (first, second)]
    expect(torch.equal(*values), f"{values[0].item()} and {values[1].item()}")


def it_follows_new_identities(subject: Subject) -> None:
    """Where it defines ``set_classes``; others are built anew."""
    losses = [Applied(subject, num_pids=8).term.losses[0] for _ in range(2)]
    if not parts_with("set_classes", losses):
        return
    old = np.arange(16) % 8
    for loss in losses:
        cast(Any, loss).set_classes(Relabelling(old, np.where(old < 5, old, -1), 5))
    applied = Applied(subject, num_pids=5)
    applied.term.set_losses(losses[:1])
    value = applied(drawn(8, DIM), PAIRS).value
    expect(bool(value.isfinite()), f"after new identities the value is {value.item()}")
    if isinstance(losses[0], nn.Module) and isinstance(losses[1], nn.Module):
        losses[1].load_state_dict(losses[0].state_dict())


CHECKS = (
    a_value_is_finite_and_attached_to_the_graph_and_its_gradient_is_finite,
    monitors_are_finite_detached_and_of_the_same_names,
    what_is_not_known_of_the_images_leaves_numbers,
    an_accuracy_is_a_fraction,
    a_single_image_has_no_pairs_and_costs_nothing,
    a_small_step_against_the_gradient_lowers_the_value,
    the_order_of_the_images_does_not_matter,
    the_same_step_has_the_same_value,
    half_precision_reaches_it_as_float32_outside_autocast,
    a_saved_state_gives_the_same_value,
    it_follows_new_identities,
)

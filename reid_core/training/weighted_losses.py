"""The weighted losses of the params: which branch each sees, in which form, and how they join."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from typing import cast

import torch
from torch import Tensor, nn

from reid_core.boundary import Origin
from reid_core.contracts import (
    BranchSpec,
    Loss,
    LossInput,
    LossOutput,
    Progress,
    Step,
    Term,
)
from reid_core.errors import ReidError, did_you_mean
from reid_core.network.model import ReIDModel
from reid_core.params.entries import numbered_names
from reid_core.params.schema import LossEntry, LossWarmup, RandomKeep, RunParams
from reid_core.training.loss_input import DeclaredInput, given_tensors, loss_vectors
from reid_core.training.term_checks import check_loss_output


class LossTerm(nn.Module):
    """One entry of the params' ``loss`` list, applied to each of its branches."""

    def __init__(
        self,
        name: str,
        entry: LossEntry,
        branches: Sequence[BranchSpec],
        losses: Sequence[Loss],
    ) -> None:
        """Bind the built losses to their branches, one each."""
        super().__init__()
        self.name, self.weight, self.reduce = name, entry.weight, entry.reduce
        self.branches = tuple(branches)
        component = self.component = entry.component
        self.entry, self.origin = entry, entry.origin
        self.on = entry.on or component.on
        self.normalize = component.normalize if entry.normalize is None else entry.normalize
        self.needs_classifier = "classifier" in component.needs
        self.needs_pairs = "pairs" in component.needs
        self.declared = DeclaredInput.of_entry(entry)
        self.set_losses(losses)

    def set_losses(self, losses: Iterable[Loss]) -> None:
        """Take these losses in place of those before, one for each branch."""
        self.losses = list(losses)
        # Registered beside the list, because a loss may also be a plain function.
        self.modules_of_losses = nn.ModuleList(x for x in self.losses if isinstance(x, nn.Module))

    def forward(self, step: Step) -> Term:
        """Return the joined value, and the means of accuracy and monitors over the branches."""
        results = [
            self._output(step, spec, loss)
            for spec, loss in zip(self.branches, self.losses, strict=True)
        ]
        values = torch.stack([result.value for result in results])
        names = dict.fromkeys(name for result in results for name in result.monitors)
        monitors = {
            name: _mean([r.monitors[name] for r in results if name in r.monitors]) for name in names
        }
        accuracies = [r.accuracy for r in results if r.accuracy is not None]
        return Term(
            self._joined(values, step.progress),
            self.weight,
            monitors,
            _mean(accuracies) if accuracies else None,
        )

    def _output(self, step: Step, spec: BranchSpec, loss: Loss) -> LossOutput:
        """Call the loss of a branch.

        Raises:
            PluginError: It failed, or returned what its contract does not allow.
        """
        given = self._input(step, spec)
        place = f"at step {step.progress.step + 1} on branch '{spec.name}'"
        with self.origin.calling(place, given_tensors(given)):
            output = loss(given)
        attached = any(x is not None and x.requires_grad for x in (given.features, given.logits))
        device = given.features.device
        check_loss_output(output, self.origin, place, attached=attached, device=device)
        return output

    def _input(self, step: Step, spec: BranchSpec) -> LossInput:
        """Choose, normalise and cast what the loss sees of one branch."""
        vectors = getattr(step.outputs.branches[spec.name], self.on)
        features = loss_vectors(vectors, self.normalize)
        weight = logits = None
        if self.needs_classifier:
            layer = step.model.classifier[cast(str, spec.classifier)]
            weight = cast(Tensor, layer.weight).float()
            # The model's logits are those of the raw embedding.
            as_in_model = self.on == "embedding" and not self.normalize
            logits = (step.outputs.logits[spec.name] if as_in_model else layer(features)).float()
        return LossInput(
            features=features,
            pids=step.batch.pids,
            camids=step.batch.camids,
            progress=step.progress,
            weight=weight,
            logits=logits,
            index=step.batch.index,
            **self.declared.of(step.outputs.aux, step.batch.columns, step.batch.extras),
        )

    def _joined(self, values: Tensor, progress: Progress) -> Tensor:
        """Reduce the values ``(branches,)`` to one."""
        if isinstance(self.reduce, RandomKeep):
            # Multiplied by 0 instead of left out: every parameter keeps a gradient.
            keep = kept_branches(len(values), self.reduce.draws, progress.generator(self.name))
            return (values * keep.to(values)).sum()
        reduced: Tensor = getattr(values, self.reduce)()
        return reduced


class WeightedLosses(nn.Module):
    """The params' ``loss`` list: the supervised objective's content."""

    def __init__(self, terms: Iterable[LossTerm]) -> None:
        """Keep the terms in the order of the params."""
        super().__init__()
        self.terms = nn.ModuleList(terms)

    def forward(self, step: Step) -> dict[str, Term]:
        """Return every term's output by its name, in float32 outside autocast."""
        with torch.autocast(step.batch.images.device.type, enabled=False):
            return {cast(LossTerm, term).name: term(step) for term in self.terms}

    def origins(self) -> dict[str, Origin]:
        """Return whose each term is, by its name."""
        return {cast(LossTerm, t).name: cast(LossTerm, t).origin for t in self.terms}

    def parts(self) -> Iterator[tuple[object, Origin]]:
        """Yield every loss with whose it is."""
        for term in cast(Iterable[LossTerm], self.terms):
            yield from ((loss, term.origin) for loss in term.losses)

    @property
    def needs_pairs(self) -> list[str]:
        """Return the names of terms that compare images of one identity and of several."""
        return [cast(LossTerm, t).name for t in self.terms if cast(LossTerm, t).needs_pairs]


def kept_branches(count: int, draws: int, generator: torch.Generator) -> Tensor:
    """Draw which of ``count`` branches are trained in this step (pytorch-reid-lite).

    ``draws`` branches, drawn with replacement, are left out; if none remains, one is kept.

    Returns:
        ``(count,)`` float32 of ones and zeros.
    """
    keep = torch.ones(count)
    keep[torch.randint(count, (draws,), generator=generator)] = 0
    if not keep.any():
        keep[torch.randint(count, (1,), generator=generator)] = 1
    return keep


def _mean(values: Sequence[Tensor]) -> Tensor:
    """Return the mean of 0-d numbers, detached; those of a count are whole."""
    return torch.stack([value.detach().float() for value in values]).mean()


def build_losses(params: RunParams, model: ReIDModel) -> WeightedLosses:
    """Build every loss for every branch that it is applied to, and the classifiers needed.

    Raises:
        ReidError: A glob matches no branch, or a loss needs a classifier that a branch
            does not have.
    """
    plan = planned_losses(params, model.branches)
    add_classifiers(params, model)
    terms = []
    for name, (entry, specs) in zip(numbered_names(params.loss), plan, strict=True):
        losses = [built_loss(entry, spec, model.num_pids) for spec in specs]
        terms.append(LossTerm(name, entry, specs, losses))
    return WeightedLosses(terms)


def add_classifiers(params: RunParams, model: ReIDModel) -> None:
    """Add the linear layers that the losses and objectives of some params need.

    Raises:
        ReidError: As ``build_losses``.
    """
    keys = {
        cast(str, spec.classifier)
        for entry, specs in planned_losses(params, model.branches)
        if "classifier" in entry.component.needs
        for spec in specs
    }
    if any(entry.names("needs", ("classifier",)) for entry in params.objective):
        keys |= {spec.classifier for spec in model.branches if spec.classifier is not None}
    model.add_classifiers(keys, bias=params.classifier.bias, init_std=params.classifier.init_std)


def planned_losses(
    params: RunParams, branches: Sequence[BranchSpec]
) -> list[tuple[LossEntry, list[BranchSpec]]]:
    """Return every entry of the loss list with its branches.

    Raises:
        ReidError: As ``build_losses``.
    """
    return [(entry, _selected(i, entry, branches)) for i, entry in enumerate(params.loss)]


def built_loss(entry: LossEntry, spec: BranchSpec, num_pids: int) -> Loss:
    """Build the loss of an entry for a branch."""
    loss: Loss = entry.build(dim=spec.dim, num_pids=num_pids, branch=spec)
    if not callable(loss):
        raise entry.origin.fault(f"was built as {loss!r}; expected a function of a LossInput")
    return loss


def _selected(position: int, entry: LossEntry, branches: Sequence[BranchSpec]) -> list[BranchSpec]:
    """Return the branches of one entry: those of its globs, or of the loss's role."""
    place, component = f"loss.{position}", entry.component
    if entry.branches is None:
        chosen = [spec for spec in branches if component.role in spec.roles]
        if not chosen:
            raise ReidError(f"{place}: no branch has the role '{component.role}' that it takes")
    else:
        globs = [entry.branches] if isinstance(entry.branches, str) else entry.branches
        names = [spec.name for spec in branches]
        for glob in globs:
            if not any(fnmatchcase(name, glob) for name in names):
                raise ReidError(
                    f"{place}.branches: '{glob}' matches no branch{did_you_mean(glob, names)} "
                    f"(branches: {', '.join(names)})"
                )
        chosen = [s for s in branches if any(fnmatchcase(s.name, glob) for glob in globs)]
    bare = [spec.name for spec in chosen if spec.classifier is None]
    if "classifier" in component.needs and bare:
        raise ReidError(
            f"{place}: '{component.name}' needs a classifier, and branch '{bare[0]}' has none"
        )
    return chosen


def loss_weight(progress: Progress, warmup: LossWarmup | None) -> float:
    """Return the factor on the total loss that a step minimises.

    With W warm-up steps (``warmup.epochs`` epochs) the step s, from 0, has the weight
    min(1, start + (1 - start) (s + 1) / W), as in Person_reID_baseline_pytorch. Unlike a small
    rate it leaves weight decay as it is, and an optimizer that divides by the gradient's size,
    such as Adam, hardly notices it.

    Args:
        progress: Where the training stands.
        warmup: Length and first weight; None is no warm-up.

    Returns:
        A number from ``start`` to 1.
    """
    if warmup is None:
        return 1.0
    done = (progress.step + 1) / (warmup.epochs * progress.steps_per_epoch)
    return 1.0 if done >= 1 else warmup.start + (1.0 - warmup.start) * done

"""One training step as a module: the network and what is minimised."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import torch
from torch import Tensor, nn

from reid_core.boundary import Origin
from reid_core.contracts import Batch, Objective, Progress, Step, Term
from reid_core.errors import ReidError, name_list
from reid_core.network.model import ReIDModel
from reid_core.params.entries import ObjectiveEntry
from reid_core.training.term_checks import check_terms, untrained_modules
from reid_core.training.weighted_losses import LossTerm, WeightedLosses


@dataclass(frozen=True)
class StepResult:
    """Outcome of one forward pass; all but the total is detached.

    Attributes:
        total: 0-d, what is minimised.
        losses: Value of each term by its name, 0-d.
        monitors: By ``<term>.<monitor>``; the accuracies are among them, and their mean as
            ``accuracy``.
        accuracy: That mean; None where no term has one.
        origins: Whose each term is.
    """

    total: Tensor
    losses: Mapping[str, Tensor]
    monitors: Mapping[str, Tensor]
    accuracy: Tensor | None = None
    origins: Mapping[str, Origin] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class NamedObjective:
    """An objective that has been built, with its name in the run and its entry in the params."""

    name: str
    entry: ObjectiveEntry
    objective: Objective


class TrainingModule(nn.Module):
    """Network, losses and objectives as one module: the unit that wrappers (DDP, compile) wrap.

    Attributes:
        progress: Set before every step by ``set_progress``.
        losses: The weighted losses of the params, which an objective may sum.
        named: The objectives in the order of the params.
    """

    def __init__(
        self, model: ReIDModel, losses: WeightedLosses, objectives: Sequence[NamedObjective]
    ) -> None:
        """Join a network with its losses and objectives.

        Raises:
            ReidError: An objective calls something untrained that is no sub-module of it.
        """
        super().__init__()
        self.model = model
        self._losses = [losses]  # in a list: registered where an objective has them
        self.progress = Progress(epoch=0, epochs=1, step=0, steps_per_epoch=1)
        self.set_objectives(objectives)

    @property
    def losses(self) -> WeightedLosses:
        """Return the weighted losses of the params."""
        return self._losses[0]

    def set_objectives(self, objectives: Sequence[NamedObjective]) -> None:
        """Take these objectives in place of those before."""
        self.named = tuple(objectives)
        built = [o.objective for o in objectives]
        self.objectives = nn.ModuleList(o for o in built if isinstance(o, nn.Module))
        self._untrained = [
            part for o in objectives for part in untrained_modules(o.objective, o.entry.origin)
        ]
        for part in self._untrained:
            part.requires_grad_(False)
        registered = {id(part) for part in self.objectives.modules()}
        # Those of an objective that is a function, which holds them unseen.
        self.other_losses = None if id(self.losses) in registered else self.losses
        self.train(self.training)

    def set_progress(self, progress: Progress) -> None:
        """Keep the progress for the next step's objectives."""
        self.progress = progress

    def train(self, mode: bool = True) -> TrainingModule:
        """Set the mode; what is not trained stays in evaluation mode."""
        super().train(mode)
        for part in self._untrained:
            part.eval()
        return self

    def trained_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Yield (name, parameter) of all that the optimizer has: not those of untrained parts."""
        left_out = {id(p) for part in self._untrained for p in part.parameters()}
        for name, parameter in self.named_parameters():
            if id(parameter) not in left_out:
                yield name, parameter

    def forward(
        self, batch: Batch, streams: Mapping[str, tuple[Batch, ...]] = MappingProxyType({})
    ) -> StepResult:
        """Run the network and every objective; the total is the weighted sum of their terms.

        Raises:
            ReidError: An objective failed, or returned what its contract does not allow.
        """
        side = {name: batch.columns[name] for name in self.model.side if name in batch.columns}
        outputs = self.model(batch.images, side)
        step = Step(batch, self.model, outputs, self.progress, streams)
        place, tensors = f"at step {self.progress.step + 1}", _tensors_of(step)
        terms: dict[str, Term] = {}
        origins: dict[str, Origin] = {}
        for each in self.named:
            origin = each.entry.origin
            with origin.calling(place, tensors):
                given = each.objective(step)
            feature = outputs.feature
            attached, device = feature.requires_grad, feature.device
            check_terms(given, origin, place, attached=attached, device=device)
            if twice := sorted(terms.keys() & given.keys()):
                raise ReidError(
                    f"{origin} gives a term named {twice[0]}, and so does {origins[twice[0]]}; "
                    "leave one of them out, or its plugin must begin the names with that of the "
                    "entry"
                )
            terms |= given
            origins |= dict.fromkeys(given, origin)
        if not terms:
            raise ReidError(
                f"objective: none of {name_list(str(each.entry.origin) for each in self.named)} "
                f"gave a term {place}; nothing is minimised"
            )
        return result_of(terms, origins | self.losses.origins())

    def parts(self) -> Iterator[tuple[object, Origin]]:
        """Yield every part of a plugin, each once: modules with all below them, and functions."""
        seen: set[int] = set()
        for root, origin in self.roots():
            for part in root.modules() if isinstance(root, nn.Module) else [root]:
                if id(part) not in seen and not isinstance(part, WeightedLosses | LossTerm):
                    seen.add(id(part))
                    yield part, origin

    def roots(self) -> Iterator[tuple[object, Origin]]:
        """Yield what plugins have built: modules and functions."""
        yield from zip((self.model.backbone, *self.model.heads), self.model.origins, strict=True)
        yield from self.losses.parts()
        for each in self.named:
            yield each.objective, each.entry.origin


def _tensors_of(step: Step) -> dict[str, Tensor]:
    """Return what an objective must leave as it is, by what messages call it."""
    batch, outputs = step.batch, step.outputs
    tensors = {f"the {n}": getattr(batch, n) for n in ("images", "pids", "camids", "index")}
    tensors |= {f"the column '{name}'": values for name, values in batch.columns.items()}
    tensors |= {f"the logits of branch '{name}'": found for name, found in outputs.logits.items()}
    tensors |= {f"the value '{name}' of a head": found for name, found in outputs.aux.items()}
    for name, branch in outputs.branches.items():
        tensors[f"the feature of branch '{name}'"] = branch.feature
        tensors[f"the embedding of branch '{name}'"] = branch.embedding
    return tensors


def result_of(terms: Mapping[str, Term], origins: Mapping[str, Origin]) -> StepResult:
    """Join the terms of a step."""
    total = torch.stack([term.weight * term.value for term in terms.values()]).sum()
    losses = {name: term.value.detach() for name, term in terms.items()}
    accuracies = [
        term.accuracy.detach().float().to(term.value.device)
        for term in terms.values()
        if term.accuracy is not None
    ]
    mean = torch.stack(accuracies).mean() if accuracies else None
    return StepResult(total, losses, logged_monitors(terms, mean), mean, origins)


def logged_monitors(terms: Mapping[str, Term], accuracy: Tensor | None) -> dict[str, Tensor]:
    """Return the monitors of all terms by ``<term>.<monitor>``, and the accuracies beside them.

    Args:
        terms: By name.
        accuracy: The mean of their accuracies, logged as ``accuracy``.
    """
    monitors: dict[str, Tensor] = {}
    for name, term in terms.items():
        if term.accuracy is not None:
            monitors[f"{name}.accuracy"] = term.accuracy.detach()
        monitors |= {f"{name}.{key}": value.detach() for key, value in term.monitors.items()}
    return monitors if accuracy is None else {**monitors, "accuracy": accuracy}

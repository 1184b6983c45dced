"""From params to the module that is trained, and what becomes of it when identities change."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar, cast

from torch import nn

from reid_core.catalog import Catalog
from reid_core.contracts import Classes, Objective, Preprocessing, Relabelling, SideValues
from reid_core.errors import ReidError
from reid_core.network.classifiers import Classifiers
from reid_core.network.model import ReIDModel, build_model
from reid_core.network.trained_model import load_trained
from reid_core.params.entries import Entry, ObjectiveEntry, numbered_names
from reid_core.params.schema import RunParams
from reid_core.training.module import NamedObjective, TrainingModule
from reid_core.training.weighted_losses import (
    LossTerm,
    WeightedLosses,
    add_classifiers,
    build_losses,
    built_loss,
)

Part = TypeVar("Part")


@dataclass(frozen=True)
class ModuleBuilder:
    """Builds the module of some params.

    Attributes:
        params: Resolved params.
        catalog: Offers the components of trained models that an objective opens.
        preprocessing: How the images of the batches are prepared; None where only shapes are
            looked at.
        side_values: Of the columns that the backbone looks at.
        stream_classes: (dataset, pid) of every label of each stream.
        restored: All weights will come from a checkpoint.
    """

    params: RunParams
    catalog: Catalog
    preprocessing: Preprocessing | None = None
    side_values: SideValues = field(default_factory=dict)
    stream_classes: Mapping[str, Classes] = field(default_factory=dict)
    restored: bool = False

    def module(self, num_pids: int, classes: Classes = ()) -> TrainingModule:
        """Build network, losses and objectives.

        Args:
            num_pids: Identities to train on.
            classes: (dataset, pid) of every label; empty where only shapes are looked at.

        Raises:
            ReidError: Branches, losses and classifiers do not fit together.
        """
        params = self.params
        model = build_model(params, num_pids, self.side_values, restored=self.restored)
        losses = build_losses(params, model)
        names = numbered_names(params.objective)
        objectives = [
            NamedObjective(name, entry, self._objective(entry, name, model, losses, classes))
            for name, entry in zip(names, params.objective, strict=True)
        ]
        if params.train.fine_tune:
            model.freeze_backbone()
        return TrainingModule(model, losses, objectives)

    def relabel(self, module: TrainingModule, change: Relabelling, classes: Classes) -> None:
        """Build anew what identities make; a part with ``set_classes`` is told and kept.

        Classifiers are always new. Losses and objectives whose ``build`` asks for ``num_pids`` or
        ``classes`` are new; all else stays as it is.

        Raises:
            ReidError: A head was built with ``num_pids`` and has no ``set_classes``.
        """
        model, losses = module.model, module.losses
        for entry, head in zip(self.params.head, model.heads, strict=True):
            _follow(head, entry, change, partial(_cannot_follow, entry))
        model.num_pids = change.num_pids
        model.classifier = Classifiers()
        add_classifiers(self.params, model)
        for term in cast(list[LossTerm], list(losses.terms)):
            term.set_losses(
                _follow(
                    loss, term.entry, change, partial(built_loss, term.entry, spec, change.num_pids)
                )
                for loss, spec in zip(term.losses, term.branches, strict=True)
            )
        renewed = []
        for each in module.named:
            build = partial(self._objective, each.entry, each.name, model, losses, classes)
            objective = _follow(each.objective, each.entry, change, build)
            renewed.append(NamedObjective(each.name, each.entry, objective))
        module.set_objectives(renewed)

    def _objective(
        self,
        entry: ObjectiveEntry,
        name: str,
        model: ReIDModel,
        losses: WeightedLosses,
        classes: Classes,
    ) -> Objective:
        objective: Objective = entry.build(
            name=name,
            losses=losses,
            model=model,
            num_pids=model.num_pids,
            classes=classes,
            stream_classes=self.stream_classes,
            preprocessing=self.preprocessing,
            load_trained=partial(load_trained, catalog=self.catalog),
            build_model=partial(self._another_model, model),
        )
        if not callable(objective):
            raise entry.origin.fault(f"was built as {objective!r}; expected a function of a Step")
        return objective

    def _another_model(self, model: ReIDModel) -> ReIDModel:
        """Build another network like the one that is trained, with random weights."""
        num_pids, values = model.num_pids, self.side_values
        other = build_model(self.params, num_pids, values, restored=self.restored)
        add_classifiers(self.params, other)
        return other


def _follow(part: Part, entry: Entry[Any], change: Relabelling, build: Callable[[], Part]) -> Part:
    """Return the part itself, told of new identities, or the one that takes its place."""
    if callable(told := getattr(part, "set_classes", None)):
        with entry.origin.calling("when it was told of new identities"):
            told(change)
        return part
    if entry.component.takes("num_pids") or entry.component.takes("classes"):
        return build()
    return part


def _cannot_follow(entry: Entry[Any]) -> nn.Module:
    raise ReidError(
        f"{entry.origin} is built for a number of identities and cannot follow new ones; use "
        "another head, or its plugin must define set_classes(relabelling)"
    )

"""Build the parts of a training run from params, and check them before the first image."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import cast

import numpy as np
import torch

from reid_core.catalog import Catalog
from reid_core.component import DistanceComponent, LossComponent
from reid_core.contracts import Batch, BatchSampler, Classes, Preprocessing, Progress, Schedule
from reid_core.data.images import EpochBatches, Loader, Pipeline, TrainingImages, training_loader
from reid_core.data.preprocessing import MeasuredPreprocessing
from reid_core.errors import ReidError, name_list
from reid_core.network.model import build_model
from reid_core.network.trained_model import load_trained
from reid_core.params.schema import LossWarmup, RunParams, numbered_names
from reid_core.params.validation import build
from reid_core.training.freezing import Freezing
from reid_core.training.loop import Training, TrainingModule, TrainState
from reid_core.training.parameter_groups import (
    GroupSettings,
    Named,
    build_optimizer,
    group_table,
    parameter_groups,
)
from reid_core.training.weighted_losses import WeightedLosses, build_losses


@dataclass(frozen=True)
class Parts:
    """What a run trains with; see ``Training`` for the meaning of each."""

    module: TrainingModule
    losses: WeightedLosses
    groups: dict[GroupSettings, list[Named]]
    optimizer: torch.optim.Optimizer
    schedule: Schedule
    loader: Loader[Batch]
    batches: EpochBatches
    device: torch.device
    state: TrainState
    start: Progress
    classes: Classes
    images_per_step: int
    freezing: Freezing
    loss_warmup: LossWarmup | None

    def training(
        self,
        report: Callable[..., None] = lambda *_: None,
        after_step: Callable[[], None] = lambda: None,
    ) -> Training:
        """Return the parts as the loop takes them."""
        return Training(
            module=self.module,
            optimizer=self.optimizer,
            schedule=self.schedule,
            loader=self.loader,
            batches=self.batches,
            device=self.device,
            state=self.state,
            start=self.start,
            report=report,
            after_step=after_step,
            freezing=self.freezing,
            loss_warmup=self.loss_warmup,
        )


def build_module(
    params: RunParams,
    catalog: Catalog,
    num_pids: int,
    *,
    classes: Classes = (),
    preprocessing: Preprocessing | None = None,
) -> tuple[TrainingModule, WeightedLosses]:
    """Build model, losses and objectives.

    Args:
        params: Resolved params.
        catalog: Offers the components.
        num_pids: Identities to train on.
        classes: (dataset, pid) of every label; empty and without ``preprocessing`` where only
            shapes are looked at.
        preprocessing: How the images of the batches are prepared.

    Raises:
        ReidError: Branches, losses and classifiers do not fit together.
    """
    model = build_model(params, catalog, num_pids)
    losses = build_losses(params, catalog, model)
    objectives = [
        build(
            catalog,
            "objective",
            entry,
            name=name,
            losses=losses,
            model=model,
            num_pids=num_pids,
            classes=classes,
            preprocessing=preprocessing,
            load_trained=partial(load_trained, catalog=catalog),
        )
        for name, entry in zip(numbered_names(params.objective), params.objective, strict=True)
    ]
    if params.train.fine_tune:
        model.freeze_backbone()
    return TrainingModule(model, objectives), losses


def build_parts(
    params: RunParams, catalog: Catalog, images: TrainingImages, device: torch.device
) -> Parts:
    """Build everything that a training needs.

    Raises:
        ReidError: The sampler cannot serve the identities, or parts do not fit together.
    """
    batches = EpochBatches(_sampler(params, catalog, images))
    module, losses = build_module(
        params,
        catalog,
        len(images.classes),
        classes=images.classes,
        preprocessing=MeasuredPreprocessing.of(params.augmentation, catalog),
    )
    images_per_step = _check_batches(batches, images, losses)
    module.to(device)
    groups = parameter_groups(params.optimizer, module.named_parameters())
    train = params.train
    freezing = Freezing(train.freeze, module)
    freezing.set_epoch(0)  # for the table of groups
    return Parts(
        module=module,
        losses=losses,
        groups=groups,
        optimizer=build_optimizer(params.optimizer, groups),
        schedule=build(catalog, "schedule", params.schedule),
        loader=training_loader(
            images,
            Pipeline(catalog, params.augmentation, training=True),
            batches,
            seed=train.seed,
            workers=params.data.workers,
        ),
        batches=batches,
        device=device,
        state=TrainState(),
        start=Progress(
            epoch=0, epochs=train.epochs, step=0, steps_per_epoch=len(batches), seed=train.seed
        ),
        classes=images.classes,
        images_per_step=images_per_step,
        freezing=freezing,
        loss_warmup=train.loss_warmup,
    )


def check_on_meta(params: RunParams, catalog: Catalog) -> None:
    """Build the whole training on shapes alone, without data: no weight is read or drawn.

    Raises:
        ReidError: The input size does not suit the backbone or a head, a loss names a
            branch that is not there, an optimizer rule matches nothing, or the optimizer's
            options do not go together.
    """
    height, width = Pipeline(catalog, params.augmentation, training=False).input_size()
    with torch.device("meta"):
        module, _ = build_module(params, catalog, num_pids=2)
        module.eval()
        Freezing(params.train.freeze, module)
        output = module.model(torch.empty(2, 3, height, width))
    _check_values(params, catalog, output.aux)
    build_optimizer(params.optimizer, parameter_groups(params.optimizer, module.named_parameters()))
    for spec in module.model.branches:
        shape = tuple(output.branches[spec.name].embedding.shape)
        if shape != (2, spec.dim):
            raise ReidError(
                f"head: branch '{spec.name}' declares {spec.dim} values and gives {shape[1:]}"
            )


def _check_values(params: RunParams, catalog: Catalog, given: Iterable[str]) -> None:
    """Raise ReidError if a loss or a distance reads a value that no head gives."""
    reads: dict[tuple[str, str], Iterable[str]] = {}
    for i, entry in enumerate(params.loss):
        loss = cast(LossComponent, catalog.component("loss", entry.name))
        reads[f"loss.{i}", entry.name] = loss.reads(loss.params.model_validate(entry.params))
    for i, evaluation in enumerate(params.evaluation):
        if evaluation.distance:
            distance = catalog.component("distance", evaluation.distance.name)
            at = f"evaluation.{i}.distance", evaluation.distance.name
            reads[at] = cast(DistanceComponent, distance).aux
    for (place, name), values in reads.items():
        if missing := sorted(set(values) - set(given)):
            raise ReidError(
                f"{place}: '{name}' needs the value '{missing[0]}' of a head (the heads give "
                f"{name_list(given)}); use a head that gives it, without an 'alias'"
            )


def describe(params: RunParams, parts: Parts, images: TrainingImages) -> list[str]:
    """Return what is about to be trained, as lines: data, model, parameter groups."""
    model = parts.module.model
    used = ", ".join(f"{name} {version}" for name, version in params.plugins.items())
    cameras = len(np.unique(images.camids[images.camids >= 0]))
    return [
        f"plugins: {used}",
        f"data: {len(images)} images, {len(images.classes)} identities, {cameras} cameras; "
        f"{len(parts.batches)} steps of {parts.images_per_step} images an epoch",
        f"model: {params.backbone.name}, embedding of {model.embedding_dim}, branches "
        + ", ".join(f"{s.name} ({s.dim})" for s in model.branches),
        *group_table(parts.groups),
        *parts.freezing.lines(),
    ]


def _sampler(params: RunParams, catalog: Catalog, images: TrainingImages) -> BatchSampler:
    sampler: BatchSampler = build(
        catalog,
        "sampler",
        params.sampler,
        labels=images.labels,
        camids=images.camids,
        sources=images.sources,
        seed=params.train.seed,
        rank=0,
        world_size=1,
    )
    return sampler


def _check_batches(batches: EpochBatches, images: TrainingImages, losses: WeightedLosses) -> int:
    """Look at the first batch: return its size, and refuse one that a loss can learn nothing from.

    Raises:
        ReidError: There is no batch, or a loss needs pairs and the batch has a single identity,
            or none with two different images.
    """
    batches.set(0, 0)
    first = next(iter(batches), None)
    if first is None:
        raise ReidError(
            f"sampler: {len(images)} images make no batch; lower the batch size or P and K"
        )
    # A sampler may repeat an image; with itself it makes no pair.
    labels = images.labels[np.unique([index for _, index in first])]
    identities = len(np.unique(labels))
    if losses.needs_pairs and identities == len(labels):
        raise ReidError(
            f"loss: {', '.join(losses.needs_pairs)} compares different images of one identity, and "
            f"no identity has two of the first batch's {len(labels)}; use the sampler "
            "'class_balanced' with K >= 2 and data with several images of an identity"
        )
    if losses.needs_pairs and identities == 1:
        raise ReidError(
            f"loss: {', '.join(losses.needs_pairs)} compares images of different identities, and "
            f"the first batch has one identity; use the sampler 'class_balanced' with P >= 2 and "
            "data with several identities"
        )
    return len(first)

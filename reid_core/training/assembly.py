"""Build the parts of a training run from params, and check them before the first image."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import numpy as np
import torch

from reid_core.catalog import Catalog
from reid_core.component import declared
from reid_core.contracts import Classes, Preprocessing
from reid_core.data.epoch_batches import EpochBatches, epoch_batches
from reid_core.data.measured_preprocessing import MeasuredPreprocessing
from reid_core.data.pipeline_checks import check_training_size
from reid_core.data.training_images import TrainingImages
from reid_core.data.training_loader import training_loader
from reid_core.data.transforms import Pipeline
from reid_core.errors import ReidError, name_list
from reid_core.network.model import build_model
from reid_core.network.trained_model import load_trained
from reid_core.params.entries import numbered_names
from reid_core.params.schema import RunParams
from reid_core.training.freezing import Freezing
from reid_core.training.loop import Training, TrainingModule, TrainState
from reid_core.training.parameter_groups import build_optimizer, group_table, parameter_groups
from reid_core.training.weighted_losses import WeightedLosses, build_losses


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
    model = build_model(params, num_pids)
    losses = build_losses(params, model)
    objectives = [
        entry.build(
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


def build_training(
    params: RunParams, catalog: Catalog, images: TrainingImages, device: torch.device
) -> Training:
    """Build everything that a training needs; it stands before its first step.

    Raises:
        ReidError: The sampler cannot serve the identities, or parts do not fit together.
    """
    images.check_identities()
    batches = epoch_batches(params.sampler, images, seed=params.train.seed)
    module, losses = build_module(
        params,
        catalog,
        len(images.classes),
        classes=images.classes,
        preprocessing=MeasuredPreprocessing.of(params.augmentation),
    )
    images_per_step = _check_batches(batches, images, losses)
    module.to(device)
    groups = parameter_groups(params.optimizer, module.named_parameters())
    freezing = Freezing(params.train.freeze, module)
    freezing.set_epoch(0)  # for the table of groups
    return Training(
        params=params,
        module=module,
        groups=groups,
        optimizer=build_optimizer(params.optimizer, groups),
        schedule=params.schedule.build(),
        loader=training_loader(
            images,
            Pipeline(params.augmentation, training=True),
            batches,
            seed=params.train.seed,
            workers=params.data.workers,
        ),
        batches=batches,
        device=device,
        freezing=freezing,
        classes=images.classes,
        data_hashes=images.content_hashes(),
        images_per_step=images_per_step,
        state=TrainState(),
    )


def check_on_meta(params: RunParams, catalog: Catalog) -> None:
    """Build the whole training on shapes alone, without data: no weight is read or drawn.

    Raises:
        ReidError: The input size does not suit the backbone or a head, a loss names a
            branch that is not there, an optimizer rule matches nothing, or the optimizer's
            options do not go together.
    """
    height, width = Pipeline(params.augmentation, training=False).input_size()
    check_training_size(params.augmentation, (height, width))
    with torch.device("meta"):
        module, _ = build_module(params, catalog, num_pids=2)
        module.eval()
        Freezing(params.train.freeze, module)
        output = module.model(torch.empty(2, 3, height, width))
    _check_values(params, output.aux)
    build_optimizer(params.optimizer, parameter_groups(params.optimizer, module.named_parameters()))
    for spec in module.model.branches:
        shape = tuple(output.branches[spec.name].embedding.shape)
        if shape != (2, spec.dim):
            raise ReidError(
                f"head: branch '{spec.name}' declares {spec.dim} values and gives {shape[1:]}"
            )


def _check_values(params: RunParams, given: Iterable[str]) -> None:
    """Raise ReidError if a loss or a distance reads a value that no head gives."""
    reads: dict[tuple[str, str], Iterable[str]] = {}
    for i, entry in enumerate(params.loss):
        reads[f"loss.{i}", entry.bare_name] = declared(entry.component.reads, entry.params)
    for i, evaluation in enumerate(params.evaluation):
        if evaluation.distance:
            at = f"evaluation.{i}.distance", evaluation.distance.bare_name
            reads[at] = declared(evaluation.distance.component.aux, evaluation.distance.params)
    for (place, name), values in reads.items():
        if missing := sorted(set(values) - set(given)):
            raise ReidError(
                f"{place}: '{name}' needs the value '{missing[0]}' of a head (the heads give "
                f"{name_list(given)}); use a head that gives it, without an 'alias'"
            )


def describe(training: Training, images: TrainingImages) -> list[str]:
    """Return what is about to be trained, as lines: data, model, parameter groups."""
    params, model = training.params, training.module.model
    used = ", ".join(f"{name} {version}" for name, version in params.plugins.items())
    cameras = len(np.unique(images.camids[images.camids >= 0]))
    return [
        f"plugins: {used}",
        f"data: {len(images)} images, {len(images.classes)} identities, {cameras} cameras; "
        f"{len(training.batches)} steps of {training.images_per_step} images an epoch",
        f"model: {params.backbone.bare_name}, embedding of {model.embedding_dim}, branches "
        + ", ".join(f"{s.name} ({s.dim})" for s in model.branches),
        *group_table(training.groups),
        *training.freezing.lines(),
    ]


def _check_batches(batches: EpochBatches, images: TrainingImages, losses: WeightedLosses) -> int:
    """Look at the first batch: return its size, and refuse one that a loss can learn nothing from.

    Raises:
        ReidError: A loss needs pairs, and the batch has a single identity or none with two
            different images.
    """
    batches.set(0, 0)
    first = next(iter(batches))
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

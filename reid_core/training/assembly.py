"""Build the parts of a training run from params, and check them before the first image."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch

from reid_core.catalog import Catalog
from reid_core.component import LossComponent, ObjectiveComponent
from reid_core.compute.faults import computing
from reid_core.contracts import SideValues
from reid_core.data.column_codes import ColumnCodes
from reid_core.data.epoch_batches import EpochBatches, epoch_batches
from reid_core.data.measured_preprocessing import MeasuredPreprocessing
from reid_core.data.pipeline_checks import (
    check_can_be_sent,
    check_extras,
    check_repeatable,
    check_training_size,
)
from reid_core.data.streams import Streams
from reid_core.data.training_images import TrainingImages
from reid_core.data.training_loader import TrainingLoader, training_loader
from reid_core.data.transforms import Pipeline
from reid_core.errors import ReidError, name_list
from reid_core.network.side import side_columns, values_for_shapes
from reid_core.network.trial_runs import run_on_shapes
from reid_core.params.entries import Entry
from reid_core.params.schema import RunParams
from reid_core.storage.dataset_stores import Stores
from reid_core.training.build_module import ModuleBuilder
from reid_core.training.freezing import Freezing
from reid_core.training.memory import check_memory
from reid_core.training.module import TrainingModule
from reid_core.training.parameter_groups import build_optimizer, group_table, parameter_groups
from reid_core.training.small_batches import check_small_batches, try_sampler
from reid_core.training.state import Training, TrainState
from reid_core.training.steps import StepsOfEpoch, check_first_batch
from reid_core.training.trials import try_losses, try_schedule


def build_training(
    params: RunParams,
    catalog: Catalog,
    images: TrainingImages,
    stores: Stores,
    device: torch.device,
    *,
    restored: bool = False,
) -> Training:
    """Build everything that a training needs; it stands before its first step.

    Args:
        params: Resolved params.
        catalog: Offers the components of trained models that an objective opens.
        images: What is trained on.
        stores: Open the data of streams.
        device: Where to train.
        restored: All weights will come from a checkpoint.

    Raises:
        ReidError: The sampler cannot serve the identities, data lack what a part reads, or parts
            do not fit together.
    """
    columns, extras = _read_of_images(params)
    check_extras(params.augmentation, images.masks(extras))
    if params.data.workers:
        for training in (True, False):
            check_can_be_sent(Pipeline(params.augmentation, training=training))
    codes = ColumnCodes.of(images, columns)
    batches = _batches(params, images)
    preprocessing = MeasuredPreprocessing.of(params.augmentation)
    streams = Streams.of(params, stores, codes, extras)
    values = _side_values(params, codes)
    builder = ModuleBuilder(
        params, catalog, preprocessing, values, streams.classes(), restored=restored
    )
    # Without identities there is nobody to classify; a callback makes them up in time.
    with computing(f"building the network for {len(images.classes)} identities"):
        module = builder.module(max(2, len(images.classes)), images.classes)
        module.to(device)
    steps = StepsOfEpoch(batches, params.train.steps_per_epoch or len(batches or ()))
    images_per_step = 0
    if batches:
        images_per_step = check_first_batch(batches, images.labels, module.losses)
        check_small_batches(params, batches)
        size = Pipeline(params.augmentation, training=False).input_size()
        check_memory(module, images_per_step, size, device)
    groups = parameter_groups(params.optimizer, module.trained_parameters())
    freezing = Freezing(params.train.freeze, module)
    freezing.set_epoch(0)  # for the table of groups
    return Training(
        params=params,
        module=module,
        groups=groups,
        optimizer=build_optimizer(params.optimizer, groups),
        schedule=params.schedule.build(),
        loader=_loader(params, images, steps, codes, extras),
        streams=streams,
        batches=steps,
        device=device,
        freezing=freezing,
        images=images,
        classes=images.classes,
        labels=images.labels,
        images_per_step=images_per_step,
        state=TrainState(),
        builder=builder,
    )


def _loader(
    params: RunParams,
    images: TrainingImages,
    steps: StepsOfEpoch,
    codes: ColumnCodes,
    extras: Sequence[str],
) -> TrainingLoader:
    return training_loader(
        images,
        Pipeline(params.augmentation, training=True),
        steps,
        seed=params.train.seed,
        workers=params.data.workers,
        columns=codes.of_images(images),
        extras=extras,
    )


def _read_of_images(params: RunParams) -> tuple[list[str], list[str]]:
    """Return the columns and the extras that losses, objectives and the backbone read."""
    columns, extras = list(side_columns(params.backbone)), list[str]()
    readers: list[Entry[LossComponent] | Entry[ObjectiveComponent]] = [
        *params.loss,
        *params.objective,
    ]
    for entry in readers:
        columns += entry.names("columns")
        extras += entry.names("extras")
    return list(dict.fromkeys(columns)), list(dict.fromkeys(extras))


def _side_values(params: RunParams, codes: ColumnCodes) -> SideValues:
    """Return the values that the training images have of the columns the backbone looks at.

    Raises:
        ReidError: None of them has a value.
    """
    found = {name: codes.values[name] for name in side_columns(params.backbone)}
    for name, values in found.items():
        if not values:
            raise ReidError(
                f"backbone: '{params.backbone.bare_name}' looks at '{name}', which is not known of "
                "any training image; use data that have it, or another backbone"
            )
    return found


def _batches(params: RunParams, images: TrainingImages) -> EpochBatches | None:
    """Return the batches of the images that have an identity; None before a callback names them.

    Raises:
        ReidError: No image has an identity, and the length of an epoch or a callback is missing.
    """
    if len(images.classes) < 2:
        if not params.callback:
            images.check_identities()
        if params.train.steps_per_epoch is None:
            raise ReidError(
                "train.steps_per_epoch: needed where a callback names the identities, because "
                "nothing else says how long an epoch is"
            )
        return None
    known = np.flatnonzero(images.labels >= 0)
    indices = None if len(known) == len(images) else known
    return epoch_batches(params.sampler, images, seed=params.train.seed, indices=indices)


def check_on_meta(params: RunParams, catalog: Catalog) -> None:
    """Build the whole training on shapes alone, without data: no weight is read or drawn.

    Raises:
        ReidError: The input size does not suit the backbone or a head, one of them fails or does
            not give what it has declared, a loss names a branch that is not there, an optimizer
            rule matches nothing, or the optimizer's options do not go together.
    """
    size = Pipeline(params.augmentation, training=False).input_size()
    check_training_size(params.augmentation, size)
    check_repeatable(params.augmentation)
    side_values = values_for_shapes(params.backbone)
    with torch.device("meta"):
        builder = ModuleBuilder(params, catalog, None, side_values)
        module = builder.module(num_pids=2)
        module.eval()
        Freezing(params.train.freeze, module)
        _check_states(module)
        with computing(f"images of {size[0]} x {size[1]} pixels"):
            output = run_on_shapes(module.model, size)
        try_sampler(params, module.model)
    _check_values(params, output.aux)
    try_losses(params, module.model.branches, output.aux)
    try_schedule(params)
    groups = parameter_groups(params.optimizer, module.trained_parameters())
    build_optimizer(params.optimizer, groups)


def _check_states(module: TrainingModule) -> None:
    """Raise ReidError if a part has a state that no checkpoint can be read back with."""
    for part, origin in module.roots():
        if not isinstance(part, torch.nn.Module):
            continue
        with origin.calling("when its state was asked for"):
            state = part.state_dict()
        for name, value in state.items():
            if not isinstance(value, torch.Tensor):
                raise origin.fault(
                    f"keeps a {type(value).__name__} as '{name}' in its state; expected tensors, "
                    "such as buffers"
                )


def _check_values(params: RunParams, given: Iterable[str]) -> None:
    """Raise ReidError if a loss or a distance reads a value that no head gives."""
    reads: dict[tuple[str, str], Iterable[str]] = {}
    for i, entry in enumerate(params.loss):
        reads[f"loss.{i}", entry.bare_name] = entry.names("reads")
    for i, evaluation in enumerate(params.evaluation):
        if evaluation.distance:
            at = f"evaluation.{i}.distance", evaluation.distance.bare_name
            reads[at] = evaluation.distance.names("aux")
    for (place, name), values in reads.items():
        if missing := sorted(set(values) - set(given)):
            raise ReidError(
                f"{place}: '{name}' needs the value '{missing[0]}' of a head (the heads give "
                f"{name_list(given)}); use a head that gives it, without an 'alias'"
            )


NAMELESS = "they are left out until a callback gives them one"
"""What becomes of training images without identity, for people."""


def describe(training: Training) -> list[str]:
    """Return what is about to be trained, as lines: data, streams, model, parameter groups."""
    params, model, images = training.params, training.module.model, training.images
    used = ", ".join(f"{name} {version}" for name, version in params.plugins.items())
    nameless = int((images.labels < 0).sum())
    cameras = len(np.unique(images.camids[images.camids >= 0]))
    # 0 before a callback has named any identity: nobody knows yet what a batch will hold.
    size = f" of {training.images_per_step} images" if training.images_per_step else ""
    return [
        f"plugins: {used}",
        f"data: {len(images)} images, {len(images.classes)} identities, {cameras} cameras; "
        f"{len(training.batches)} steps{size} an epoch",
        *([f"data: {nameless} of these images have no identity; {NAMELESS}"] if nameless else []),
        *training.streams.lines(),
        f"model: {params.backbone.bare_name}, embedding of {model.embedding_dim}, branches "
        + ", ".join(f"{s.name} ({s.dim})" for s in model.branches),
        *group_table(training.groups),
        *training.freezing.lines(),
    ]

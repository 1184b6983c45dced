"""Batches of one image, which most networks cannot train on: a batch norm needs two values."""

from __future__ import annotations

import numpy as np
import torch

from reid_core.contracts import BatchSampler
from reid_core.data.epoch_batches import EpochBatches
from reid_core.data.transforms import Pipeline
from reid_core.declared_values import Declared
from reid_core.errors import ReidError
from reid_core.network.model import ReIDModel, build_model
from reid_core.network.side import values_for_shapes
from reid_core.params.entries import SamplerEntry
from reid_core.params.schema import RunParams

PEOPLE, IMAGES_EACH = 64, 16
"""Made-up data that a sampler is tried on."""


def check_small_batches(params: RunParams, batches: EpochBatches) -> None:
    """Look at the sizes of the batches of the first epoch.

    Args:
        params: Resolved params.
        batches: Of the sampler over the training images.

    Raises:
        ReidError: One has a single image, and the network cannot train on it.
    """
    batches.set(0, 0)
    sizes = [len(keys) for keys in batches]
    if 1 not in sizes:
        return
    with torch.device("meta"):
        model = build_model(params, 2, values_for_shapes(params.backbone))
        if params.train.fine_tune:
            model.freeze_backbone()
    place = f"batch {sizes.index(1) + 1} of the {len(sizes)} of an epoch"
    _refuse(params, model, place)


def try_sampler(params: RunParams, model: ReIDModel) -> None:
    """Look at the first batch that the sampler makes of made-up images, before there is any data.

    Args:
        params: Resolved params.
        model: The network on the meta device; its mode is left as it was.

    Raises:
        ReidError: It has a single image, and the network cannot train on it.
    """
    try:
        sampler = _on_made_up_images(params.sampler)
        first = next(iter(sampler))
    except Exception:
        return  # made-up images do not suit it; the real ones will tell
    if isinstance(first, list) and len(first) == 1:
        _refuse(params, model, "a batch")


def _refuse(params: RunParams, model: ReIDModel, place: str) -> None:
    """Raise ReidError if the network cannot train on one image."""
    with torch.device("cpu"):
        size = Pipeline(params.augmentation, training=False).input_size()
    was_training = model.training
    model.train()
    try:
        model.head_outputs(model.feature_map(torch.empty(1, 3, *size, device="meta")))
    except ReidError as error:
        entry = params.sampler
        keys = ", ".join(f"sampler.params.{key}" for key in type(entry.params).model_fields)
        raise ReidError(
            f"sampler: '{entry.bare_name}' makes {place} of one image, which this network cannot "
            f"train on: {_reason(error)}. Let every batch have two images or more ({keys})"
        ) from error
    finally:
        model.train(was_training)


def _reason(error: ReidError) -> str:
    """Return why a network refuses one image, without torch's words where they are known."""
    origin = getattr(error, "origin", None)
    if "more than 1 value per channel" in str(error) and origin is not None:
        return f"the batch norm of {origin} needs more than one value"
    return str(error)


def _on_made_up_images(entry: SamplerEntry) -> BatchSampler:
    """Build a sampler over many images of many people under eight cameras."""
    labels = np.arange(PEOPLE * IMAGES_EACH) // IMAGES_EACH
    names = entry.names("columns")
    columns = {name: np.arange(len(labels)) % 8 for name in names}
    sampler: BatchSampler = entry.build(
        labels=labels,
        camids=np.arange(len(labels)) % 8,
        sources=np.zeros(len(labels), np.int64),
        columns=Declared(columns, names, "columns", "SamplerComponent"),
        seed=0,
        rank=0,
        world_size=1,
    )
    sampler.set_epoch(0)
    return sampler

"""What a training must know of its image operations before the first image."""

from __future__ import annotations

import pickle
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image

from reid_core.data.transforms import Pipeline, Size
from reid_core.errors import ReidError
from reid_core.params.entries import AugmentationEntry


def check_extras(
    entries: Sequence[AugmentationEntry], names: Sequence[str], place: str = "augmentation"
) -> None:
    """Refuse operations that do not say what they do to masks, where masks are read in training.

    Args:
        entries: An ``augmentation`` section.
        names: Of the masks that are read.
        place: Where the section stands in the params.

    Raises:
        ReidError: Names the operation and what it must declare.
    """
    for entry in entries:
        if names and entry.component.use != "test" and entry.component.extras is None:
            raise ReidError(
                f"{place}: '{names[0]}' is read beside the images, and {entry.offer} does not say "
                "whether it moves pixels; take it out, or its plugin must declare extras 'moves' "
                "or 'keeps'"
            )


def check_training_size(
    entries: Sequence[AugmentationEntry], size: Size, place: str = "augmentation"
) -> None:
    """Refuse a training whose images are not of the size that evaluation has.

    Args:
        entries: An ``augmentation`` section.
        size: (height, width) of the evaluation's images.
        place: Where the section stands in the params.

    Raises:
        ReidError: Names both sizes and, where one is to blame, the operation.
    """
    pipeline = Pipeline(entries, training=True)
    sizes = pipeline.sizes()
    if sizes[-1] == size:
        return
    changes = [
        operation.origin
        for operation, before, after in zip(pipeline.operations, sizes, sizes[1:], strict=False)
        if operation.use == "train" and before != after
    ]
    cause = f"{changes[-1]} changes their size; " if changes else ""
    raise ReidError(
        f"{place}: images of the training are {sizes[-1][0]} x {sizes[-1][1]} pixels high and "
        f"wide, those of evaluation {size[0]} x {size[1]}; {cause}both must be the same: "
        "resize in both alike, and let no augmentation change the size"
    )


TRIES = 4
"""Generators that an operation is tried with: it may act on some images alone."""


def check_repeatable(entries: Sequence[AugmentationEntry]) -> None:
    """Refuse operations whose result depends on more than the image and its generator.

    A run that is resumed would go on with other images; preprocessing that draws would give
    an image other features in every evaluation.

    Args:
        entries: An ``augmentation`` section.

    Raises:
        PluginError: One gives two results for one input, or is preprocessing and draws.
    """
    pixels = np.random.default_rng(0).integers(0, 256, (128, 64, 3), dtype=np.uint8)
    picture = Image.fromarray(pixels)
    for training in (True, False):
        pipeline = Pipeline(entries, training=training)
        for count, operation in enumerate(pipeline.operations, 1):
            beginning = pipeline.first(count)
            seen = [
                beginning(picture.copy(), np.random.default_rng(seed))
                for seed in (*range(TRIES), *range(TRIES))
            ]
            if not all(map(torch.equal, seen[:TRIES], seen[TRIES:])):
                raise operation.origin.fault(
                    "gives another image for the same image and the same generator; expected one "
                    "that depends on these alone"
                )
            if not training and not all(torch.equal(image, seen[0]) for image in seen):
                raise operation.origin.fault(
                    "gives another image for another generator; it is preprocessing, as its "
                    "component says by use, and must leave the generator alone"
                )


def check_can_be_sent(pipeline: Pipeline) -> None:
    """Refuse operations that loader processes cannot receive.

    Raises:
        PluginError: One does not survive pickling.
    """
    for operation in pipeline.operations:
        try:
            pickle.dumps(operation.apply)
        except Exception as error:  # of any kind, since objects pickle themselves
            text = " ".join(str(error).split())
            raise operation.origin.fault(
                f"cannot be sent to loader processes ({type(error).__name__}: {text}); expected "
                "what pickle takes, such as a partial of a function of the module"
            ) from error

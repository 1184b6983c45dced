"""What a training must know of its image operations before the first image."""

from __future__ import annotations

from collections.abc import Sequence

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
        operation.origin.name
        for operation, before, after in zip(pipeline.operations, sizes, sizes[1:], strict=False)
        if operation.use == "train" and before != after
    ]
    cause = f"'{changes[-1]}' changes their size; " if changes else ""
    raise ReidError(
        f"{place}: images of the training are {sizes[-1][0]} x {sizes[-1][1]} pixels high and "
        f"wide, those of evaluation {size[0]} x {size[1]}; {cause}both must be the same: "
        "resize in both alike, and let no augmentation change the size"
    )

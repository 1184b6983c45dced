"""Shift the image at random: pad with black on all sides, cut the old size out again.

It makes up for detectors that do not centre the person. The size stays as it was, so the
operation can stand before or after ``resize``; usually it stands after, in pixels of the input.
Masks are shifted too, and 0 comes in.

Reference: Luo et al., "Bag of Tricks and A Strong Baseline for Deep Person
Re-identification", arXiv:1903.07071, section 2 (10 pixels).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from reid_core import AugmentationComponent, Params, hookimpl
from reid_core.contracts import Augmentation, Sample
from reid_core.limits import LARGEST_SIDE

if TYPE_CHECKING:
    import numpy as np

Pixels = Annotated[int, Field(ge=0, le=LARGEST_SIDE)]


class PadCropParams(Params):
    """Params of the augmentation ``pad_crop``."""

    padding: Pixels | Annotated[list[Pixels], Field(min_length=2, max_length=2)] = Field(
        default=10,
        description="Black border in pixels, which is the largest shift (>= 0): one number, or "
        "[above and below, left and right].",
    )


def pad_crop(sample: Sample, rng: np.random.Generator, *, padding: tuple[int, int]) -> Sample:
    """Return the image shifted by up to ``padding`` (vertical, horizontal) pixels, uniformly."""
    vertical, horizontal = padding
    top = int(rng.integers(-vertical, vertical, endpoint=True))
    left = int(rng.integers(-horizontal, horizontal, endpoint=True))
    # Pillow fills what lies outside the image with 0, so the padded image is never made.
    box = (left, top, left + sample.image.width, top + sample.image.height)
    masks = {name: mask.crop(box) for name, mask in sample.masks.items()}
    return Sample(sample.image.crop(box), masks)


def build(params: PadCropParams) -> Augmentation:
    """Return ``callable(sample, rng)``."""
    both = params.padding
    padding = (both, both) if isinstance(both, int) else (both[0], both[1])
    return partial(pad_crop, padding=padding)


@hookimpl
def reid_augmentation() -> list[AugmentationComponent]:
    """Offer ``pad_crop``."""
    return [
        AugmentationComponent(
            name="pad_crop",
            params=PadCropParams,
            build=build,
            stage="pil",
            extras="moves",
            summary="Pad with black, crop the old size at a random place",
            reference="arXiv:1903.07071",
        )
    ]

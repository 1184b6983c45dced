"""Shift the image at random: pad with black on all sides, cut the old size out again.

It makes up for detectors that do not centre the person. The size stays as it was, so the
operation can stand before or after ``resize``; usually it stands after, in pixels of the input.
Reference: H. Luo et al., Bag of Tricks and A Strong Baseline for Deep Person
Re-identification, arXiv:1903.07071, section 2 (10 pixels).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from pydantic import Field

from reid_core import AugmentationComponent, Params, hookimpl

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from PIL.Image import Image


class PadCropParams(Params):
    """Params of the augmentation ``pad_crop``."""

    padding: int = Field(
        default=10, ge=0, description="Black border in pixels, which is the largest shift (>= 0)."
    )


def pad_crop(image: Image, rng: np.random.Generator, *, padding: int) -> Image:
    """Return the image shifted by up to ``padding`` pixels each way, uniformly."""
    left, top = rng.integers(-padding, padding, size=2, endpoint=True).tolist()
    # Pillow fills what lies outside the image with 0, so the padded image is never made.
    return image.crop((left, top, left + image.width, top + image.height))


def build(params: PadCropParams) -> Callable[[Image, np.random.Generator], Image]:
    """Return ``callable(image, rng)``."""
    return partial(pad_crop, padding=params.padding)


@hookimpl
def reid_augmentation() -> list[AugmentationComponent]:
    """Offer ``pad_crop``."""
    return [
        AugmentationComponent(
            name="pad_crop",
            params=PadCropParams,
            build=build,
            stage="pil",
            summary="pad with black, crop the old size at a random place",
            reference="arXiv:1903.07071",
        )
    ]

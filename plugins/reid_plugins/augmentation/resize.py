"""Resize to the size of the network's input.

The whole image is stretched; people are cropped to their box already, so the aspect ratio
changes little. Pillow averages over all source pixels when it shrinks (antialiasing), with
either interpolation; there is no way to switch that off. Masks take the nearest pixel.

Reference: Luo et al., "Bag of Tricks and A Strong Baseline for Deep Person
Re-identification", arXiv:1903.07071, section 2 (256 x 128 pixels).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from reid_core import AugmentationComponent, Params, hookimpl
from reid_core.contracts import Augmentation, Sample
from reid_core.limits import LARGEST_SIDE

if TYPE_CHECKING:
    import numpy as np


class ResizeParams(Params):
    """Params of the augmentation ``resize``."""

    height: int = Field(
        default=256, ge=1, le=LARGEST_SIDE, description="Height of the result in pixels (>= 1)."
    )
    width: int = Field(
        default=128, ge=1, le=LARGEST_SIDE, description="Width of the result in pixels (>= 1)."
    )
    interpolation: Literal["bilinear", "bicubic"] = Field(
        default="bilinear", description="Filter; both are antialiased when the image shrinks."
    )


def resize(
    sample: Sample, rng: np.random.Generator | None, *, size: tuple[int, int], interpolation: str
) -> Sample:
    """Return image and masks in ``size`` (width, height), in pixels; ``rng`` is not used."""
    from PIL.Image import Resampling

    return Sample(
        sample.image.resize(size, Resampling[interpolation.upper()]),
        {name: mask.resize(size, Resampling.NEAREST) for name, mask in sample.masks.items()},
    )


def build(params: ResizeParams) -> Augmentation:
    """Return ``callable(sample, rng)``; a partial, so that it can be sent to other processes."""
    size = (params.width, params.height)
    return partial(resize, size=size, interpolation=params.interpolation)


@hookimpl
def reid_augmentation() -> list[AugmentationComponent]:
    """Offer ``resize``."""
    return [
        AugmentationComponent(
            name="resize",
            params=ResizeParams,
            build=build,
            stage="pil",
            use="both",
            extras="moves",
            summary="Resize to height x width, antialiased",
            reference="arXiv:1903.07071",
        )
    ]

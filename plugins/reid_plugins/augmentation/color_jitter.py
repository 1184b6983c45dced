"""Change brightness, contrast, saturation and hue at random.

Cameras differ in light and colour balance; the identity does not. The four changes come in a
random order, with the same arithmetic as torchvision's ``ColorJitter``.

Reference: Krizhevsky et al., "ImageNet Classification with Deep Convolutional Neural Networks",
NIPS 2012, section 4.1 (colour changes that keep the object).
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


class ColorJitterParams(Params):
    """Params of the augmentation ``color_jitter``."""

    p: float = Field(default=1.0, ge=0, le=1, description="Probability of any change, 0 to 1.")
    brightness: float = Field(
        default=0.1, ge=0, description="b: factor from max(0, 1 - b) to 1 + b; 0 is off."
    )
    contrast: float = Field(
        default=0.1, ge=0, description="c: factor from max(0, 1 - c) to 1 + c; 0 is off."
    )
    saturation: float = Field(
        default=0.1, ge=0, description="s: factor from max(0, 1 - s) to 1 + s; 0 is off."
    )
    hue: float = Field(
        default=0.0, ge=0, le=0.5, description="h: shift from -h to h turns of the hue; 0 is off."
    )


def adjust(image: Image, kind: str, value: float) -> Image:
    """Apply one change to an RGB image.

    Args:
        image: RGB.
        kind: ``"brightness"``, ``"contrast"``, ``"saturation"`` (``value`` is a factor, 1
            changes nothing) or ``"hue"`` (``value`` is in turns, 0 changes nothing).
        value: How much.
    """
    from PIL import Image as pil
    from PIL import ImageEnhance

    if kind == "brightness":
        return ImageEnhance.Brightness(image).enhance(value)
    if kind == "contrast":
        return ImageEnhance.Contrast(image).enhance(value)
    if kind == "saturation":
        return ImageEnhance.Color(image).enhance(value)
    hue, saturation, brightness = image.convert("HSV").split()
    shift = int(value * 255)
    hue = hue.point([(level + shift) % 256 for level in range(256)])
    return pil.merge("HSV", (hue, saturation, brightness)).convert("RGB")


def color_jitter(
    image: Image, rng: np.random.Generator, *, p: float, amounts: dict[str, float]
) -> Image:
    """Return the image with every change whose amount is not 0, in random order."""
    if rng.random() >= p:
        return image
    kinds = list(amounts)
    for position in rng.permutation(len(kinds)).tolist():
        kind, amount = kinds[position], amounts[kinds[position]]
        middle = 0.0 if kind == "hue" else 1.0
        lowest = -amount if kind == "hue" else max(0.0, 1.0 - amount)
        image = adjust(image, kind, rng.uniform(lowest, middle + amount))
    return image


def build(params: ColorJitterParams) -> Callable[[Image, np.random.Generator], Image]:
    """Return ``callable(image, rng)``."""
    amounts = {
        "brightness": params.brightness,
        "contrast": params.contrast,
        "saturation": params.saturation,
        "hue": params.hue,
    }
    return partial(color_jitter, p=params.p, amounts={k: v for k, v in amounts.items() if v})


@hookimpl
def reid_augmentation() -> list[AugmentationComponent]:
    """Offer ``color_jitter``."""
    return [
        AugmentationComponent(
            name="color_jitter",
            params=ColorJitterParams,
            build=build,
            stage="pil",
            extras="keeps",
            summary="Random brightness, contrast, saturation and hue",
            reference="Krizhevsky et al., NIPS 2012",
        )
    ]

"""Overwrite a random rectangle, as if something stood before the person.

It works on the tensor and stands where the list puts it. Before ``normalize`` (the default
fits this) the fill is a colour: ``mean`` is ImageNet's mean colour, ``zero`` is black. After
``normalize`` the fill is in units of the standard deviation: there ``zero`` is the mean colour,
``noise`` looks like any image, and ``mean`` gives the value that reid-strong-baseline writes.
Masks become 0 where the image is erased.

Reference: Zhong et al., "Random Erasing Data Augmentation", arXiv:1708.04896, algorithm 1.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, field_validator

from reid_core import AugmentationComponent, Params, hookimpl
from reid_core.contracts import Augmentation, Sample

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

TRIES = 100
"""Rectangles that are drawn before the image is left as it is."""


class RandomErasingParams(Params):
    """Params of the augmentation ``random_erasing``."""

    p: float = Field(default=0.5, ge=0, le=1, description="Probability of erasing, 0 to 1.")
    area: list[Annotated[float, Field(gt=0, le=1)]] = Field(
        default=[0.02, 0.4],
        min_length=2,
        max_length=2,
        description="Smallest and largest share of the image's area, each in (0, 1].",
    )
    aspect: list[Annotated[float, Field(gt=0)]] = Field(
        default=[0.3, 3.33],
        min_length=2,
        max_length=2,
        description="Smallest and largest height / width of the rectangle, each > 0.",
    )
    fill: Literal["mean", "zero", "noise"] = Field(
        default="mean",
        description="Written into the tensor: 'mean' the values of the param mean, 'zero' 0, "
        "'noise' a standard normal number per value.",
    )
    mean: list[Annotated[float, Field(ge=0, le=1)]] = Field(
        default=[0.485, 0.456, 0.406],
        min_length=3,
        max_length=3,
        description="Red, green, blue for fill 'mean', 0 to 1; default: ImageNet.",
    )

    @field_validator("area", "aspect")
    @classmethod
    def _rising(cls, value: list[float]) -> list[float]:
        """Refuse a range whose ends are swapped."""
        if value[0] > value[1]:
            raise ValueError(f"the first number must not be larger than the second, got {value}")
        return value


def erased_box(
    rng: np.random.Generator,
    height: int,
    width: int,
    area: tuple[float, float],
    aspect: tuple[float, float],
) -> tuple[int, int, int, int] | None:
    """Draw (top, left, h, w) in pixels, or None when no rectangle fitted in ``TRIES`` draws."""
    for _ in range(TRIES):
        size = rng.uniform(*area) * height * width
        ratio = rng.uniform(*aspect)
        h, w = round(math.sqrt(size * ratio)), round(math.sqrt(size / ratio))
        if 0 < h < height and 0 < w < width:
            top = int(rng.integers(0, height - h, endpoint=True))
            return top, int(rng.integers(0, width - w, endpoint=True)), h, w
    return None


def random_erasing(
    sample: Sample,
    rng: np.random.Generator,
    *,
    p: float,
    area: tuple[float, float],
    aspect: tuple[float, float],
    fill: Tensor | None,
) -> Sample:
    """Return the image ``(3, H, W)`` with a rectangle overwritten, as a new tensor.

    Args:
        sample: Image and masks ``(H, W)``, not changed.
        rng: Source of randomness.
        p: Probability.
        area: Range of the rectangle's share of the area.
        aspect: Range of its height / width.
        fill: ``(3, 1, 1)`` values to write; None writes standard normal noise.
    """
    if rng.random() >= p:
        return sample
    box = erased_box(rng, sample.image.shape[1], sample.image.shape[2], area, aspect)
    if box is None:
        return sample
    import numpy as np
    import torch

    top, left, h, w = box
    if fill is None:
        fill = torch.from_numpy(rng.standard_normal((3, h, w), dtype=np.float32))
    inside = (..., slice(top, top + h), slice(left, left + w))
    image = sample.image.clone()
    image[inside] = fill
    masks = {name: mask.clone() for name, mask in sample.masks.items()}
    for mask in masks.values():
        mask[inside] = 0
    return Sample(image, masks)


def build(params: RandomErasingParams) -> Augmentation:
    """Return ``callable(sample, rng)``."""
    import torch

    values = {"mean": params.mean, "zero": [0.0, 0.0, 0.0], "noise": None}[params.fill]
    fill = None if values is None else torch.tensor(values, dtype=torch.float32).view(3, 1, 1)
    area, aspect = (params.area[0], params.area[1]), (params.aspect[0], params.aspect[1])
    return partial(random_erasing, p=params.p, area=area, aspect=aspect, fill=fill)


@hookimpl
def reid_augmentation() -> list[AugmentationComponent]:
    """Offer ``random_erasing``."""
    return [
        AugmentationComponent(
            name="random_erasing",
            params=RandomErasingParams,
            build=build,
            stage="tensor",
            extras="moves",
            summary="Overwrite a random rectangle with the mean colour, zero or noise",
            reference="arXiv:1708.04896",
        )
    ]

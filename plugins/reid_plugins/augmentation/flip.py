"""Mirror the image left to right with a probability.

A person seen from the left and from the right is the same person.

Reference: Luo et al., "Bag of Tricks and A Strong Baseline for Deep Person
Re-identification", arXiv:1903.07071, section 2.
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


class FlipParams(Params):
    """Params of the augmentation ``flip``."""

    p: float = Field(default=0.5, ge=0, le=1, description="Probability of a flip, 0 to 1.")


def flip(image: Image, rng: np.random.Generator, *, p: float) -> Image:
    """Return the image, mirrored left to right with probability ``p``."""
    from PIL.Image import Transpose

    return image.transpose(Transpose.FLIP_LEFT_RIGHT) if rng.random() < p else image


def build(params: FlipParams) -> Callable[[Image, np.random.Generator], Image]:
    """Return ``callable(image, rng)``."""
    return partial(flip, p=params.p)


@hookimpl
def reid_augmentation() -> list[AugmentationComponent]:
    """Offer ``flip``."""
    return [
        AugmentationComponent(
            name="flip",
            params=FlipParams,
            build=build,
            stage="pil",
            summary="Mirror left to right with probability p",
            reference="arXiv:1903.07071",
        )
    ]

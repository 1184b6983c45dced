"""Mirror images left to right with a probability.

A person seen from the left and from the right is the same person. It works on whole batches, which
costs less than picture by picture; each image is chosen by a number of its own. Masks are
mirrored with their images.

Reference: Luo et al., "Bag of Tricks and A Strong Baseline for Deep Person
Re-identification", arXiv:1903.07071, section 2.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from pydantic import Field

from reid_core import AugmentationComponent, Params, hookimpl
from reid_core.contracts import Augmentation, Sample

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


class FlipParams(Params):
    """Params of the augmentation ``flip``."""

    p: float = Field(default=0.5, ge=0, le=1, description="Probability of a flip, 0 to 1.")


def mirrored(images: Tensor, chosen: list[int]) -> Tensor:
    """Return images ``(B, ..., W)`` of any type, those chosen mirrored, as a new tensor."""
    result = images.clone()
    result[chosen] = images[chosen].flip(-1)
    return result


def flip(sample: Sample, rngs: list[np.random.Generator], *, p: float) -> Sample:
    """Return the batch, each image and its masks mirrored with probability ``p``.

    Args:
        sample: Images ``(B, 3, H, W)`` of any type and masks ``(B, H, W)``; not changed.
        rngs: A source of randomness for each image.
        p: Probability.
    """
    chosen = [place for place, rng in enumerate(rngs) if rng.random() < p]
    masks = {name: mirrored(mask, chosen) for name, mask in sample.masks.items()}
    return Sample(mirrored(sample.image, chosen), masks)


def build(params: FlipParams) -> Augmentation:
    """Return ``callable(sample, rngs)``."""
    return partial(flip, p=params.p)


@hookimpl
def reid_augmentation() -> list[AugmentationComponent]:
    """Offer ``flip``."""
    return [
        AugmentationComponent(
            name="flip",
            params=FlipParams,
            build=build,
            stage="batch",
            extras="moves",
            summary="Mirror left to right with probability p",
            reference="arXiv:1903.07071",
        )
    ]

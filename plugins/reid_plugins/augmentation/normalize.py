"""Subtract the mean and divide by the standard deviation of each colour channel.

The network's first weights expect inputs around 0 with unit variance; the defaults are those
of the ImageNet weights that backbones start from.

Reference: He et al., "Deep Residual Learning for Image Recognition", arXiv:1512.03385.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from reid_core import AugmentationComponent, Params, hookimpl

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from torch import Tensor


class NormalizeParams(Params):
    """Params of the augmentation ``normalize``."""

    mean: list[Annotated[float, Field(ge=0, le=1)]] = Field(
        default=[0.485, 0.456, 0.406],
        min_length=3,
        max_length=3,
        description="Mean of red, green, blue, 0 to 1; default: ImageNet.",
    )
    std: list[Annotated[float, Field(gt=0)]] = Field(
        default=[0.229, 0.224, 0.225],
        min_length=3,
        max_length=3,
        description="Standard deviation of red, green, blue (> 0); default: ImageNet.",
    )


def normalize(
    image: Tensor, rng: np.random.Generator | None, *, mean: Tensor, std: Tensor
) -> Tensor:
    """Return ``(image - mean) / std`` as a new tensor; ``rng`` is not used.

    Args:
        image: ``(3, H, W)``, values 0 to 1.
        rng: Not used.
        mean: ``(3, 1, 1)``.
        std: ``(3, 1, 1)``.
    """
    return (image - mean).div_(std)


def build(params: NormalizeParams) -> Callable[[Tensor, np.random.Generator | None], Tensor]:
    """Return ``callable(image, rng)``."""
    import torch

    mean = torch.tensor(params.mean, dtype=torch.float32).view(3, 1, 1)
    std = torch.tensor(params.std, dtype=torch.float32).view(3, 1, 1)
    return partial(normalize, mean=mean, std=std)


@hookimpl
def reid_augmentation() -> list[AugmentationComponent]:
    """Offer ``normalize``."""
    return [
        AugmentationComponent(
            name="normalize",
            params=NormalizeParams,
            build=build,
            stage="tensor",
            use="both",
            extras="keeps",
            summary="(image - mean) / std per colour channel",
            reference="arXiv:1512.03385",
        )
    ]

"""Test-time averaging: the mean of the network's raw outputs over several versions of an image.

The versions are the original and, with ``flip``, the mirrored image, each at every scale. Every
scale is made of the full-size image, so factors do not multiply. For vectors that are
L2-normalised afterwards the mean is as good as the sum.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reid_core.errors import ReidError
from reid_core.params.schema import ExtractionParams

FLIPPED = "mean of original and mirrored image"
"""``meta["flip"]`` of averaged features."""


def averaged(
    run: Callable[[Tensor], Mapping[str, Tensor]], images: Tensor, extraction: ExtractionParams
) -> dict[str, Tensor]:
    """Return the mean of what is computed from the versions of each image.

    Args:
        run: Maps images ``(B, 3, h, w)`` to values ``(B, ...)`` by name.
        images: ``(B, 3, H, W)``, preprocessed.
        extraction: Which versions.

    Returns:
        Float32 by name, ``(B, ...)``.

    Raises:
        ReidError: The shape of a value depends on the scale.
    """
    sums: dict[str, Tensor] = {}
    for version in _versions(images, extraction):
        for name, value in run(version).items():
            if sums.get(name, value).shape != value.shape:
                raise ReidError(
                    f"extraction.scales: '{name}' has shape {tuple(sums[name].shape[1:])} at one "
                    f"scale and {tuple(value.shape[1:])} at another, so it has no mean; use one "
                    "scale"
                )
            sums[name] = sums[name] + value.float() if name in sums else value.float()
    count = len(extraction.scales) * (1 + extraction.flip)
    return {name: total / count for name, total in sums.items()}


def averaging_facts(extraction: ExtractionParams) -> dict[str, Any]:
    """Return what the protocol card says of the averaging; of none, nothing."""
    facts: dict[str, Any] = {"flip": FLIPPED} if extraction.flip else {}
    if extraction.scales != (1.0,):
        facts["scales"] = list(extraction.scales)
    return facts


def check_scales(
    model: nn.Module, size: tuple[int, int], extraction: ExtractionParams, device: torch.device
) -> None:
    """Run a black image through the network at every other scale, before hours are spent on it.

    Args:
        model: Maps ``(1, 3, h, w)`` to anything; its mode is restored afterwards.
        size: (H, W) of the preprocessed images, in pixels.
        extraction: The scales.
        device: Where the model is.

    Raises:
        ReidError: The network cannot take images of a scale's size.
    """
    was_training = model.training
    model.eval()
    for scale in extraction.scales:
        if scale != 1:
            try:
                with torch.inference_mode():
                    model(_scaled(torch.zeros(1, 3, *size, device=device), scale))
            except (RuntimeError, ReidError) as error:
                height, width = _scaled_size(size, scale)
                raise ReidError(
                    f"extraction.scales: the network cannot take images of {height} x {width} "
                    f"pixels (scale {scale:g} of {size[0]} x {size[1]}): {error}"
                ) from None
    model.train(was_training)


def _versions(images: Tensor, extraction: ExtractionParams) -> Iterator[Tensor]:
    """Yield every version of a batch."""
    for full in (images, images.flip(-1)) if extraction.flip else (images,):
        for scale in extraction.scales:
            yield _scaled(full, scale)


def _scaled(images: Tensor, scale: float) -> Tensor:
    """Return images ``(B, 3, H, W)`` resized by a factor: bicubic, antialiased when smaller."""
    if scale == 1:
        return images
    size = _scaled_size((images.shape[2], images.shape[3]), scale)
    return F.interpolate(
        images, size=size, mode="bicubic", align_corners=False, antialias=scale < 1
    )


def _scaled_size(size: tuple[int, int], scale: float) -> tuple[int, int]:
    return round(size[0] * scale), round(size[1] * scale)

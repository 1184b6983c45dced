"""Whether what an image operation returns is what its contract allows; every call is looked at."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from reid_core.contracts import Sample
from reid_core.errors import name_list

EXPECTED = {
    "pil": "an RGB PIL.Image",
    "tensor": "a float32 tensor (3, H, W)",
    "batch": "a float32 tensor ({count}, 3, H, W)",
}
"""What an operation returns, by its stage."""


def fault_of(image: Any, stage: str, count: int | None = None) -> str | None:
    """Return what is wrong with an image as an operation returns it; None when nothing is.

    Args:
        image: What was returned.
        stage: Of the operation.
        count: Images of the batch, at the stage ``"batch"``.
    """
    if stage == "pil":
        right = isinstance(image, Image.Image) and image.mode == "RGB"
    else:
        leading = (3,) if count is None else (count, 3)
        right = _is_tensor(image, torch.float32) and tuple(image.shape[:-2]) == leading
    # A sum is NaN or infinite if a number is, and takes a fraction of the time.
    if right and isinstance(image, Tensor) and not math.isfinite(image.sum()):
        return "returned an image that is NaN or infinite"
    if right:
        return None
    return f"returned {_described(image)}; expected {EXPECTED[stage].format(count=count)}"


def mask_fault_of(sample: Sample, stage: str, before: Mapping[str, Any]) -> str | None:
    """Return what is wrong with the masks beside an image of the right form.

    Args:
        sample: What was returned.
        stage: Of the operation.
        before: The masks that it was given.
    """
    if sample.masks.keys() != before.keys():
        return f"returned the masks {name_list(sample.masks)}; expected {name_list(before)}"
    for name, mask in sample.masks.items():
        if stage == "pil":
            size = sample.image.size
            right = isinstance(mask, Image.Image) and (mask.mode, mask.size) == ("L", size)
            expected = f"a PIL.Image of mode L and {size[1]} x {size[0]} pixels"
        else:
            shape = (*sample.image.shape[:-3], *sample.image.shape[-2:])
            right = _is_tensor(mask, torch.uint8) and tuple(mask.shape) == shape
            expected = f"a uint8 tensor {shape}"
        if not right:
            return f"left the mask '{name}' as {_described(mask)}; expected {expected}"
    return None


def _is_tensor(value: Any, dtype: torch.dtype) -> bool:
    return isinstance(value, Tensor) and value.dtype == dtype


def _described(value: Any) -> str:
    if isinstance(value, Image.Image):
        return f"a PIL.Image of mode {value.mode} and {value.height} x {value.width} pixels"
    if isinstance(value, Tensor):
        return f"a {str(value.dtype).removeprefix('torch.')} tensor {tuple(value.shape)}"
    return f"a {type(value).__name__}"

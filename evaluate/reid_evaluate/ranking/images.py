"""A set of images as it is ranked.

Shapes: N images of a set, D size of a feature.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from reid_evaluate.distances.comparison import Vectors


@dataclass(frozen=True)
class ImageSet:
    """Features of a query or gallery split and what is known of each image.

    Attributes:
        features: ``(N, D)`` array, or tensor on any device; finite; used as float32.
        pids: ``(N,)`` strings.
        camids: ``(N,)`` integers, negative for an unknown camera.
        names: ``(N,)`` strings; an image has the same name in both splits.
        junk: ``(N,)`` bool; in the gallery: removed for every query.
        distractor: ``(N,)`` bool; in the gallery: wrong for every query.
        aux: Further values of each image by name, ``(N, ...)``, for distances that read them.
    """

    features: Any
    pids: npt.NDArray[Any]
    camids: npt.NDArray[Any]
    names: npt.NDArray[Any]
    junk: npt.NDArray[Any]
    distractor: npt.NDArray[Any]
    aux: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def vectors(self) -> Vectors:
        """Return what a distance compares; only of images from ``checked``."""
        return Vectors(self.features, self.pids, self.camids, self.aux)


def checked(split: str, images: ImageSet, device: torch.device | None = None) -> ImageSet:
    """Return the images with tensors and arrays of the declared types.

    Args:
        split: Name for messages.
        images: What to check.
        device: Where the features go; default: where they are.

    Raises:
        ValueError: There is no image, the features are no ``(N, D)`` finite numbers, or
            another array has another length.
    """
    features = _matrix(split, images.features, device)
    for column in fields(ImageSet):
        if column.name != "aux" and len(getattr(images, column.name)) != len(features):
            raise ValueError(
                f"{split} {column.name} has {len(getattr(images, column.name))} entries "
                f"for {len(features)} images"
            )
    found = ImageSet(
        features=features,
        pids=np.asarray(images.pids, dtype=np.str_),
        camids=np.asarray(images.camids, dtype=np.int64),
        names=np.asarray(images.names, dtype=np.str_),
        junk=np.asarray(images.junk, dtype=np.bool_),
        distractor=np.asarray(images.distractor, dtype=np.bool_),
        aux={k: torch.as_tensor(v).to(features) for k, v in images.aux.items()},
    )
    _check_finite(split, found.vectors)
    return found


def _matrix(what: str, values: Any, device: torch.device | None) -> Tensor:
    """Return ``(N, D)`` float32, contiguous; it shares memory where nothing had to change."""
    found = values if isinstance(values, Tensor) else np.asarray(values)
    if len(found.shape) and found.shape[0] == 0:
        raise ValueError(f"the {what} split has no images")
    if len(found.shape) != 2 or found.shape[1] == 0:
        raise ValueError(f"{what} features must be (N, D) with D >= 1, got {tuple(found.shape)}")
    tensor = _float32(found)
    return (tensor.to(device) if device else tensor).contiguous()


def _check_finite(what: str, vectors: Vectors) -> None:
    """Raise ValueError if rows are NaN, infinite or beyond float32."""
    suspects = torch.nonzero(~torch.isfinite(vectors.norms)).flatten()  # large rows overflow too
    bad = suspects[~torch.isfinite(vectors.features[suspects]).all(dim=1)].tolist()
    if bad:
        raise ValueError(
            f"{what} features: {len(bad)} of {len(vectors)} rows are NaN or infinite in "
            f"float32; the first is row {bad[0]} (counted from 0)"
        )


def _float32(values: Tensor | npt.NDArray[Any]) -> Tensor:
    if isinstance(values, Tensor):
        return values.detach().float()
    with np.errstate(over="ignore"):  # what overflows becomes infinite and is reported
        array = values.astype(np.float32, copy=False)
    # torch refuses to share arrays that may not be written to, and those with odd strides.
    writable = array if array.flags.writeable and array.flags.c_contiguous else array.copy()
    return torch.from_numpy(writable)

"""A set of images as it is ranked.

Shapes: N images of a set, D size of a feature.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from reid_evaluate.distances.comparison import Vectors
from reid_evaluate.protocols.junk_rules import Labelled

LABELS = ("pids", "camids", "names", "junk", "distractor")
"""The arrays that say what an image is."""


@dataclass(frozen=True)
class ImageSet:
    """Features of a query or gallery split and what is known of each image.

    Attributes:
        features: ``(N, D)`` array, or tensor on any device; finite; used as float32.
        pids: ``(N,)`` strings; ``""`` for an unknown identity, which is nobody's match.
        camids: ``(N,)`` integers, negative for an unknown camera.
        names: ``(N,)`` strings; an image has the same name in both splits.
        junk: ``(N,)`` bool; in the gallery: removed for every query.
        distractor: ``(N,)`` bool; in the gallery: wrong for every query.
        aux: Further values of each image by name, ``(N, ...)``, for distances that read them.
        columns: Further facts of each image by name, ``(N,)`` whole numbers or strings; -1 and
            ``""`` unknown. Distances and junk rules read them.
    """

    features: Any
    pids: npt.NDArray[Any]
    camids: npt.NDArray[Any]
    names: npt.NDArray[Any]
    junk: npt.NDArray[Any]
    distractor: npt.NDArray[Any]
    aux: Mapping[str, Any] = field(default_factory=dict)
    columns: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def vectors(self) -> Vectors:
        """Return what a distance compares; only of images from ``checked``."""
        return Vectors(self.features, self.pids, self.camids, self.aux, self.columns)


def checked(split: str, images: ImageSet, device: torch.device | None = None) -> ImageSet:
    """Return the images with tensors and arrays of the declared types.

    Args:
        split: Name for messages.
        images: What to check.
        device: Where the features go; default: where they are.

    Raises:
        ValueError: There is no image, the features are no ``(N, D)`` finite numbers, another
            array has another length, or a column holds neither whole numbers nor strings.
    """
    features = _matrix(split, images.features, device)
    _check_lengths(split, {f"aux '{name}'": v for name, v in images.aux.items()}, len(features))
    aux = {name: torch.as_tensor(values).to(features) for name, values in images.aux.items()}
    found = replace(checked_labels(split, images, features), aux=aux)
    _check_finite(split, found.vectors)
    return found


def checked_labels(split: str, images: Labelled, features: Tensor) -> ImageSet:
    """Return what is known of images beside their vectors, as arrays of the declared types.

    Args:
        split: Name for messages.
        images: What to check.
        features: ``(N, D)``, checked.

    Raises:
        ValueError: An array has another length than the features, or a column holds neither
            whole numbers nor strings.
    """
    labels = {name: getattr(images, name) for name in LABELS}
    labels |= {f"column '{name}'": values for name, values in images.columns.items()}
    _check_lengths(split, labels, len(features))
    return ImageSet(
        features=features,
        pids=np.asarray(images.pids, dtype=np.str_),
        camids=np.asarray(images.camids, dtype=np.int64),
        names=np.asarray(images.names, dtype=np.str_),
        junk=np.asarray(images.junk, dtype=np.bool_),
        distractor=np.asarray(images.distractor, dtype=np.bool_),
        columns={k: _column(f"{split} column '{k}'", v) for k, v in images.columns.items()},
    )


def _check_lengths(split: str, arrays: Mapping[str, Any], count: int) -> None:
    for name, values in arrays.items():
        if len(values) != count:
            raise ValueError(f"{split} {name} has {len(values)} entries for {count} images")


def _column(what: str, values: Any) -> npt.NDArray[Any]:
    """Return a column as int64 or as strings."""
    found = np.asarray(values)
    if found.dtype.kind not in "iuU":
        raise ValueError(f"{what} must be whole numbers or strings, got {found.dtype}")
    return found if found.dtype.kind == "U" else found.astype(np.int64, copy=False)


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

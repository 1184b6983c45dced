"""Two sets of images as they are ranked, and which pairs of them are matches or junk.

Shapes: Q queries, G gallery images, N images of a set, D size of a feature, n pairs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from reid_evaluate.distances.comparison import Vectors

JunkRule = Literal["cross_camera", "exclude_self", "none"]

WRONG, MATCH, JUNK = 0, 1, 2
"""Flags of a gallery image with respect to one query."""

Flags = npt.NDArray[np.int8]
Integers = npt.NDArray[np.int64]


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


class Pairing:
    """Says which gallery images are wrong, matches or junk for which query.

    Rules for junk, which is removed before ranks are counted:
    ``"cross_camera"``: images of the query's pid unless both cameras are known and differ;
    ``"exclude_self"``: images with the query's name, which may be of any pid; a copy under
    another name stays;
    ``"none"``: nothing. Under every rule, gallery images flagged junk are removed, and
    those flagged distractor are wrong even if their pid is the query's.
    """

    def __init__(self, query: ImageSet, gallery: ImageSet, rule: JunkRule) -> None:
        """Find who is like whom.

        Raises:
            ValueError: The rule is unknown.
        """
        if rule not in get_args(JunkRule):
            raise ValueError(f"unknown junk rule '{rule}' (known: {', '.join(get_args(JunkRule))})")
        self._rule = rule
        self._camids = query.camids, gallery.camids
        self._distractor, self._junk = gallery.distractor, gallery.junk
        self._pids = _SameString(query.pids, gallery.pids)
        self._names = _SameString(query.names, gallery.names) if rule == "exclude_self" else None

    def flags(self, query: Integers, image: Integers) -> Flags:
        """Return the flag of each pair; the two arrays broadcast."""
        same = self._pids.equal(query, image) & ~self._distractor[image]
        junk = self._junk[image] | np.zeros_like(same)
        if self._rule == "cross_camera":
            first, second = self._camids[0][query], self._camids[1][image]
            junk = junk | (same & ((first < 0) | (second < 0) | (first == second)))
        elif self._names is not None:
            junk = junk | self._names.equal(query, image)
        return np.where(junk, JUNK, np.where(same, MATCH, WRONG)).astype(np.int8)

    def special(self, start: int, stop: int) -> tuple[Integers, Integers, Flags]:
        """Return the pairs of queries start to stop that are matches or a query's own junk.

        Returns:
            Query, gallery image and flag of each pair ``(n,)``, by ascending query among the
            matches; pairs that are junk may appear twice.
        """
        query, image = self._pids.pairs(start, stop)
        if self._names is not None:
            more = self._names.pairs(start, stop)
            others = ~self._pids.equal(*more)  # the others are there already
            query = np.concatenate([query, more[0][others]])
            image = np.concatenate([image, more[1][others]])
        flags = self.flags(query, image)
        kept = flags != WRONG
        return query[kept], image[kept], flags[kept]


class _SameString:
    """Which gallery images share a string with a query."""

    def __init__(self, query: npt.NDArray[Any], gallery: npt.NDArray[Any]) -> None:
        codes: dict[str, int] = {}
        self._of_query, self._of_gallery = (
            np.array([codes.setdefault(text, len(codes)) for text in side.tolist()], dtype=np.int64)
            for side in (query, gallery)
        )
        self._positions = np.argsort(self._of_gallery, kind="stable")
        counts = np.bincount(self._of_gallery, minlength=len(codes))
        self._counts = counts[self._of_query]
        self._starts = (np.cumsum(counts) - counts)[self._of_query]

    def equal(self, query: Integers, image: Integers) -> npt.NDArray[np.bool_]:
        equal: npt.NDArray[np.bool_] = self._of_query[query] == self._of_gallery[image]
        return equal

    def pairs(self, start: int, stop: int) -> tuple[Integers, Integers]:
        """Return all pairs of queries start to stop with the images that share the string."""
        starts, counts = self._starts[start:stop], self._counts[start:stop]
        query = np.repeat(np.arange(start, stop), counts)
        before = np.cumsum(counts) - counts
        inside = np.arange(len(query)) - np.repeat(before, counts)
        return query, self._positions[np.repeat(starts, counts) + inside]

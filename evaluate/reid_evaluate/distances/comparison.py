"""What is compared when a gallery is ranked, and the keys that the ranking is by.

A *key* is a float32 number per (query, gallery image): the smaller, the nearer. A distance is
an increasing function of its key (Euclidean: the square, without its root), so that ranking by
keys is ranking by distances, without the work and the rounding of the last step.

Shapes: Q queries, G gallery images, N images of a side, D size of a feature, b queries of a
block.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor


@dataclass(frozen=True)
class Vectors:
    """What is known of N images when they are compared.

    Attributes:
        features: ``(N, D)`` float32, finite, not normalised, on the device of the comparison.
        pids: ``(N,)`` strings.
        camids: ``(N,)`` integers, negative for an unknown camera.
        aux: Further float32 values of each image, ``(N, ...)``, by name, on the same device.
        columns: Further facts of each image by name, ``(N,)`` int64 or strings; -1 and ``""``
            unknown.
    """

    features: Tensor
    pids: npt.NDArray[Any]
    camids: npt.NDArray[Any]
    aux: Mapping[str, Tensor] = field(default_factory=dict)
    columns: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)

    def __len__(self) -> int:
        """Return N."""
        return len(self.features)

    @cached_property
    def norms(self) -> Tensor:
        """Return the L2 norms ``(N,)`` in float32; those of very large vectors overflow."""
        norms: Tensor = torch.linalg.vector_norm(self.features, dim=1)
        return norms

    def rows(self, start: int, stop: int) -> Vectors:
        """Return some consecutive images; nothing is copied."""
        return Vectors(
            features=self.features[start:stop],
            pids=self.pids[start:stop],
            camids=self.camids[start:stop],
            aux={name: values[start:stop] for name, values in self.aux.items()},
            columns={name: values[start:stop] for name, values in self.columns.items()},
        )

    def at(self, positions: npt.NDArray[np.int64]) -> Vectors:
        """Return the images at some positions, in their order; all of them are copied."""
        on_device = torch.from_numpy(positions).to(self.features.device)
        return Vectors(
            features=self.features[on_device],
            pids=self.pids[positions],
            camids=self.camids[positions],
            aux={name: values[on_device] for name, values in self.aux.items()},
            columns={name: values[positions] for name, values in self.columns.items()},
        )

    def and_(self, other: Vectors) -> Vectors:
        """Return the images of both sides, these first; the features are copied."""
        return Vectors(
            features=torch.cat([self.features, other.features]),
            pids=np.concatenate([self.pids, other.pids]),
            camids=np.concatenate([self.camids, other.camids]),
            aux={name: torch.cat([v, other.aux[name]]) for name, v in self.aux.items()},
            columns={
                name: np.concatenate([values, other.columns[name]])
                for name, values in self.columns.items()
            },
        )


class Distance(Protocol):
    """A way to compare images; what plugins of the kind ``distance`` build."""

    @property
    def symmetric(self) -> bool:
        """Say whether the key of (a, b) is the key of (b, a) but for rounding."""

    @property
    def normalizes(self) -> bool:
        """Say whether vectors are L2-normalised first, so that their length does not count."""

    def prepare(self, vectors: Vectors) -> Vectors:
        """Add to ``aux`` what ``fill`` needs of each image, such as its norm.

        Raises:
            ValueError: The vectors cannot be compared, e.g. are too large for float32.
        """

    def fill(self, query: Vectors, gallery: Vectors, out: Tensor) -> None:
        """Write the keys ``(b, G)`` of prepared images into ``out``."""

    def values(self, keys: Tensor) -> Tensor:
        """Return the distances of keys, of the same shape."""


class Keys(Protocol):
    """The keys of every query and gallery image, made block by block and never kept."""

    def fill(self, start: int, stop: int, out: Tensor) -> None:
        """Write the keys of queries start to stop, ``(stop - start, G)``, into ``out``."""

    def values(self, keys: Tensor) -> Tensor:
        """Return the distances of keys, of the same shape."""


@dataclass(frozen=True)
class Comparison:
    """Queries, gallery and how they are compared; what post-processing changes.

    Attributes:
        query: Q images.
        gallery: G images.
        distance: Compares them.
        extra: Images of further splits, such as ``multi_query``, by the split's name.
        altered: Keys that replace those of the distance.
    """

    query: Vectors
    gallery: Vectors
    distance: Distance
    extra: Mapping[str, Vectors] = field(default_factory=dict)
    altered: Keys | None = None

    @property
    def keys(self) -> Keys:
        """Return what the gallery is ranked by."""
        return self.altered or DistanceKeys(self.distance, self.query, self.gallery)

    def with_vectors(self, query: Vectors, gallery: Vectors) -> Comparison:
        """Return the comparison of other vectors of the same images.

        Raises:
            ValueError: The keys have been altered already, which would be lost.
        """
        if self.altered is not None:
            raise ValueError("post-processing of features must come before that of distances")
        return replace(self, query=query, gallery=gallery)

    def with_keys(self, keys: Keys) -> Comparison:
        """Return the comparison with other keys."""
        return replace(self, altered=keys)


Postprocess = Callable[[Comparison], Comparison]
"""What plugins of the kind ``postprocess`` build."""


class DistanceKeys:
    """The keys of a distance; equal gallery images (``repeated_rows``) have equal keys, bit by bit.

    BLAS adds the products of a column in an order that depends on where the column stands, so
    that copies of one image would differ in the last bit, and would not tie.
    """

    def __init__(self, distance: Distance, query: Vectors, gallery: Vectors) -> None:
        """Prepare both sides."""
        self._distance = distance
        self._query, self._gallery = distance.prepare(query), distance.prepare(gallery)
        copies, originals = repeated_rows(gallery)
        device = gallery.features.device
        self._copies = torch.from_numpy(copies).to(device)
        self._originals = torch.from_numpy(originals).to(device)

    def fill(self, start: int, stop: int, out: Tensor) -> None:
        """Write the keys of queries start to stop, ``(stop - start, G)``, into ``out``."""
        self._distance.fill(self._query.rows(start, stop), self._gallery, out)
        if len(self._copies):
            out[:, self._copies] = out[:, self._originals]

    def values(self, keys: Tensor) -> Tensor:
        """Return the distances of keys."""
        return self._distance.values(keys)


def repeated_rows(vectors: Vectors) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the positions of images that came before, and of their first appearance.

    Images are equal that have the same features, aux values and columns: all that a distance may
    look at but pid and camera. Rows that share a few of their numbers are looked at as a whole;
    all others are not, so that a gallery without copies costs next to nothing.
    """
    features = vectors.features
    some = features[:, :: max(1, features.shape[1] // 4)][:, :4] + 0.0  # -0 becomes 0
    probe = np.ascontiguousarray(some.cpu().numpy())
    _, group, size = np.unique(
        probe.view(np.dtype((np.void, probe.itemsize * probe.shape[1])))[:, 0],
        return_inverse=True,
        return_counts=True,
    )
    first: dict[bytes, int] = {}
    copies, originals = [], []
    for at in np.flatnonzero(size[group] > 1).tolist():
        parts = (features[at], *(values[at] for values in vectors.aux.values()))
        row = b"".join((part + 0.0).cpu().numpy().tobytes() for part in parts)
        row += repr([values[at] for values in vectors.columns.values()]).encode()
        original = first.setdefault(hashlib.blake2b(row, digest_size=16).digest(), at)
        if original != at:
            copies.append(at)
            originals.append(original)
    return np.array(copies, dtype=np.int64), np.array(originals, dtype=np.int64)

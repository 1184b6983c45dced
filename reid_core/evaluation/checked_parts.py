"""Distances and steps behind the boundary around plugins: every call of theirs is checked.

They are called by what ranks, a block of queries at a time, so a check costs one pass over the
block at most.

Shapes: b queries of a block, G gallery images, N images.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from reid_core.boundary import Origin
from reid_core.errors import ReidError, counted

if TYPE_CHECKING:
    from torch import Tensor

    from reid_core.contracts import Comparison, Distance, Keys, Postprocess, Vectors

SIDES = ("query", "gallery")
"""What a comparison has, each with vectors of its own."""


class CheckedKeys:
    """Keys that a step has made."""

    def __init__(self, keys: Keys, origin: Origin) -> None:
        """Keep the keys and whose they are."""
        self._keys, self._origin = keys, origin
        self._filled_before = False

    def fill(self, start: int, stop: int, out: Tensor) -> None:
        """Write the keys of queries start to stop, ``(b, G)``, into ``out``.

        Raises:
            PluginError: The step failed, gave keys that are not numbers, or left some out.
        """
        if not self._filled_before:
            out.fill_(float("nan"))  # what is left as it was would else pass for keys
        shape = out.shape
        with self._origin.calling("when it gave keys"):
            self._keys.fill(start, stop, out)
        check_filled(out, tuple(shape), self._origin)
        self._filled_before = True

    def values(self, keys: Tensor) -> Tensor:
        """Return the distances of keys, of the same shape.

        Raises:
            PluginError: The step failed, or gave another shape.
        """
        with self._origin.calling("when it gave the distances of keys", {"the keys": keys}):
            found = self._keys.values(keys)
        return checked_values(found, keys, self._origin)


class CheckedDistance:
    """A distance whose results are looked at."""

    def __init__(self, distance: Distance, origin: Origin) -> None:
        """Ask the distance what it says of itself.

        Raises:
            PluginError: It does not say so by True or False.
        """
        self._distance, self._origin = distance, origin
        self._filled_before = False
        with origin.calling("when it was asked for 'symmetric' and 'normalizes'"):
            self.symmetric, self.normalizes = distance.symmetric, distance.normalizes
        for name in ("symmetric", "normalizes"):
            if not isinstance(getattr(self, name), bool):
                raise origin.fault(f"has {name} = {getattr(self, name)!r}; expected True or False")

    def prepare(self, vectors: Vectors) -> Vectors:
        """Return prepared images.

        Raises:
            ReidError: The distance refuses them, failed, or returned something else.
        """
        given = {f"the value '{name}' of a head": value for name, value in vectors.aux.items()}
        given["the features"] = vectors.features
        with self._origin.calling("in 'prepare'", given), refusals(self._origin):
            found = self._distance.prepare(vectors)
        if not isinstance(found, type(vectors)):
            raise self._origin.fault(f"returned {_kind(found)}; expected Vectors", "from 'prepare'")
        if len(found) != len(vectors):
            raise self._origin.fault(
                f"returned {counted(len(found), 'image')} of {len(vectors)}", "from 'prepare'"
            )
        return found

    def fill(self, query: Vectors, gallery: Vectors, out: Tensor) -> None:
        """Write the keys ``(b, G)`` of prepared images into ``out``.

        Raises:
            ReidError: ``out`` is of another shape or type, which is a mistake of the caller.
            PluginError: The distance failed, gave keys that are not numbers, or left some out.
        """
        _check_out(out, len(query), len(gallery), self._origin)
        if not self._filled_before:
            out.fill_(float("nan"))  # what is left as it was would else pass for keys
        shape = out.shape
        given = {"the query's features": query.features, "the gallery's features": gallery.features}
        with self._origin.calling("in 'fill'", given):
            self._distance.fill(query, gallery, out)
        check_filled(out, tuple(shape), self._origin)
        self._filled_before = True

    def values(self, keys: Tensor) -> Tensor:
        """Return the distances of keys, of the same shape.

        Raises:
            PluginError: The distance failed, or gave another shape.
        """
        with self._origin.calling("in 'values'", {"the keys": keys}):
            found = self._distance.values(keys)
        return checked_values(found, keys, self._origin)


def checked_step(
    step: Postprocess, origin: Origin, stage: Literal["features", "distances"]
) -> Postprocess:
    """Return a step of post-processing whose results are looked at.

    Args:
        step: From one comparison to the next.
        origin: Where it comes from.
        stage: What its component says that it changes.
    """

    def run(comparison: Comparison) -> Comparison:
        given = {f"the {side}'s features": getattr(comparison, side).features for side in SIDES}
        with origin.calling("", given), refusals(origin):
            found = step(comparison)
        _check_comparison(found, comparison, origin)
        if found.distance is not comparison.distance:
            found = replace(found, distance=CheckedDistance(found.distance, origin))
        if found.altered is None or found.altered is comparison.altered:
            return found
        if stage == "features":
            raise origin.fault("changed distances; its component has the stage 'features'")
        return replace(found, altered=CheckedKeys(found.altered, origin))

    return run


@contextmanager
def refusals(origin: Origin) -> Iterator[None]:
    """Turn the ValueError by which a part refuses images into a message that names the part."""
    try:
        yield
    except ValueError as error:
        raise ReidError(f"{origin.kind} '{origin.name}': {error}") from error


def _check_out(out: Tensor, queries: int, images: int, origin: Origin) -> None:
    """Raise ``ReidError`` if keys ``(queries, images)`` cannot be written there."""
    shape, kind = tuple(out.shape), str(out.dtype).removeprefix("torch.")
    if shape != (queries, images) or kind != "float32":
        raise ReidError(
            f"'fill' of the {origin.kind} '{origin.name}' was given out of shape {shape} and type "
            f"{kind}; expected (queries, gallery) = ({queries}, {images}) and float32: whoever "
            "calls it must be corrected, not the distance (keys of "
            "reid_plugins.toolkit.image_sets makes a right one)"
        )


def check_filled(out: Tensor, shape: tuple[int, ...], origin: Origin) -> None:
    """Look at keys ``(b, G)``, whose shape that is.

    Raises:
        PluginError: One is not a number, or they have another shape now.
    """
    if out.shape != shape:
        raise origin.fault(f"gave the keys the shape {tuple(out.shape)}; expected {shape}")
    # A sum is NaN if a number is, or if it holds both infinities; only then is it worth a look.
    if bool(out.sum().isnan()) and bool(out.isnan().any()):
        raise origin.fault("gave keys that are NaN, or left them unwritten; expected numbers")


def checked_values(found: Tensor, keys: Tensor, origin: Origin) -> Tensor:
    """Return the distances of keys.

    Raises:
        PluginError: They are none, or of another shape.
    """
    if not isinstance(found, type(keys)) or found.shape != keys.shape:
        shape = f" of shape {tuple(found.shape)}" if isinstance(found, type(keys)) else ""
        raise origin.fault(
            f"returned {_kind(found)}{shape}; expected the distances of keys of shape "
            f"{tuple(keys.shape)}",
            "from 'values'",
        )
    if bool(found.sum().isnan()) and bool(found.isnan().any()):
        raise origin.fault("returned distances that are NaN", "from 'values'")
    return found


def _check_comparison(found: Comparison, before: Comparison, origin: Origin) -> None:
    """Raise ``PluginError`` if a step's result cannot be ranked."""
    if not isinstance(found, type(before)):
        raise origin.fault(f"returned {_kind(found)}; expected a Comparison")
    for side in SIDES:
        now, then = getattr(found, side), getattr(before, side)
        features = now.features
        if len(now) != len(then) or features.ndim != 2:
            raise origin.fault(
                f"returned {side} features of shape {tuple(features.shape)}; expected "
                f"({len(then)}, D)"
            )
        if features.dtype != then.features.dtype or features.device != then.features.device:
            raise origin.fault(
                f"returned {side} features of {features.dtype} on {features.device}; expected "
                f"{then.features.dtype} on {then.features.device}"
            )
        for what in ("pids", "camids"):
            if not np.array_equal(getattr(now, what), getattr(then, what)):
                raise origin.fault(
                    f"returned other {side} images, or in another order: their {what} differ"
                )
        changed = features is not then.features
        if changed and not bool(features.sum().isfinite()) and not bool(features.isfinite().all()):
            raise origin.fault(f"returned {side} features that are NaN or infinite")
    if found.query.features.shape[1] != found.gallery.features.shape[1]:
        raise origin.fault("returned query and gallery features of different sizes")


def _kind(found: object) -> str:
    return "None" if found is None else f"a {type(found).__name__}"

"""What a backbone and a head must be, and what they must return; a fault names the plugin.

All checks look at types and shapes alone, so that they cost nothing in every step.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

from torch import Tensor, nn

from reid_core.boundary import Origin
from reid_core.contracts import Branch, BranchSpec, FeatureMap, HeadOutput
from reid_core.declared_fields import field_fault
from reid_core.errors import name_list
from reid_core.network.classifiers import is_word, keywords_in


def check_backbone(backbone: object, origin: Origin) -> Any:
    """Return what a plugin has built, if it is a backbone.

    Raises:
        ReidError: It is no module, or announces no channels or no stride.
    """
    module = _module(backbone, origin)
    for name in ("out_channels", "stride"):
        value = _attribute(module, name, origin)
        if type(value) is not int or value < 1:
            raise origin.fault(f"has {name} = {value!r}; expected a whole number of 1 or more")
    return module


def check_map(found: object, images: Tensor, backbone: Any, origin: Origin) -> FeatureMap:
    """Return what a backbone has returned for images ``(B, 3, H, W)``, if it is as announced.

    The map's sides are those of the images, divided by the stride and rounded up or down.

    Raises:
        ReidError: It is not.
    """
    if not isinstance(found, FeatureMap):
        raise origin.fault(f"returned {_words(found)}; expected a FeatureMap")
    count, channels = len(images), backbone.out_channels
    if not _is_float(found.map, 4) or found.map.shape[:2] != (count, channels):
        raise origin.fault(
            f"returned as map {_words(found.map)}; expected floats of at most 32 bits and of shape "
            f"({count}, {channels}, h, w): {count} images, and its out_channels is {channels}"
        )
    _check_device("map", found.map, images, origin)
    _check_stride(found.map, images, backbone.stride, origin)
    _check_beside(found, count, channels, origin)
    return found


def _check_beside(found: FeatureMap, count: int, channels: int, origin: Origin) -> None:
    """Raise ReidError if tokens or maps of earlier stages are not of their form."""
    tokens = found.tokens
    if tokens is not None and not (
        _is_float(tokens, 3)
        and tokens.shape == (count, tokens.shape[1], channels)
        and tokens.shape[1] > 0
    ):
        raise origin.fault(
            f"returned as tokens {_words(tokens)}; expected None or floats of shape "
            f"({count}, K, {channels}), K of 1 or more"
        )
    if not isinstance(found.maps, Mapping):
        raise origin.fault(f"returned as maps {_words(found.maps)}; expected a dict by name")
    for name, stage in found.maps.items():
        if not _is_float(stage, 4) or len(stage) != count:
            raise origin.fault(
                f"returned as map '{name}' {_words(stage)}; expected floats of shape "
                f"({count}, c, h, w)"
            )


def _check_stride(found: Tensor, images: Tensor, stride: int, origin: Origin) -> None:
    """Raise ReidError if a map has not the sides that the stride announces."""
    pixels, cells = images.shape[2:], found.shape[2:]
    for side, number in zip(pixels, cells, strict=True):
        if number not in (side // stride, math.ceil(side / stride)):
            seen = " x ".join(f"{p / max(1, c):.3g}" for p, c in zip(pixels, cells, strict=True))
            raise origin.fault(
                f"announces a stride of {stride} and has {seen}: images of {pixels[0]} x "
                f"{pixels[1]} pixels became a map of {cells[0]} x {cells[1]} cells"
            )


def check_head(head: object, origin: Origin) -> Any:
    """Return what a plugin has built, if it is a head with branches.

    Raises:
        ReidError: It is no module, or its branches cannot be used.
    """
    module = _module(head, origin)
    branches = _attribute(module, "branches", origin)
    if not isinstance(branches, tuple) or not branches:
        raise origin.fault(f"has branches = {branches!r}; expected a tuple of BranchSpec")
    for spec in branches:
        _check_branch(spec, origin)
    names = [spec.name for spec in branches]
    if twice := {name for name in names if names.count(name) > 1}:
        raise origin.fault(f"has two branches named {name_list(twice)}; expected every name once")
    return module


def _check_branch(spec: object, origin: Origin) -> None:
    """Raise ReidError if something is no branch that losses and classifiers can name."""
    if not isinstance(spec, BranchSpec):
        raise origin.fault(f"has the branch {spec!r}; expected a BranchSpec")
    fault = field_fault(BranchSpec, spec)
    if not fault:
        fault = _name_fault(spec)
    if not fault and spec.dim < 1:
        fault = f"dim must be 1 or more, got {spec.dim}"
    if fault:
        raise origin.fault(f"has the branch {spec.name!r}, whose {fault}")


def _name_fault(spec: BranchSpec) -> str:
    """Say what is wrong with a branch's name or the key of its classifier; empty: nothing."""
    for part, word in (("name", spec.name), ("classifier", spec.classifier)):
        if word is not None and not is_word(word):
            return f"{part} must consist of letters (A-Z, a-z), digits and '_', got {word!r}"
    return ""


def check_output(
    found: object, branches: Sequence[BranchSpec], features: Tensor, origin: Origin
) -> HeadOutput:
    """Return what a head has returned for a map ``(B, C, h, w)``, if it is what it has declared.

    Raises:
        ReidError: It is not.
    """
    count = len(features)
    if not isinstance(found, HeadOutput):
        raise origin.fault(f"returned {_words(found)}; expected a HeadOutput")
    given = found.branches if isinstance(found.branches, Mapping) else {}
    if given.keys() != {spec.name for spec in branches}:
        raise origin.fault(
            f"returned the branches {name_list(map(str, given))}; it has declared "
            f"{name_list(spec.name for spec in branches)}"
        )
    for spec in branches:
        _check_vectors(given[spec.name], spec, features, origin)
    if not isinstance(found.aux, Mapping):
        raise origin.fault(f"returned as aux {_words(found.aux)}; expected a dict by name")
    for name, value in found.aux.items():
        if not isinstance(value, Tensor) or value.dim() < 1 or len(value) != count:
            raise origin.fault(
                f"returned as aux '{name}' {_words(value)}; expected a tensor with {count} rows"
            )
        _check_device(f"aux '{name}'", value, features, origin)
    return found


def _check_vectors(branch: object, spec: BranchSpec, features: Tensor, origin: Origin) -> None:
    """Raise ReidError if a branch has not the vectors that it has declared."""
    if not isinstance(branch, Branch):
        raise origin.fault(f"returned as branch '{spec.name}' {_words(branch)}; expected a Branch")
    for part in ("feature", "embedding"):
        vectors = getattr(branch, part)
        if not _is_float(vectors, 2) or vectors.shape != (len(features), spec.dim):
            raise origin.fault(
                f"returned as {part} of branch '{spec.name}' {_words(vectors)}; it has declared "
                f"{spec.dim} values: expected floats of at most 32 bits and of shape "
                f"({len(features)}, {spec.dim})"
            )
        _check_device(f"{part} of branch '{spec.name}'", vectors, features, origin)


def _check_device(what: str, value: Tensor, given: Tensor, origin: Origin) -> None:
    """Raise ReidError if a result is not where the input is."""
    if value.device != given.device:
        raise origin.fault(
            f"returned as {what} a tensor on {value.device}; expected it on {given.device}, where "
            "its input is"
        )


def _module(built: object, origin: Origin) -> nn.Module:
    """Return what a plugin has built, if it is a module that can be exported."""
    if not isinstance(built, nn.Module):
        raise origin.fault(f"was built as {_words(built)}; expected a torch.nn.Module")
    if found := keywords_in(built):
        raise origin.fault(
            f"has {name_list(found)}, named by a keyword of Python, which no exported graph can "
            "be; expected another name for the module, parameter or buffer"
        )
    return built


def _attribute(module: nn.Module, name: str, origin: Origin) -> Any:
    with origin.calling(f"when it was asked for '{name}'"):
        return getattr(module, name)


def _is_float(value: object, dimensions: int) -> bool:
    """Return whether a value is a float32 tensor, or as small as autocast makes them."""
    is_float = isinstance(value, Tensor) and value.is_floating_point() and value.itemsize <= 4
    return is_float and cast(Tensor, value).dim() == dimensions


def _words(value: object) -> str:
    """Say what a value is, in the shortest way that tells it from what was expected."""
    if isinstance(value, Tensor):
        return f"a tensor of {value.dtype} and shape {tuple(value.shape)}"
    return "None" if value is None else f"a {type(value).__name__}"

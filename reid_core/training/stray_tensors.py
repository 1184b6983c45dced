"""Tensors that a step computes with, that want a gradient, and that nobody trains or saves."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor


def leaves(value: Tensor) -> list[Tensor]:
    """Return the tensors that the gradient of a value arrives at, each once."""
    found: dict[int, Tensor] = {}
    seen: set[Any] = set()
    waiting: list[Any] = [value.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if (leaf := getattr(node, "variable", None)) is not None:
            found[id(leaf)] = leaf
        waiting += [following for following, _ in node.next_functions]
    return list(found.values())


def stray_tensor(value: Tensor, known: Iterable[Tensor]) -> str:
    """Return a description of a tensor that wants a gradient and is not known; empty: none is.

    Args:
        value: 0-d, before or after its backward pass.
        known: Parameters, and what the value was made from.
    """
    numbers = {id(tensor) for tensor in known}
    for leaf in leaves(value):
        if id(leaf) not in numbers:
            return f"a tensor of shape {tuple(leaf.shape)}"
    return ""

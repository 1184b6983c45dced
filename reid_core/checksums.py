"""Checksums of JSON objects and of bytes, by which a wrong bit is found when a file is read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from reid_core.files import LARGEST_JSON

if TYPE_CHECKING:
    from torch import Tensor

KEY = "checksum"
"""Where a JSON object carries the checksum of all else in it."""

TENSORS_KEY = "tensors_checksum"
"""Where the JSON object beside some tensors carries their checksum."""


def signed(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return a JSON object with its checksum."""
    return {**facts, KEY: _of_facts(facts)}


def check_signed(facts: Mapping[str, Any]) -> None:
    """See that a JSON object is the one that was signed.

    Raises:
        ValueError: It is not, or carries no checksum.
    """
    if facts.get(KEY) != _of_facts({name: fact for name, fact in facts.items() if name != KEY}):
        raise ValueError("its checksum differs from its content")


def read_object(path: Path) -> dict[str, Any]:
    """Return the JSON object that a file of ours holds.

    Raises:
        ValueError: It holds none, or is absurdly large. Others of ``DAMAGED``: it cannot be read.
    """
    if (size := path.stat().st_size) > LARGEST_JSON:
        raise ValueError(f"{size} bytes are too many for {path.name}")
    content = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise ValueError(f"{path.name} holds no JSON object")
    return content


def bytes_checksum(content: bytes | memoryview) -> str:
    """Return the checksum of bytes, as hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def short_digest(content: bytes) -> int:
    """Return a number of 64 bits that stands for some bytes: equal numbers, equal bytes."""
    return int.from_bytes(hashlib.sha256(content).digest()[:8], "big")


def arrays_checksum(arrays: Mapping[str, np.ndarray]) -> str:
    """Return the checksum of arrays of numbers with their names, types and shapes."""
    digest = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        digest.update(repr((name, array.dtype.str, array.shape)).encode())
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def tensors_checksum(tensors: Mapping[str, Tensor]) -> str:
    """Return the checksum of tensors on the CPU with their names, types and shapes."""
    import torch

    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(repr((name, str(tensor.dtype), tuple(tensor.shape))).encode())
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def check_tensors(facts: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Compare tensors, and the JSON object beside them, with what was signed.

    Raises:
        ValueError: They differ; the text says which.
    """
    check_signed(facts)
    if facts.get(TENSORS_KEY) != tensors_checksum(tensors):
        raise ValueError("the checksum of its tensors differs")


def _of_facts(facts: Mapping[str, Any]) -> str:
    """Return the checksum of what a JSON object says, whatever the order and the spaces."""
    as_read = json.loads(json.dumps(facts))
    return bytes_checksum(json.dumps(as_read, sort_keys=True).encode())

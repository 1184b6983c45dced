"""The checksums of a weights file: of its tensors, and of all that it says of itself."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from reid_core.checksums import check_signed, signed

KEY = "tensors_checksum"


def with_checksums(metadata: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return metadata with the checksums of the tensors and of themselves."""
    return signed({**metadata, KEY: tensors_checksum(tensors)})


def check(metadata: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Compare a weights file with its checksums.

    Raises:
        ValueError: They differ; the text says where.
    """
    check_signed(metadata)
    if metadata.get(KEY) != tensors_checksum(tensors):
        raise ValueError("the checksum of its tensors differs")


def tensors_checksum(tensors: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of tensors on the CPU with their names, types and shapes."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(repr((name, str(tensor.dtype), tuple(tensor.shape))).encode())
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()

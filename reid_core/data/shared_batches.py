"""Batches on their way out of a loader process, in memory that no small /dev/shm limits.

A batch is made ready to be sent where it is made: what goes wrong then, such as too little memory
or too many open files, is an error of the process like any other. torch's own way does it in a
thread that drops the batch, and the main process waits for ever.
"""

from __future__ import annotations

import io
import mmap
import os
import pickle
from multiprocessing.reduction import DupFd, ForkingPickler
from typing import Any

import torch
from torch import Tensor

LEAST_SHARED = 16384
"""Bytes below which a tensor is sent as it is: a pipe takes them at once."""


class Parcel:
    """An item that is ready to be sent; where it is received it is the item itself."""

    def __init__(self, item: Any) -> None:
        """Make an item ready.

        Raises:
            OSError: There is no memory, or too many files are open.
        """
        buffer = io.BytesIO()
        _Pickler(buffer, pickle.HIGHEST_PROTOCOL).dump(item)
        self._content = buffer.getvalue()

    def __reduce__(self) -> tuple[Any, ...]:
        """Send bytes, which cannot fail."""
        return pickle.loads, (self._content,)


class _Pickler(ForkingPickler):
    """Puts large tensors into shared memory of their own, which has no name and no fixed room."""

    def reducer_override(self, value: Any) -> Any:
        """Return how a tensor on the CPU is sent; all else goes its usual way."""
        if not isinstance(value, Tensor) or value.device.type != "cpu":
            return NotImplemented
        if value.nbytes < LEAST_SHARED:
            return _of_bytes, (_bytes_of(value), value.dtype, tuple(value.shape))
        if not hasattr(os, "memfd_create"):
            return NotImplemented
        descriptor = os.memfd_create("batch")
        try:
            # Now, not when a page is first written: that would end the process.
            os.posix_fallocate(descriptor, 0, value.nbytes)
            memory = mmap.mmap(descriptor, value.nbytes)
            torch.frombuffer(memory, dtype=value.dtype).copy_(value.reshape(-1))
            return _of_descriptor, (DupFd(descriptor), value.dtype, tuple(value.shape))
        finally:
            os.close(descriptor)


def _of_descriptor(sent: Any, dtype: torch.dtype, shape: tuple[int, ...]) -> Tensor:
    """Return the tensor that a loader process has put into shared memory."""
    descriptor = sent.detach()
    try:
        memory = mmap.mmap(descriptor, 0)
    finally:
        os.close(descriptor)
    return torch.frombuffer(memory, dtype=dtype).reshape(shape)


def _bytes_of(value: Tensor) -> bytes:
    """Return the numbers of a small tensor of any type."""
    return bytes(value.detach().contiguous().reshape(-1).view(torch.uint8).tolist())


def _of_bytes(content: bytes, dtype: torch.dtype, shape: tuple[int, ...]) -> Tensor:
    """Return the small tensor whose numbers these are."""
    if not content:
        return torch.empty(shape, dtype=dtype)
    return torch.frombuffer(bytearray(content), dtype=dtype).reshape(shape)

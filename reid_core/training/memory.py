"""Whether the memory of a machine can hold a training at all, before the first image is read."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from torch import nn

from reid_core.boundary import OutOfMemory
from reid_core.compute.faults import SMALLER

LIMIT_OF_CONTAINER = Path("/sys/fs/cgroup/memory.max")


def check_memory(
    module: nn.Module, images: int, size: tuple[int, int], device: torch.device
) -> None:
    """Compare the least that a step takes with all that there is; maps within the network are more.

    Args:
        module: What is trained.
        images: In a batch.
        size: (height, width) of an image in pixels.
        device: Where it is trained.

    Raises:
        OutOfMemory: A batch, the parameters and their gradients do not go into it.
    """
    height, width = size
    batch = images * 3 * height * width * 4
    parameters = 2 * sum(p.numel() * p.element_size() for p in module.parameters())
    if (there := memory_of(device)) and batch + parameters > there:
        raise OutOfMemory(
            f"{images} images of {height} x {width} pixels take {_gigabytes(batch)} and the "
            f"network's parameters with gradients {_gigabytes(parameters)}, more than the "
            f"{_gigabytes(there)} of {device}; {SMALLER}"
        )


def memory_of(device: torch.device) -> int:
    """Return the bytes of memory of a device, or of the container; 0 where nobody tells."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    try:
        there = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return 0
    try:
        return min(there, int(LIMIT_OF_CONTAINER.read_text()))
    except (OSError, ValueError):  # there is none, or it is "max"
        return there


def _gigabytes(count: int) -> str:
    return f"{count / 2**30:.1f} GB"

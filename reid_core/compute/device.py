"""Choose the device of a run."""

from __future__ import annotations

import re

import torch

from reid_core.errors import ReidError
from reid_core.params.schema import DEVICE


def choose_device(name: str, key: str = "compute.device") -> torch.device:
    """Return the device of a name; ``"auto"`` is the first GPU, or the CPU without one.

    Args:
        name: ``auto``, ``cpu``, ``cuda`` or ``cuda:<n>``.
        key: Where the params say it, for messages.

    Raises:
        ReidError: The name is unknown or there is no such device.
    """
    if not re.fullmatch(DEVICE, name):
        raise ReidError(f"{key}: '{name}' is no device; use auto, cpu, cuda or cuda:0")
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind, _, number = name.partition(":")
    if kind == "cuda" and int(number or 0) >= torch.cuda.device_count():
        raise ReidError(
            f"{key}: '{name}' is not there ({torch.cuda.device_count()} GPUs found); "
            "use auto or cpu"
        )
    return torch.device(kind, int(number)) if number else torch.device(kind)

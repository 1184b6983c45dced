"""Choose the device of a run."""

from __future__ import annotations

import torch

from reid_core.errors import ReidError


def choose_device(name: str) -> torch.device:
    """Return the device of a name; ``"auto"`` is the first GPU, or the CPU without one.

    Raises:
        ReidError: The name is unknown or there is no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ReidError(
            f"train.device: '{name}' is no device; use auto, cpu, cuda or cuda:0"
        ) from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ReidError(
            f"train.device: '{name}' is not there ({torch.cuda.device_count()} GPUs found); "
            "use auto or cpu"
        )
    return device

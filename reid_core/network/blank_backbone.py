"""A backbone whose weights a checkpoint has: the file that it once started from may be gone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from reid_core.console import say
from reid_core.errors import ReidError


def built_for_checkpoint(build: Callable[[], Any]) -> Any:
    """Build a backbone, without the weights to start from where they cannot be had.

    Args:
        build: Builds it.

    Raises:
        ReidError: It cannot be built, and its state dict is not all that it needs.
    """
    try:
        return build()
    except ReidError as error:
        with torch.device("meta"):  # where no weights are read
            blank = build()
        if not isinstance(blank, nn.Module) or _kept_out(blank):
            raise
        say(f"{error}. They are not needed: the checkpoint has all weights")
        return _with_numbers(blank.to_empty(device="cpu"))


def _with_numbers(module: nn.Module) -> nn.Module:
    """Give a module some finite weights: it is tried before the checkpoint is read."""
    with torch.no_grad():
        for tensor in (*module.parameters(), *module.buffers()):
            tensor.zero_()
    for part in module.modules():
        if callable(reset := getattr(part, "reset_parameters", None)):
            reset()
    return module


def _kept_out(module: nn.Module) -> set[str]:
    """Return the buffers that a state dict leaves out, which a checkpoint cannot restore."""
    return {name for name, _ in module.named_buffers()} - module.state_dict().keys()

"""Parameters that a step leaves without a gradient: they are never trained, and nobody notices."""

from __future__ import annotations

from torch import nn

from reid_core.errors import name_list

SHOWN = 10
"""Names in the line."""


def unused_parameters(module: nn.Module) -> str:
    """Return a line on the parameters without a gradient; empty: all of them have one.

    Args:
        module: After the backward pass of its first step, before the gradients are cleared. What
            requires no gradient, because it is frozen, is not counted.
    """
    trained = [(name, p) for name, p in module.named_parameters() if p.requires_grad]
    unused = [name for name, p in trained if p.grad is None]
    if not unused:
        return ""
    return (
        f"without a gradient after the first step, {len(unused)} of {len(trained)} parameters: "
        f"{name_list(unused, SHOWN)}; no loss depends on them, so they stay as they are"
    )

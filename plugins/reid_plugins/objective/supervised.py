"""The supervised objective: the weighted losses of the params on labelled images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reid_core import Component, Params, hookimpl

if TYPE_CHECKING:
    from torch import nn


def build(params: Params, *, losses: nn.Module) -> nn.Module:
    """Return the weighted losses themselves: they map a ``Step`` to named outputs."""
    return losses


@hookimpl
def reid_objective() -> list[Component]:
    """Offer the objective."""
    return [
        Component(
            name="supervised",
            build=build,
            summary="The weighted losses of the params' loss list",
        )
    ]

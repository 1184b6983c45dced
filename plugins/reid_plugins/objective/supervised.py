"""The supervised objective: the weighted losses of the params on labelled images."""

from __future__ import annotations

from reid_core import ObjectiveComponent, Params, hookimpl
from reid_core.contracts import Objective


def build(params: Params, *, losses: Objective) -> Objective:
    """Return the weighted losses themselves: they map a ``Step`` to named terms."""
    return losses


@hookimpl
def reid_objective() -> list[ObjectiveComponent]:
    """Offer the objective."""
    return [
        ObjectiveComponent(
            name="supervised",
            build=build,
            summary="The weighted losses of the params' loss list",
        )
    ]

"""The head `pcb`: part-based convolutional baseline.

The map is cut into horizontal stripes of equal height; each is pooled, made smaller and
classified on its own, so that every height of the body must tell people apart. A branch
for the whole image stands beside the stripes.

Stands on `toolkit/neck.py` and `toolkit/pooling.py`.

Reference: Sun et al., "Beyond Part Models: Person Retrieval with Refined Part Pooling",
arXiv:1711.09349, section 3. Unlike the paper: max pooling by default, dropout instead of
ReLU after BN, and the branch `global`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from reid_core import Component, Params, hookimpl
from reid_core.contracts import Backbone
from reid_core.limits import LARGEST_DIM, LARGEST_PART_DIM, MOST_PARTS

if TYPE_CHECKING:
    from reid_plugins.head._pcb import PCBHead


class PCBParams(Params):
    """Params of the head `pcb`."""

    parts: int = Field(
        default=6,
        ge=1,
        le=MOST_PARTS,
        description="Number of stripes, from 1; it must divide the map's height.",
    )
    part_dim: int = Field(
        default=256, ge=1, le=LARGEST_PART_DIM, description="Size of each stripe's vector, from 1."
    )
    pooling: Literal["avg", "max", "gem"] = Field(
        default="max",
        description='Of the stripes and the whole: "avg", "max" or "gem" (generalised mean).',
    )
    dropout: float = Field(
        default=0.5,
        ge=0.0,
        lt=1.0,
        description="Probability in [0, 1) that training drops a value after BN.",
    )
    global_dim: int = Field(
        default=256,
        ge=0,
        le=LARGEST_DIM,
        description="Size of the branch for the whole image; 0 leaves the branch out.",
    )


def build(params: PCBParams, *, in_channels: int, backbone: Backbone) -> PCBHead:
    """Build the head for a map of ``in_channels`` channels, as ``backbone`` makes it."""
    from reid_plugins.head._pcb import PCBHead

    return PCBHead(
        in_channels,
        parts=params.parts,
        part_dim=params.part_dim,
        pooling=params.pooling,
        dropout=params.dropout,
        global_dim=params.global_dim,
        stride=backbone.stride,
    )


@hookimpl
def reid_head() -> list[Component]:
    """Offer the PCB head."""
    return [
        Component(
            name="pcb",
            params=PCBParams,
            build=build,
            summary="Stripes with a classifier each: branches 'stripe_<i>', 'parts', 'global'",
            reference="arXiv:1711.09349",
        )
    ]

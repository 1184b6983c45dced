"""The head `visible_parts`: K parts of the body, each with a vector and whether it is visible.

A 1x1 convolution shares every cell of the map out among the background and K parts. A part's
vector is the mean of the map, weighted by its share of the cells; the foreground is all parts
together. A part is visible if it has a large share of at least one cell.

Branches, in this order: ``foreground`` and ``part_1`` to ``part_<K>``, of one size each, which the
distance `visible_parts` relies on; ``parts`` is those of the parts joined, for losses alone. The
identity is learned from ``foreground`` and ``parts``, pairs are compared part by part, since one
part rarely tells who it is.

Reference: Somers et al., "Body Part-Based Representation Learning for Occluded Person
Re-Identification" (BPBReID), arXiv:2211.03679, sections 3.1 and 3.2. Unlike the paper: a BN neck on
every vector, and neither its global branch nor its 512 numbers for each vector.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from reid_core import Component, Params, hookimpl

if TYPE_CHECKING:
    from reid_visible_parts._head import VisiblePartsHead


class VisiblePartsParams(Params):
    """Params of the head `visible_parts`."""

    parts: int = Field(default=5, ge=1, description="Number of parts K, from 1.")
    dim: int = Field(default=256, ge=1, description="Size of each part's vector, from 1.")
    visible_from: float = Field(
        default=0.4,
        gt=0.0,
        lt=1.0,
        description="Share of a cell, in (0, 1), above which its part is visible.",
    )


def build(params: VisiblePartsParams, *, in_channels: int) -> VisiblePartsHead:
    """Build the head for a map of ``in_channels`` channels."""
    from reid_visible_parts._head import VisiblePartsHead

    return VisiblePartsHead(in_channels, params)


@hookimpl
def reid_head() -> list[Component]:
    """Offer the head."""
    return [
        Component(
            name="visible_parts",
            params=VisiblePartsParams,
            build=build,
            summary="Learned parts: branches 'foreground', 'part_<i>'; aux 'visibility'",
            reference="arXiv:2211.03679",
        )
    ]

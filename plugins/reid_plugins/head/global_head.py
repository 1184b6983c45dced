"""The head `global`: one vector for the whole image.

The map is pooled, or the first token of a transformer is taken; the vector is made smaller by a
linear layer if wanted, and passed through a BN neck: metric losses see it before the neck,
classifiers after it.

Stands on `toolkit/neck.py` and `toolkit/pooling.py`.

Reference: Luo et al., "Bag of Tricks and A Strong Baseline for Deep Person
Re-identification", arXiv:1903.07071, section 3.5.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reid_core import Component, hookimpl
from reid_plugins.head._global_params import GlobalParams, build_global

if TYPE_CHECKING:
    from reid_plugins.head._global_head import GlobalHead


def build(params: GlobalParams, *, in_channels: int) -> GlobalHead:
    """Build the head for a map of ``in_channels`` channels."""
    return build_global(params, in_channels)


@hookimpl
def reid_head() -> list[Component]:
    """Offer the global head."""
    return [
        Component(
            name="global",
            params=GlobalParams,
            build=build,
            summary="Pooled map or token, optional linear layer, BN neck: one branch 'global'",
            reference="arXiv:1903.07071",
        )
    ]

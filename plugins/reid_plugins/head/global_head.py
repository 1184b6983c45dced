"""The head `global`: one vector for the whole image.

The map is pooled, made smaller by a linear layer if wanted, and passed through a BN neck:
metric losses see the vector before the neck, classifiers the one after it.

Reference: Luo et al., "Bag of Tricks and A Strong Baseline for Deep Person
Re-identification", arXiv:1903.07071, section 3.5.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from reid_core import Component, Params, hookimpl

if TYPE_CHECKING:
    from reid_plugins.head._global_head import GlobalHead


class GlobalParams(Params):
    """Params of the head `global`."""

    pooling: Literal["avg", "max", "gem"] = Field(
        default="avg", description='"avg", "max" or "gem" (generalised mean, learned exponent).'
    )
    embedding_dim: int | None = Field(
        default=None,
        ge=1,
        description="Size of the vector, from 1, made by a linear layer before the neck; "
        "null keeps the backbone's channels.",
    )
    neck: Literal["bn", "none"] = Field(
        default="bn", description='"bn": batch normalisation before the classifier; "none".'
    )
    dropout: float = Field(
        default=0.0,
        ge=0.0,
        lt=1.0,
        description="Probability in [0, 1) that training drops a value after the neck.",
    )
    bn_bias: bool = Field(
        default=False, description="Whether the neck's batch normalisation learns a bias."
    )


def build(params: GlobalParams, *, in_channels: int) -> GlobalHead:
    """Build the head for a map of ``in_channels`` channels."""
    from reid_plugins.head._global_head import GlobalHead

    return GlobalHead(
        in_channels,
        pooling=params.pooling,
        embedding_dim=params.embedding_dim,
        bn=params.neck == "bn",
        bn_bias=params.bn_bias,
        dropout=params.dropout,
    )


@hookimpl
def reid_head() -> list[Component]:
    """Offer the global head."""
    return [
        Component(
            name="global",
            params=GlobalParams,
            build=build,
            summary="Pooled map, optional linear layer, BN neck: one branch 'global'",
            reference="arXiv:1903.07071",
        )
    ]

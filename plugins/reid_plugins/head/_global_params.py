"""Params of the head `global` and how it is built, for the heads that extend it as well."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from reid_core import Params
from reid_core.limits import LARGEST_DIM

if TYPE_CHECKING:
    from reid_plugins.head._global_head import GlobalHead


class GlobalParams(Params):
    """Params of the head `global`, and of those that extend it."""

    pooling: Literal["avg", "max", "gem", "token"] = Field(
        default="avg",
        description='"avg", "max" or "gem" (generalised mean, learned exponent) of the map; '
        '"token": the first token of a transformer, in place of the map.',
    )
    embedding_dim: int | None = Field(
        default=None,
        ge=1,
        le=LARGEST_DIM,
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


def build_global(params: GlobalParams, in_channels: int) -> GlobalHead:
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

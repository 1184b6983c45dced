"""The module of the head `global`."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from reid_core import ReidError
from reid_core.contracts import BranchSpec, FeatureMap, HeadOutput
from reid_plugins.toolkit.neck import Neck
from reid_plugins.toolkit.pooling import Pooling, make_pooling


class GlobalHead(nn.Module):
    """Pooling or a token, an optional linear layer and a neck; one branch ``global``."""

    def __init__(
        self,
        in_channels: int,
        *,
        pooling: Pooling | Literal["token"] = "avg",
        embedding_dim: int | None = None,
        bn: bool = True,
        bn_bias: bool = False,
        dropout: float = 0.0,
    ) -> None:
        """Serve maps of ``in_channels`` channels; the arguments are those of the params."""
        super().__init__()
        dim = embedding_dim or in_channels
        self.pooling = None if pooling == "token" else make_pooling(pooling)
        self.reduction = nn.Linear(in_channels, dim) if embedding_dim else nn.Identity()
        if isinstance(self.reduction, nn.Linear):
            nn.init.kaiming_normal_(self.reduction.weight, mode="fan_out")
            nn.init.zeros_(self.reduction.bias)
        self.neck = Neck(dim, bn=bn, bias=bn_bias, dropout=dropout)
        self.branches = (BranchSpec("global", dim, "global", frozenset({"id", "metric"})),)

    def forward(self, features: FeatureMap) -> HeadOutput:
        """Map ``(B, C, h, w)`` to the branch ``global`` of ``(B, d)``."""
        pooled = first_token(features) if self.pooling is None else self.pooling(features.map)
        return HeadOutput({"global": self.neck(self.reduction(pooled))})


def first_token(features: FeatureMap) -> Tensor:
    """Return the token of the whole image, ``(B, C)``.

    Raises:
        ReidError: The backbone gives none.
    """
    if features.tokens is None:
        raise ReidError(
            "head: the pooling 'token' takes the first token of a transformer, and the backbone "
            "gives no tokens; use another backbone, or the pooling 'avg', 'max' or 'gem'"
        )
    return features.tokens[:, 0]

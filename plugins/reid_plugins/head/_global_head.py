"""The module of the head `global`."""

from __future__ import annotations

from torch import nn

from reid_core.contracts import BranchSpec, FeatureMap, HeadOutput
from reid_plugins.toolkit.neck import Neck
from reid_plugins.toolkit.pooling import Pooling, make_pooling


class GlobalHead(nn.Module):
    """Pooling, an optional linear layer and a neck; one branch ``global``."""

    def __init__(
        self,
        in_channels: int,
        *,
        pooling: Pooling = "avg",
        embedding_dim: int | None = None,
        bn: bool = True,
        bn_bias: bool = False,
        dropout: float = 0.0,
    ) -> None:
        """Serve maps of ``in_channels`` channels; the arguments are those of the params."""
        super().__init__()
        dim = embedding_dim or in_channels
        self.pooling = make_pooling(pooling)
        self.reduction = nn.Linear(in_channels, dim) if embedding_dim else nn.Identity()
        if isinstance(self.reduction, nn.Linear):
            nn.init.kaiming_normal_(self.reduction.weight, mode="fan_out")
            nn.init.zeros_(self.reduction.bias)
        self.neck = Neck(dim, bn=bn, bias=bn_bias, dropout=dropout)
        self.branches = (BranchSpec("global", dim, "global", frozenset({"id", "metric"})),)

    def forward(self, features: FeatureMap) -> HeadOutput:
        """Map ``(B, C, h, w)`` to the branch ``global`` of ``(B, d)``."""
        return HeadOutput({"global": self.neck(self.reduction(self.pooling(features.map)))})

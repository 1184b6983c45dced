"""The module of the head `pcb`."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from reid_core import ReidError
from reid_core.contracts import Branch, BranchSpec, FeatureMap, HeadOutput
from reid_plugins.head._global_head import GlobalHead
from reid_plugins.toolkit.neck import Neck
from reid_plugins.toolkit.pooling import Pooling, make_pooling


def split_stripes(x: Tensor, parts: int, stride: int) -> Tensor:
    """Cut a map ``(B, C, h, w)`` into stripes ``(B, C, parts, h / parts, w)``, top first.

    Args:
        x: The feature map.
        parts: Number of stripes.
        stride: Input pixels per cell of the map, to say which input heights would fit.

    Raises:
        ReidError: ``parts`` does not divide the map's height.
    """
    images, channels, height, width = x.shape
    if height % parts or height == 0:
        below = height // parts * parts * stride
        fitting = f"{below} or {below + parts * stride}" if below else f"{parts * stride}"
        raise ReidError(
            f"head 'pcb': {parts} parts do not divide the feature map's height of {height} "
            f"cells; with {stride} pixels per cell an input height of {fitting} fits"
        )
    return x.reshape(images, channels, parts, height // parts, width)


class PCBHead(nn.Module):
    """Stripes with an embedding each, their concatenation, and a global branch beside them."""

    def __init__(
        self,
        in_channels: int,
        *,
        parts: int = 6,
        part_dim: int = 256,
        pooling: Pooling = "max",
        dropout: float = 0.5,
        global_dim: int = 256,
        stride: int = 16,
    ) -> None:
        """Serve maps of ``in_channels`` channels; the arguments are those of the params."""
        super().__init__()
        self.parts, self.stride = parts, stride
        self.pooling = make_pooling(pooling)
        # A 1x1 convolution of a pooled stripe is a linear layer.
        self.reductions = nn.ModuleList(nn.Linear(in_channels, part_dim) for _ in range(parts))
        self.necks = nn.ModuleList(Neck(part_dim, bias=True, dropout=dropout) for _ in range(parts))
        self.whole = (
            GlobalHead(
                in_channels,
                pooling=pooling,
                embedding_dim=global_dim,
                bn_bias=True,
                dropout=dropout,
            )
            if global_dim
            else None
        )
        stripes = [f"stripe_{i}" for i in range(parts)]
        self.branches = (
            *(BranchSpec(name, part_dim, name, frozenset({"id"})) for name in stripes),
            # The stripes already put these values into the test embedding.
            BranchSpec("parts", parts * part_dim, None, frozenset({"metric"}), in_test=False),
            *(self.whole.branches if self.whole else ()),
        )

    def forward(self, features: FeatureMap) -> HeadOutput:
        """Map ``(B, C, h, w)`` to the stripes' branches, ``parts`` and ``global``."""
        pooled = self.pooling(split_stripes(features.map, self.parts, self.stride))
        branches: dict[str, Branch] = {}  # pooled: (B, C, parts)
        for i, (reduction, neck) in enumerate(zip(self.reductions, self.necks, strict=True)):
            branches[f"stripe_{i}"] = neck(reduction(pooled[:, :, i]))
        branches["parts"] = Branch(
            feature=torch.cat([stripe.feature for stripe in branches.values()], dim=1),
            embedding=torch.cat([stripe.embedding for stripe in branches.values()], dim=1),
        )
        if self.whole:
            branches.update(self.whole(features).branches)
        return HeadOutput(branches)

"""The module of the head `visible_parts`.

Shapes: B images, C channels, h x w cells, K parts, d numbers of a part's vector.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from reid_core.contracts import Branch, BranchSpec, FeatureMap, HeadOutput
from reid_plugins.toolkit.neck import Neck

if TYPE_CHECKING:
    from reid_visible_parts.head import VisiblePartsParams


def weighted_means(features: Tensor, weights: Tensor) -> Tensor:
    """Return the means ``(B, K, C)`` of a map ``(B, C, h, w)`` by K weights ``(B, K, h, w)``.

    Where all weights of a map are 0, so is its mean.
    """
    sums = torch.einsum("bkhw,bchw->bkc", weights, features)
    return sums / weights.sum(dim=(2, 3))[..., None].clamp(min=1e-6)


class VisiblePartsHead(nn.Module):
    """Foreground and parts; aux ``part_logits (B, K + 1, h, w)`` and ``visibility (B, K)``."""

    def __init__(self, in_channels: int, params: VisiblePartsParams) -> None:
        """Serve maps of ``in_channels`` channels."""
        super().__init__()
        self.visible_from = params.visible_from
        self.attention = nn.Conv2d(in_channels, params.parts + 1, kernel_size=1)
        self.names = ("foreground", *(f"part_{i}" for i in range(1, params.parts + 1)))
        self.reductions = nn.ModuleList(nn.Linear(in_channels, params.dim) for _ in self.names)
        self.necks = nn.ModuleList(Neck(params.dim) for _ in self.names)
        self.branches = (
            BranchSpec("foreground", params.dim, "foreground", frozenset({"id"})),
            *(BranchSpec(name, params.dim, None, frozenset({"metric"})) for name in self.names[1:]),
            # The parts already put these values into the test embedding.
            BranchSpec(
                "parts", params.parts * params.dim, "parts", frozenset({"id"}), in_test=False
            ),
        )

    def forward(self, features: FeatureMap) -> HeadOutput:
        """Map ``(B, C, h, w)`` to the branches; 0 of the logits is the background."""
        logits = self.attention(features.map)
        shares = logits.float().softmax(dim=1)
        weights = torch.cat([1.0 - shares[:, :1], shares[:, 1:]], dim=1)  # foreground, parts
        means = weighted_means(features.map, weights.to(features.map.dtype))
        branches = {
            name: neck(reduction(means[:, i]))
            for i, (name, reduction, neck) in enumerate(
                zip(self.names, self.reductions, self.necks, strict=True)
            )
        }
        parts = [branches[name] for name in self.names[1:]]
        branches["parts"] = Branch(
            feature=torch.cat([part.feature for part in parts], dim=1),
            embedding=torch.cat([part.embedding for part in parts], dim=1),
        )
        visibility = shares[:, 1:].detach().amax(dim=(2, 3)) > self.visible_from
        return HeadOutput(branches, {"part_logits": logits, "visibility": visibility.float()})

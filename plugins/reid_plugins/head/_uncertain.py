"""The module of the head `uncertain`."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from torch import nn

from reid_core.contracts import FeatureMap, HeadOutput
from reid_plugins.head._global_head import GlobalHead
from reid_plugins.head._norm_to_uncertainty import NormToUncertainty


class UncertainHead(nn.Module):
    """The global head and, in ``aux``, the uncertainty ``uc (B,)`` of each image."""

    def __init__(
        self,
        global_head: GlobalHead,
        uncertainty: NormToUncertainty,
        *,
        norm_of: Literal["feature", "embedding"] = "feature",
    ) -> None:
        """Extend ``global_head``; ``norm_of`` says which of its vectors is measured."""
        super().__init__()
        self.global_head = global_head
        self.uncertainty = uncertainty
        self.norm_of = norm_of
        self.branches = global_head.branches

    def forward(self, features: FeatureMap) -> HeadOutput:
        """Map ``(B, C, h, w)`` to the branch ``global`` of ``(B, d)`` and ``uc``."""
        output: HeadOutput = self.global_head(features)
        vectors = getattr(output.branches["global"], self.norm_of)
        return replace(output, aux={"uc": self.uncertainty(vectors)})

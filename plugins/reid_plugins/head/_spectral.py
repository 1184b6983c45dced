"""The module of the head `spectral` and its transform."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reid_core.contracts import Branch, BranchSpec, FeatureMap, HeadOutput, Progress
from reid_plugins.head._global_head import GlobalHead


def spectral_transform(
    x: Tensor, temperature: float, normalize: Literal["row", "column"] = "row"
) -> Tensor:
    """Replace every row by a mean of all rows, weighted by similarity.

    Args:
        x: ``(B, d)``; its rows are compared by cosine and mixed as they are.
        temperature: Divides the cosines, above 0.
        normalize: ``"row"``: the weights of a mean sum to 1. ``"column"``: the weights that
            an image gives away sum to 1; the affinity is symmetric, so this is the transpose.

    Returns:
        ``T x``, ``(B, d)``; an image is a neighbour of its own.
    """
    directions = F.normalize(x, dim=1)  # a zero vector stays zero
    affinity = directions @ directions.T / temperature  # (B, B)
    return affinity.softmax(dim=1 if normalize == "row" else 0) @ x


class SpectralHead(nn.Module):
    """The global head and a second branch, ``spectral``, for the same classifier."""

    def __init__(
        self,
        global_head: GlobalHead,
        *,
        temperature: float = 0.3,
        gate: float = 0.9,
        normalize: Literal["row", "column"] = "row",
    ) -> None:
        """Extend ``global_head``; the arguments are those of the params."""
        super().__init__()
        self.global_head = global_head
        self.temperature, self.gate = temperature, gate
        self.normalize: Literal["row", "column"] = normalize
        self.is_open = gate == 0
        (spec,) = global_head.branches
        self.branches = (
            spec,
            BranchSpec("spectral", spec.dim, spec.classifier, frozenset({"id"}), in_test=False),
        )

    def set_progress(self, progress: Progress) -> None:
        """Open the gate while the running identity accuracy is high enough."""
        self.is_open = progress.accuracy >= self.gate

    def forward(self, features: FeatureMap) -> HeadOutput:
        """Map ``(B, C, h, w)`` to ``global`` and ``spectral``, both ``(B, d)``.

        The spectral branch has no neck of its own: its feature is its embedding.
        """
        plain: Branch = self.global_head(features).branches["global"]
        mixed = self.transform(plain.embedding) if self.training and self.is_open else None
        spectral = plain.embedding if mixed is None else mixed
        return HeadOutput({"global": plain, "spectral": Branch(spectral, spectral)})

    def transform(self, x: Tensor) -> Tensor:
        """Transform ``(B, d)`` in float32: low temperatures magnify rounding."""
        # Autocast does not know the meta device.
        off = nullcontext() if x.is_meta else torch.autocast(x.device.type, enabled=False)
        with off:
            wide = x.to(torch.promote_types(x.dtype, torch.float32))
            return spectral_transform(wide, self.temperature, self.normalize).to(x.dtype)

"""The BN neck: distances want the vector before it, classifiers the vector after it.

The heads stand on it.

Reference: Luo et al., "Bag of Tricks and A Strong Baseline for Deep Person
Re-identification", arXiv:1903.07071, section 3.5.
"""

from __future__ import annotations

from torch import Tensor, nn

from reid_core.contracts import Branch


class BNNeck(nn.BatchNorm1d):
    """Batch normalisation with weight 1 and bias 0; the bias stays 0 unless asked for.

    Without a bias the classifier's hyperplanes pass through the origin, which suits
    retrieval by cosine.
    """

    def __init__(self, dim: int, bias: bool = False) -> None:
        """Normalise vectors of size ``dim``; ``bias`` makes the bias learnable."""
        super().__init__(dim)
        self.bias.requires_grad_(bias)


class Neck(nn.Module):
    """From a pooled feature to a branch: BN neck or nothing, then dropout in training."""

    def __init__(
        self, dim: int, *, bn: bool = True, bias: bool = False, dropout: float = 0.0
    ) -> None:
        """Serve a branch of size ``dim``."""
        super().__init__()
        self.bn = BNNeck(dim, bias) if bn else nn.Identity()
        self.dropout = nn.Dropout(dropout)

    def forward(self, feature: Tensor) -> Branch:
        """Return the feature ``(B, d)`` as it is, with its embedding ``(B, d)``."""
        return Branch(feature, self.dropout(self.bn(feature)))

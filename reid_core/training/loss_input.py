"""What a loss sees of its vectors: the same in a training and for a loss that is built alone."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor
from torch.nn import functional as F


def loss_vectors(vectors: Tensor, normalize: bool) -> Tensor:
    """Return vectors ``(B, d)`` as a loss sees them: float32, L2-normalised where it wants that."""
    features = vectors.float()
    return F.normalize(features, dim=1) if normalize else features


def in_float32(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return values of heads by name, real ones in float32; whole numbers stay what they are."""
    return {n: v.float() if v.is_floating_point() else v for n, v in values.items()}

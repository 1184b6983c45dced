"""The center loss and its centers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from reid_core.contracts import LossInput, LossOutput


def squared_center_distance(features: Tensor, centers: Tensor, pids: Tensor) -> Tensor:
    """Return the squared distance of every image to the center of its identity: ``(B,)``.

    Args:
        features: ``(B, d)``.
        centers: ``(num_pids, d)``.
        pids: ``(B,)`` int64.
    """
    return (features - centers[pids]).square().sum(dim=1)


class CenterLoss(nn.Module):
    """The mean squared distance to the own center, and the centers' steps.

    Attributes:
        centers: Buffer ``(num_pids, d)``, one center per identity.
        rate: Learning rate of the centers.
    """

    centers: Tensor

    def __init__(self, num_pids: int, dim: int, rate: float) -> None:
        """Draw the centers from a normal distribution, as weights are: from torch's generator."""
        super().__init__()
        self.rate = rate
        self.register_buffer("centers", torch.randn(num_pids, dim))
        self._seen: tuple[Tensor, Tensor] | None = None

    def forward(self, x: LossInput) -> LossOutput:
        """Return the mean over the batch; in training, remember the batch for ``after_step``."""
        squared = squared_center_distance(x.features, self.centers, x.pids)  # (B,)
        if self.training:
            self._seen = x.features.detach(), x.pids
        return LossOutput(squared.mean(), {"center_distance": squared.detach().sqrt().mean()})

    @torch.no_grad()
    def after_step(self) -> None:
        """Take one step of gradient descent with the centers, on the batch seen last.

        This is what a second optimizer for the centers does whose gradient is divided by the
        weight of the loss in the total.
        """
        if self._seen is None:
            return
        features, pids = self._seen
        gradient = 2 / len(pids) * (self.centers[pids] - features)  # (B, d)
        self.centers.index_add_(0, pids, gradient, alpha=-self.rate)
        self._seen = None

"""How many images are recognised: what every loss over identities tells as its accuracy."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def accuracy(logits: Tensor, pids: Tensor) -> Tensor:
    """Return the fraction of rows whose largest logit is the right identity, detached.

    Args:
        logits: ``(B, num_pids)``, before any margin.
        pids: ``(B,)`` int64.
    """
    return (logits.detach().argmax(dim=1) == pids).float().mean()

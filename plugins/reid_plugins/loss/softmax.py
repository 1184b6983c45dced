"""The loss `softmax`: cross entropy over identities, with label smoothing.

Every training identity is a class. Smoothing moves a part of the target's probability to
the classes alike, so that the network is not driven to be ever more certain.

Stands on `toolkit/accuracy.py`.

Reference: Szegedy et al., "Rethinking the Inception Architecture for Computer Vision",
arXiv:1512.00567, section 7.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from reid_core import LossComponent, Params, hookimpl
from reid_core.contracts import Loss, LossInput, LossOutput
from reid_plugins.toolkit.accuracy import accuracy

if TYPE_CHECKING:
    from torch import Tensor


class SoftmaxParams(Params):
    """Params of the loss `softmax`."""

    label_smoothing: float = Field(
        default=0.1,
        ge=0.0,
        le=1.0,
        description="Probability in [0, 1] that is spread evenly; 0 is plain cross entropy.",
    )
    smoothing: Literal["uniform", "others"] = Field(
        default="uniform",
        description="Where it goes: 'uniform', all identities, the right one included; 'others', "
        "only the wrong ones.",
    )


def smoothed_cross_entropy(logits: Tensor, pids: Tensor, smoothing: float) -> Tensor:
    """Return the mean cross entropy against ``(1 - s) onehot + s / num_pids``.

    Args:
        logits: ``(B, num_pids)``.
        pids: ``(B,)`` int64.
        smoothing: The probability s that is spread over all identities.
    """
    log_p = logits.log_softmax(dim=1)  # (B, num_pids)
    right = log_p.gather(1, pids[:, None]).mean()
    return -(1 - smoothing) * right - smoothing * log_p.mean()


def uniform_share(share: float, num_pids: int) -> float:
    """Return the share over all identities that equals one over the wrong ones alone.

    Args:
        share: Probability taken from the right identity.
        num_pids: Number of identities.
    """
    # The right identity gets a 1 / num_pids of it back.
    return share * num_pids / max(1, num_pids - 1)


def build(params: SoftmaxParams) -> Loss:
    """Build the loss; the core hands it the logits of the branch's classifier."""

    def loss(x: LossInput) -> LossOutput:
        assert x.logits is not None, "declared in needs"
        share = params.label_smoothing
        if params.smoothing == "others":
            share = uniform_share(share, x.logits.shape[1])
        value = smoothed_cross_entropy(x.logits, x.pids, share)
        return LossOutput(value, accuracy=accuracy(x.logits, x.pids))

    return loss


@hookimpl
def reid_loss() -> list[LossComponent]:
    """Offer the softmax loss."""
    return [
        LossComponent(
            name="softmax",
            params=SoftmaxParams,
            build=build,
            summary="Cross entropy over identities with label smoothing",
            reference="arXiv:1512.00567",
            role="id",
            on="embedding",
            needs=frozenset({"classifier"}),
        )
    ]

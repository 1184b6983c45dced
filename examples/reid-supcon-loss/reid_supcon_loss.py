"""The loss `supcon`: every image picks its own person's images out of the batch.

For an anchor, the softmax of the cosines over all other images says how likely it picks each of
them; the loss is the negative logarithm of that, averaged over the images of the same person.

Reference: Khosla et al., "Supervised Contrastive Learning", arXiv:2004.11362, equation 2; the
mean over the anchors instead of their sum.

Stands on `reid_plugins.toolkit.pair_mining`, which tells the pairs of a batch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from reid_core import LossComponent, Params, hookimpl
from reid_core.contracts import Loss, LossInput, LossOutput
from reid_plugins.toolkit.pair_mining import pair_masks, pair_means

if TYPE_CHECKING:
    from torch import Tensor


class SupConParams(Params):
    """Params of the loss `supcon`."""

    temperature: float = Field(
        default=0.1,
        gt=0.0,
        le=10.0,
        description="Divisor of the cosines in (0, 10]; the smaller, the more the images that are "
        "most alike count.",
    )


def supcon_loss(cosine: Tensor, positive: Tensor, negative: Tensor, temperature: float) -> Tensor:
    """Return the mean of equation 2 over the anchors that have a positive, a scalar.

    A batch without positive pairs gives exactly 0.

    Args:
        cosine: ``(B, B)``, -1 to 1; a row is an anchor.
        positive: ``(B, B)`` bool, from ``pair_masks``.
        negative: ``(B, B)`` bool, likewise.
        temperature: The tau of the paper.
    """
    import torch

    logits = cosine / temperature
    # The exponential of the lowest number is 0. Minus infinity would do that too, but the
    # backward pass of a row of nothing else, a single image, would make a NaN.
    lowest = torch.finfo(logits.dtype).min
    all_others = logits.masked_fill(~(positive | negative), lowest).logsumexp(dim=1)  # (B,)
    count = positive.sum(dim=1)  # (B,)
    # log(exp(a) / sum(exp(b))) = a - logsumexp(b), whose second part all positives share.
    losses = all_others - (logits * positive).sum(dim=1) / count.clamp(min=1)
    complete = count > 0
    return losses.masked_fill(~complete, 0).sum() / complete.sum().clamp(min=1)


def build(params: SupConParams) -> Loss:
    """Build the loss; the core hands it L2-normalised vectors of all processes."""

    def loss(x: LossInput) -> LossOutput:
        cosine = x.features @ x.features.T  # (B, B)
        positive, negative = pair_masks(x.pids)
        value = supcon_loss(cosine, positive, negative, params.temperature)
        return LossOutput(value, pair_means("cosine", cosine, positive, negative))

    return loss


@hookimpl
def reid_loss() -> list[LossComponent]:
    """Offer the supervised contrastive loss."""
    return [
        LossComponent(
            name="supcon",
            params=SupConParams,
            build=build,
            summary="Every image picks its person's images out of the batch, by a softmax",
            reference="arXiv:2004.11362",
            role="metric",
            on="embedding",
            normalize=True,
            needs=frozenset({"pairs"}),
        )
    ]

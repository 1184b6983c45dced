"""The loss `part_masks`: every cell of the map says which part of the body it shows.

The mean over all cells of the cross entropy between the part logits of the head `visible_parts` and
the mask ``parts`` beside the image: 0 is the background, 1 to K are the parts. The mask has been
moved with the image; what came in from outside, or was erased, is background.

Reference: Somers et al., arXiv:2211.03679, section 3.3, equation 5, without label smoothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from reid_core import LossComponent, Params, ReidError, hookimpl
from reid_core.contracts import Loss, LossInput, LossOutput

if TYPE_CHECKING:
    from torch import Tensor

LOGITS = "part_logits"
"""What the loss reads of the heads, ``(B, K + 1, h, w)``."""

MASK = "parts"
"""What it reads beside the images, ``(B, H, W)`` uint8."""


def labels_of_cells(mask: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the labels ``(B, h, w)`` int64 of a mask ``(B, H, W)`` in the middle of each cell."""
    from torch.nn import functional as F

    cells = F.interpolate(mask[:, None].float(), size=size, mode="nearest-exact")
    return cells[:, 0].long()


def check_labels(mask: Tensor, parts: int) -> None:
    """Refuse masks with more parts than the head has.

    Raises:
        ReidError: Names the largest label.
    """
    if (largest := int(mask.max())) > parts:
        raise ReidError(
            f"loss 'part_masks': a mask '{MASK}' has the label {largest}, and the head has "
            f"{parts} parts, whose labels are 1 to {parts}; give the head more 'parts', or draw "
            "other masks"
        )


def build(params: Params) -> Loss:
    """Build the loss; it looks at no vector, so that one branch is enough for it."""
    from torch.nn import functional as F

    def loss(x: LossInput) -> LossOutput:
        logits, mask = x.aux[LOGITS], cast("Tensor", x.extras[MASK])
        if x.progress.epoch == 0:  # a GPU waits for it, so that later epochs do without
            check_labels(mask, logits.shape[1] - 1)
        labels = labels_of_cells(mask, (logits.shape[2], logits.shape[3]))
        right = (logits.argmax(dim=1) == labels).float().mean()
        return LossOutput(F.cross_entropy(logits, labels), {"right_cells": right})

    return loss


@hookimpl
def reid_loss() -> list[LossComponent]:
    """Offer the loss."""
    return [
        LossComponent(
            name="part_masks",
            build=build,
            summary="Teaches the head 'visible_parts' where parts are, by masks beside the images",
            reference="arXiv:2211.03679",
            role="id",
            reads=(LOGITS,),
            extras=(MASK,),
        )
    ]

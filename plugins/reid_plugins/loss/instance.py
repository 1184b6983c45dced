"""The loss `instance`: every image of a batch, or every identity, is a class of its own.

Each vector is classified among the vectors of the batch and must find itself. Its own
cosine is always 1, so the loss only pushes vectors apart; by image, also those of one
identity. It is used beside a loss that pulls identities together.

Stands on `toolkit/margin_logits.py`.

Reference: Zheng et al., "Dual-Path Convolutional Image-Text Embeddings with Instance Loss",
arXiv:1711.05535; here the vectors of the batch stand in for a classifier with one class per
image.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from reid_core import LossComponent, Params, hookimpl
from reid_core.contracts import Loss, LossInput, LossOutput
from reid_plugins.toolkit.margin_logits import unit_rows

if TYPE_CHECKING:
    from torch import Tensor


class InstanceParams(Params):
    """Params of the loss `instance`."""

    scale: float = Field(
        default=32.0, gt=0.0, description="Multiplies the cosines before the softmax, above 0."
    )
    level: Literal["image", "identity"] = Field(
        default="image",
        description="What is kept apart: 'image', each image from all others; 'identity', the "
        "mean direction of each identity of the batch from those of the others.",
    )


def first_of_identity(pids: Tensor) -> Tensor:
    """Return the position of the first image of each image's identity, ``(B,)`` int64."""
    # Of equal values, argmax returns the first.
    return (pids[:, None] == pids[None, :]).int().argmax(dim=1)


def identity_means(vectors: Tensor, pids: Tensor) -> Tensor:
    """Return the mean of each image's identity: equal rows for the images of one.

    Args:
        vectors: ``(B, d)``.
        pids: ``(B,)`` int64; identities may have different numbers of images.

    Returns:
        ``(B, d)``; a row per image and not per identity, so that its size is known before
        the pids are.
    """
    same = (pids[:, None] == pids[None, :]).to(vectors.dtype)  # (B, B)
    return (same / same.sum(1, keepdim=True)) @ vectors


def instance_loss(vectors: Tensor, owner: Tensor, scale: float) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the mean cross entropy of finding each vector among all, and its monitors.

    Args:
        vectors: ``(B, d)``; only their directions count.
        owner: ``(B,)`` int64, position of the row that stands for each row; a row that
            stands for itself is a class, the others are left out.
        scale: Factor on the cosines.

    Returns:
        The value, 0 with a single class; the mean cosine of different classes, 0 likewise.
    """
    import torch
    import torch.nn.functional as F

    unit = unit_rows(vectors)
    cosine = unit @ unit.T  # (B, B)
    position = torch.arange(len(owner), device=owner.device)
    classes = owner == position  # (B,)
    logits = (scale * cosine).masked_fill(~classes, -torch.inf)  # columns that are no class
    terms = F.cross_entropy(logits, owner, reduction="none") * classes
    others = classes[:, None] & classes & (position[:, None] != position)
    apart = (cosine.detach() * others).sum() / others.sum().clamp(min=1)
    return terms.sum() / classes.sum(), {"negative_cosine": apart}


def build(params: InstanceParams) -> Loss:
    """Build the loss; the core hands it the batch of all processes."""

    def loss(x: LossInput) -> LossOutput:
        import torch

        if params.level == "identity":
            means = identity_means(unit_rows(x.features), x.pids)
            return LossOutput(*instance_loss(means, first_of_identity(x.pids), params.scale))
        each = torch.arange(len(x.pids), device=x.pids.device)
        return LossOutput(*instance_loss(x.features, each, params.scale))

    return loss


@hookimpl
def reid_loss() -> list[LossComponent]:
    """Offer the instance loss."""
    return [
        LossComponent(
            name="instance",
            params=InstanceParams,
            build=build,
            summary="Every image or identity of the batch is kept apart from all others",
            reference="arXiv:1711.05535",
            role="metric",
            on="embedding",
            needs=frozenset({"batch"}),
        )
    ]

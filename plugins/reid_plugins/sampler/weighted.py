"""Images or identities drawn at random with weights, so that rare people or cameras count more.

The weight of an image is n_pid ** -identity_power * n_cam ** -camera_power, where n_pid and n_cam
are the numbers of training images of its identity and of its camera (images of unknown cameras
count as one camera). Powers (0, 0) leave all images equal; (1, 0) all identities; (1, 1)
favours rare cameras as well.
``weighted_images`` draws every image of a batch with probability weight / sum of weights, with
replacement; small identities need no rule. ``weighted`` draws P identities with K images each: an
identity weighs as much as its images together and is drawn with replacement from batch to
batch, but not twice in one; its images are drawn by their weights, none twice before
all are there; ``small_ids`` is as in ``class_balanced``. Both visit a given identity by chance,
not once a round.

Stands on `toolkit/pk_batches.py`.

Reference: He et al., "FastReID: A Pytorch Toolbox for General Instance Re-identification",
arXiv:2006.02631 (the imbalanced dataset sampler of its code: powers 1 and 0 on images).
"""

from __future__ import annotations

from functools import partial

import numpy as np
from pydantic import Field

from reid_core import Params, SamplerComponent, hookimpl
from reid_core.limits import LARGEST_BATCH
from reid_plugins.toolkit.pk_batches import (
    DrawnBatches,
    PKParams,
    epoch_length,
    fill_batches,
    group_by_identity,
    rank_slice,
    usable_identities,
)


class Powers(Params):
    """How strongly frequent identities and cameras are held back."""

    identity_power: float = Field(
        default=1.0,
        ge=0,
        le=4,
        description="Exponent a of the weight n_pid ** -a, 0 to 4: 0 draws an identity in "
        "proportion to its images, 1 all identities alike.",
    )
    camera_power: float = Field(
        default=0.0,
        ge=0,
        le=4,
        description="Exponent b of the weight n_cam ** -b, 0 to 4: 0 ignores cameras, 1 draws "
        "from all cameras alike, as far as identities allow it.",
    )


class WeightedParams(Powers, PKParams):
    """Params of the sampler ``weighted``."""


class WeightedImagesParams(Powers):
    """Params of the sampler ``weighted_images``."""

    batch_size: int = Field(
        default=64,
        ge=1,
        le=LARGEST_BATCH,
        description="Images per batch, counted over all processes (>= 1).",
    )


def image_weights(labels: np.ndarray, camids: np.ndarray, powers: Powers) -> np.ndarray:
    """Return the weights ``(N,)`` float64 of images, positive and of mean 1.

    Args:
        labels: ``(N,)`` identities.
        camids: ``(N,)`` cameras, -1 unknown.
        powers: Exponents.
    """
    weights = np.ones(len(labels))
    for groups, power in ((labels, powers.identity_power), (camids, powers.camera_power)):
        _, group, counts = np.unique(groups, return_inverse=True, return_counts=True)
        weights *= counts[group].astype(np.float64) ** -power
    weights /= weights.mean()
    return weights


def draw_identities(
    rng: np.random.Generator,
    groups: list[np.ndarray],
    weights: np.ndarray,
    batches: int,
    p: int,
    k: int,
) -> np.ndarray:
    """Draw the batches of one epoch of ``weighted`` for all ranks.

    Args:
        rng: Source of randomness.
        groups: Positions of each identity's images; at least ``p`` identities.
        weights: ``(N,)`` of every image.
        batches: Batches to draw.
        p: Identities per batch, all distinct.
        k: Images per identity.

    Returns:
        ``(batches, p, k)`` int64 positions.
    """
    shares = np.array([weights[images].sum() for images in groups])
    shares /= shares.sum()
    # Of distinct numbers choice draws one after the other, by the shares of those left.
    visits = [rng.choice(len(groups), p, replace=False, p=shares) for _ in range(batches)]

    def pick(identity: int, count: int) -> np.ndarray:
        images = groups[identity]
        chances = weights[images] / weights[images].sum()
        size = min(k, len(images))
        return np.stack(
            [np.resize(rng.choice(images, size, replace=False, p=chances), k) for _ in range(count)]
        )

    return fill_batches(np.stack(visits), pick)


def draw_images(
    rng: np.random.Generator, weights: np.ndarray, batches: int, size: int
) -> np.ndarray:
    """Draw the batches ``(batches, size, 1)`` of one epoch of ``weighted_images``, as positions."""
    return rng.choice(len(weights), (batches, size, 1), p=weights / weights.sum())


def build(
    params: WeightedParams,
    *,
    labels: np.ndarray,
    camids: np.ndarray,
    seed: int,
    rank: int,
    world_size: int,
) -> DrawnBatches:
    """Return the batch sampler ``weighted`` of one rank.

    Raises:
        ReidError: There are fewer than P identities, or P cannot be shared equally.
    """
    share = rank_slice(params.P, "P", rank, world_size)
    groups = usable_identities("weighted", group_by_identity(labels), params.P, params)
    weights = image_weights(labels, camids, params)
    length = epoch_length(groups, params)
    draw = partial(
        draw_identities, groups=groups, weights=weights, batches=length, p=params.P, k=params.K
    )
    return DrawnBatches("weighted", draw, length, seed=seed, share=share)


def build_images(
    params: WeightedImagesParams,
    *,
    labels: np.ndarray,
    camids: np.ndarray,
    seed: int,
    rank: int,
    world_size: int,
) -> DrawnBatches:
    """Return the batch sampler ``weighted_images`` of one rank: floor(N / batch_size) batches.

    Raises:
        ReidError: The batch cannot be shared equally.
    """
    share = rank_slice(params.batch_size, "batch_size", rank, world_size)
    length = max(1, len(labels) // params.batch_size)
    weights = image_weights(labels, camids, params)
    draw = partial(draw_images, weights=weights, batches=length, size=params.batch_size)
    return DrawnBatches("weighted_images", draw, length, seed=seed, share=share)


@hookimpl
def reid_sampler() -> list[SamplerComponent]:
    """Offer ``weighted`` and ``weighted_images``."""
    return [
        SamplerComponent(
            name="weighted",
            params=WeightedParams,
            build=build,
            summary="P x K batches of identities drawn by inverse frequency to a power",
            reference="arXiv:2006.02631",
        ),
        SamplerComponent(
            name="weighted_images",
            params=WeightedImagesParams,
            build=build_images,
            summary="Images drawn with replacement by inverse frequency to a power",
            reference="arXiv:2006.02631",
        ),
    ]

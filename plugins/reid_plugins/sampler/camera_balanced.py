"""P identities with K images each, preferably from different cameras.

A person is hard to recognise across cameras: two images from one camera teach little. Each visit
of an identity takes one image, the anchor, and K - 1 images of other cameras where there are any;
among those that may be taken, the least used of the epoch come first. So images of an identity
under one camera are used equally often, give or take one. Identities walk through shuffled rounds,
as in ``class_balanced``, and ``small_ids`` is the same. Unknown cameras (-1) are never taken
for other ones.

Stands on `toolkit/pk_batches.py` and `toolkit/rounds.py`.

Reference: He et al., "FastReID: A Pytorch Toolbox for General Instance Re-identification",
arXiv:2006.02631 (the balanced identity sampler of its code).
"""

from __future__ import annotations

from functools import partial
from typing import Literal

import numpy as np
from pydantic import Field

from reid_core import ReidError, SamplerComponent, hookimpl
from reid_core.contracts import UNKNOWN_CAMERA
from reid_plugins.toolkit.pk_batches import (
    DrawnBatches,
    PKParams,
    epoch_length,
    fill_batches,
    group_by_identity,
    rank_slice,
    usable_identities,
)
from reid_plugins.toolkit.rounds import shuffled_rounds


class CameraBalancedParams(PKParams):
    """Params of the sampler ``camera_balanced``."""

    few_others: Literal["repeat", "own_camera"] = Field(
        default="repeat",
        description="When other cameras have fewer than K - 1 images: 'repeat' shows these more "
        "than once in the batch (FastReID), 'own_camera' adds images of the anchor's camera and "
        "repeats only when the identity has fewer than K images.",
    )


def pick_images(
    rng: np.random.Generator, cameras: np.ndarray, visits: int, k: int, few_others: str
) -> np.ndarray:
    """Choose the images of one identity for all its visits of an epoch.

    Args:
        rng: Source of randomness.
        cameras: ``(n,)`` camids of its images, -1 unknown.
        visits: Visits to serve.
        k: Images per visit.
        few_others: See ``CameraBalancedParams``.

    Returns:
        ``(visits, k)`` int64, numbers of images, each visit's anchor first.
    """
    used = np.zeros(len(cameras), dtype=np.int64)
    picks = np.empty((visits, k), dtype=np.int64)
    for visit in range(visits):
        order = rng.permutation(len(cameras))
        order = order[np.argsort(used[order], kind="stable")]  # least used first
        anchor, rest = order[0], order[1:]
        known = (cameras[rest] != UNKNOWN_CAMERA) & (cameras[anchor] != UNKNOWN_CAMERA)
        is_other = known & (cameras[rest] != cameras[anchor])
        others, own = rest[is_other], rest[~is_other]
        if few_others == "repeat" and len(others):
            picks[visit] = [anchor, *np.resize(others, k - 1)]
        else:
            picks[visit] = np.resize([anchor, *others, *own], k)
        used += np.bincount(picks[visit], minlength=len(used))
    return picks


def draw_batches(
    rng: np.random.Generator,
    groups: list[np.ndarray],
    camids: np.ndarray,
    batches: int,
    params: CameraBalancedParams,
) -> np.ndarray:
    """Draw the batches ``(batches, P, K)`` of one epoch for all ranks, as positions."""
    visits = shuffled_rounds(rng, len(groups), batches * params.P, params.P)

    def pick(identity: int, count: int) -> np.ndarray:
        cameras = camids[groups[identity]]
        picks = pick_images(rng, cameras, count, params.K, params.few_others)
        return np.take(groups[identity], picks)

    return fill_batches(visits.reshape(batches, params.P), pick)


def build(
    params: CameraBalancedParams,
    *,
    labels: np.ndarray,
    camids: np.ndarray,
    seed: int,
    rank: int,
    world_size: int,
) -> DrawnBatches:
    """Return the batch sampler of one rank.

    Raises:
        ReidError: There are fewer than P identities, P cannot be shared equally, or no identity
            has images of two known cameras.
    """
    share = rank_slice(params.P, "P", rank, world_size)
    groups = usable_identities("camera_balanced", group_by_identity(labels), params.P, params)
    if not any(len(set(camids[images].tolist()) - {UNKNOWN_CAMERA}) > 1 for images in groups):
        raise ReidError(
            "sampler camera_balanced: no identity of the training data has images of two known "
            "cameras, so there is no other camera to prefer; use the sampler 'class_balanced'"
        )
    length = epoch_length(groups, params)
    draw = partial(draw_batches, groups=groups, camids=camids, batches=length, params=params)
    return DrawnBatches("camera_balanced", draw, length, seed=seed, share=share)


@hookimpl
def reid_sampler() -> list[SamplerComponent]:
    """Offer ``camera_balanced``."""
    return [
        SamplerComponent(
            name="camera_balanced",
            params=CameraBalancedParams,
            build=build,
            summary="P identities with K images each, preferably from different cameras",
            reference="arXiv:2006.02631",
        )
    ]

"""P identities with K images each in every batch.

Pair losses need several images of one identity in a batch: each batch takes P identities and
K images of each. Both walk through shuffled rounds: everything is used once before anything
is used again, so identities and the images of an identity come up equally often. With
``epoch: identities`` no identity is visited twice in an epoch. ``small_ids`` says whether
the images of an identity with fewer than K are repeated or left out.

Stands on `toolkit/pk_batches.py` and `toolkit/rounds.py`.

Reference: Hermans et al., "In Defense of the Triplet Loss for Person Re-Identification",
arXiv:1703.07737, section 2 (PK batches).
"""

from __future__ import annotations

from functools import partial

import numpy as np

from reid_core import SamplerComponent, hookimpl
from reid_plugins.toolkit.pk_batches import (
    DrawnBatches,
    PKParams,
    epoch_length,
    even_images,
    fill_batches,
    group_by_identity,
    rank_slice,
    usable_identities,
)
from reid_plugins.toolkit.rounds import shuffled_rounds


class ClassBalancedParams(PKParams):
    """Params of the sampler ``class_balanced``."""


def draw_batches(
    rng: np.random.Generator, groups: list[np.ndarray], batches: int, p: int, k: int
) -> np.ndarray:
    """Draw the batches of one epoch for all ranks.

    Args:
        rng: Source of randomness.
        groups: Positions of each identity's images; at least ``p`` identities.
        batches: Batches to draw.
        p: Identities per batch, all distinct.
        k: Images per identity, with no repeat before all of its images are there.

    Returns:
        ``(batches, p, k)`` int64 positions.
    """
    visits = shuffled_rounds(rng, len(groups), batches * p, p).reshape(batches, p)
    return fill_batches(visits, lambda identity, n: even_images(rng, groups[identity], n, k))


def build(
    params: ClassBalancedParams, *, labels: np.ndarray, seed: int, rank: int, world_size: int
) -> DrawnBatches:
    """Return the batch sampler of one rank.

    Raises:
        ReidError: There are fewer than P identities, or P cannot be shared equally.
    """
    share = rank_slice(params.P, "P", rank, world_size)
    groups = usable_identities("class_balanced", group_by_identity(labels), params.P, params)
    length = epoch_length(groups, params)
    draw = partial(draw_batches, groups=groups, batches=length, p=params.P, k=params.K)
    return DrawnBatches("class_balanced", draw, length, seed=seed, share=share)


@hookimpl
def reid_sampler() -> list[SamplerComponent]:
    """Offer ``class_balanced``."""
    return [
        SamplerComponent(
            name="class_balanced",
            params=ClassBalancedParams,
            build=build,
            summary="P identities with K images each in every batch",
            reference="arXiv:1703.07737",
        )
    ]

"""P identities with K images each, a fixed number of identities from every training dataset.

When datasets are joined, the largest one rules the batches. Here each dataset of ``data.train``
has its share of the P identities in every batch, equal or given; within a dataset identities and
their images walk through shuffled rounds, as in ``class_balanced``, so small datasets come round
more often; ``small_ids`` is the same. The datasets alternate within a batch, so
that processes share them too.

Stands on `toolkit/pk_batches.py` and `toolkit/rounds.py`.

Reference: He et al., "FastReID: A Pytorch Toolbox for General Instance Re-identification",
arXiv:2006.02631 (the set re-weighting sampler of its code).
"""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from reid_core import ReidError, SamplerComponent, hookimpl
from reid_core.limits import LARGEST_BATCH
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


class DatasetBalancedParams(PKParams):
    """Params of the sampler ``dataset_balanced``."""

    shares: (
        Annotated[list[Annotated[int, Field(ge=1, le=LARGEST_BATCH)]], Field(min_length=1)] | None
    ) = Field(
        default=None,
        description="Shares of the training datasets in every batch, in the order of data.train, "
        "e.g. [3, 1] for 12 and 4 of P = 16 identities; each >= 1; default: equal shares.",
    )
    epoch: Literal["images", "identities"] = Field(
        default="images",
        description="Length of an epoch: 'images' draws about as many images as there are, "
        "floor(N / (P K)) batches, at least 1; 'identities' ends when the dataset with the most "
        "identities for its share has shown them once, as far as they fill batches.",
    )


def identities_per_batch(p: int, shares: list[int] | None, datasets: int) -> list[int]:
    """Cut the P identities of a batch into whole numbers, one per dataset.

    Raises:
        ReidError: There is not one share per dataset, or P cannot be cut so.
    """
    shares = shares or [1] * datasets
    if len(shares) != datasets:
        raise ReidError(
            f"sampler dataset_balanced: {len(shares)} shares for {datasets} training datasets; "
            "give 'shares' one number per entry of data.train"
        )
    whole = sum(shares)
    if any(p * share % whole for share in shares):
        fitting = max(1, p // whole) * whole
        raise ReidError(
            f"sampler dataset_balanced: P = {p} cannot be cut into shares "
            f"{' : '.join(map(str, shares))}; choose a multiple of {whole}, such as {fitting}"
        )
    return [p * share // whole for share in shares]


def draw_visits(
    rng: np.random.Generator, identities: list[int], per_batch: list[int], batches: int
) -> np.ndarray:
    """Choose the identities of every batch.

    Args:
        rng: Source of randomness.
        identities: Number of identities of each dataset; they are numbered one dataset after
            the other.
        per_batch: Of each dataset's identities in a batch, at most all.
        batches: Batches to draw.

    Returns:
        ``(batches, P)`` int64; every part of a batch has about its share of every dataset.
    """
    firsts = np.cumsum([0, *identities[:-1]]).tolist()
    rounds = [
        first + shuffled_rounds(rng, n, batches * p, p).reshape(batches, p)
        for first, n, p in zip(firsts, identities, per_batch, strict=True)
    ]
    spread = np.concatenate([(np.arange(p) + 0.5) / p for p in per_batch])
    return np.concatenate(rounds, axis=1)[:, np.argsort(spread, kind="stable")]


def draw_batches(
    rng: np.random.Generator,
    datasets: list[list[np.ndarray]],
    per_batch: list[int],
    batches: int,
    k: int,
) -> np.ndarray:
    """Draw the batches ``(batches, P, K)`` of one epoch for all ranks, as positions."""
    groups = [images for dataset in datasets for images in dataset]
    visits = draw_visits(rng, [len(dataset) for dataset in datasets], per_batch, batches)
    return fill_batches(visits, lambda identity, n: even_images(rng, groups[identity], n, k))


def build(
    params: DatasetBalancedParams,
    *,
    labels: np.ndarray,
    sources: np.ndarray,
    seed: int,
    rank: int,
    world_size: int,
) -> DrawnBatches:
    """Return the batch sampler of one rank.

    Raises:
        ReidError: P cannot be cut into shares or shared by the processes, or a dataset has too
            few identities.
    """
    share = rank_slice(params.P, "P", rank, world_size)
    numbers = np.unique(sources).tolist()
    per_batch = identities_per_batch(params.P, params.shares, len(numbers))
    every = group_by_identity(labels)
    datasets = [
        usable_identities(
            "dataset_balanced",
            [images for images in every if sources[images[0]] == number],
            p,
            params,
            f"data.train.{number}",
        )
        for number, p in zip(numbers, per_batch, strict=True)
    ]
    if params.epoch == "identities":
        length = max(len(ids) // p for ids, p in zip(datasets, per_batch, strict=True))
    else:
        length = epoch_length([images for ids in datasets for images in ids], params)
    draw = partial(draw_batches, datasets=datasets, per_batch=per_batch, batches=length, k=params.K)
    return DrawnBatches("dataset_balanced", draw, length, seed=seed, share=share)


@hookimpl
def reid_sampler() -> list[SamplerComponent]:
    """Offer ``dataset_balanced``."""
    return [
        SamplerComponent(
            name="dataset_balanced",
            params=DatasetBalancedParams,
            build=build,
            summary="P x K batches with a fixed share of every training dataset",
            reference="arXiv:2006.02631",
        )
    ]

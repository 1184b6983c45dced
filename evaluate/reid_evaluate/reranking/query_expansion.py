"""Alpha-weighted query expansion: a feature joins forces with those of its nearest images.

A new feature is the L2-normalised sum of the image's own unit feature, with weight 1, and of
its nearest images' unit features, each with weight max(cosine, 0) ** alpha. Alpha 0 is the plain
average query expansion; a large alpha trusts only images that are almost the same.

Reference: Radenovic et al., "Fine-tuning CNN Image Retrieval with No Human Annotation",
arXiv:1711.02512 (alpha-weighted query expansion): ``sides="query"``. Queries and gallery expanded
together, ``sides="both"``, are a form of fast-reid (arXiv:2006.02631). Unlike fast-reid: the
features that are summed are normalised, so that a long vector has no more say than a short one,
and images at a negative cosine have no weight.

Shapes: Q queries, G gallery images, N = Q + G, D size of a feature.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from reid_evaluate.distances.comparison import Comparison, DistanceKeys, Vectors, repeated_rows
from reid_evaluate.distances.distance_matrix import Cosine
from reid_evaluate.distances.smallest import smallest
from reid_evaluate.reranking.neighbours import nearest

Sides = Literal["query", "both"]


def query_expansion(
    comparison: Comparison,
    *,
    k: int = 5,
    alpha: float = 3.0,
    rounds: int = 1,
    sides: Sides = "both",
    block_size: int = 512,
) -> Comparison:
    """Replace features by normalised sums over neighbours; neighbours are by cosine.

    Args:
        comparison: Queries and gallery; its distance is not used.
        k: Neighbours, 1 or larger; cut to the images there are. ``"both"`` counts the image
            itself as the first of them, ``"query"`` does not.
        alpha: Power of the cosines that are the weights, 0 or larger.
        rounds: How often it is done, 1 or larger; each round starts from the last one's features.
        sides: ``"query"``: queries take in gallery images, and the gallery stays as it is.
            ``"both"``: every image takes in its neighbours among queries and gallery.
        block_size: Images at a time, 1 or larger; memory is about ``4 * block_size * N`` bytes.

    Returns:
        The comparison of the new features. All are unit vectors, those of an unchanged gallery
        too, so that a Euclidean distance compares like with like; a zero vector stays zero, unless
        alpha is 0. Gallery images with equal vectors keep equal vectors, bit by bit.

    Raises:
        ValueError: An option is out of range, or the comparison's keys have been altered already.
    """
    _check_options(k, alpha, rounds, sides, block_size)
    query, gallery = unit_vectors(comparison.query), unit_vectors(comparison.gallery)
    for _ in range(rounds):
        if sides == "query":
            query = _expanded_queries(query, gallery, k, alpha, block_size)
        else:
            query, gallery = _expanded_jointly(query, gallery, k, alpha, block_size)
    return comparison.with_vectors(query, gallery)


def unit_vectors(vectors: Vectors) -> Vectors:
    """Return the images with L2-normalised copies of their features; zeros stay zeros."""
    prepared = Cosine().prepare(vectors)
    return replace(vectors, features=prepared.features * prepared.aux["inverse_norm"][:, None])


def _expanded_queries(
    query: Vectors, gallery: Vectors, k: int, alpha: float, block_size: int
) -> Vectors:
    """Return the queries, each with its nearest gallery images; all features are unit vectors."""
    keys = DistanceKeys(Cosine(), query, gallery)
    sums = query.features.clone()
    buffer = sums.new_empty(min(block_size, len(query)), len(gallery))
    for start in range(0, len(query), block_size):
        stop = min(start + block_size, len(query))
        keys.fill(start, stop, buffer[: stop - start])
        found, indices = smallest(buffer[: stop - start], min(k, len(gallery)))
        sums[start:stop] += _weighted_sums(gallery.features, indices, found, alpha)
    return unit_vectors(replace(query, features=sums))


def _expanded_jointly(
    query: Vectors, gallery: Vectors, k: int, alpha: float, block_size: int
) -> tuple[Vectors, Vectors]:
    """Return both sides, each image with its nearest ones; all features are unit vectors."""
    images = query.and_(gallery)
    found = nearest(Cosine(), images, min(k, len(images)), block_size=block_size)
    keys = found.keys.clone()
    keys[:, 0] = -1  # the image itself, whose cosine is 1 but for rounding
    sums = _weighted_sums(images.features, found.indices, keys, alpha)
    # The neighbours of copies are found in different orders, and their sums would not be equal.
    copies, originals = (torch.from_numpy(at).to(sums.device) for at in repeated_rows(images))
    sums[copies] = sums[originals]
    expanded = unit_vectors(replace(images, features=sums)).features
    of_query, of_gallery = expanded[: len(query)], expanded[len(query) :]
    return replace(query, features=of_query), replace(gallery, features=of_gallery)


def _weighted_sums(features: Tensor, indices: Tensor, keys: Tensor, alpha: float) -> Tensor:
    """Return sums of features by max(cosine, 0) ** alpha.

    Args:
        features: ``(N, D)`` unit vectors.
        indices: ``(b, k)`` int64, which of them.
        keys: ``(b, k)``, minus their cosines.
        alpha: The power, 0 or larger.

    Returns:
        ``(b, D)``.
    """
    weights = (-keys).clamp_(min=0).pow_(alpha)
    # As weights @ features[indices], but without a copy of k vectors for every image.
    return F.embedding_bag(indices, features, per_sample_weights=weights, mode="sum")


def _check_options(k: int, alpha: float, rounds: int, sides: str, block_size: int) -> None:
    """Raise ValueError for an option that is unknown or out of range."""
    for name, value in (("k", k), ("rounds", rounds), ("block_size", block_size)):
        if value < 1:
            raise ValueError(f"{name} must be 1 or larger, got {value}")
    if not 0 <= alpha < float("inf"):
        raise ValueError(f"alpha must be 0 or larger, got {alpha}")
    if sides not in get_args(Sides):
        raise ValueError(f"unknown sides '{sides}' (known: {', '.join(get_args(Sides))})")

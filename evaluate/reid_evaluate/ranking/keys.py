"""From two sets of images to the keys that one is ranked by for the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from reid_evaluate.distances.comparison import Comparison, Distance, Keys, Postprocess
from reid_evaluate.distances.distance_matrix import Cosine
from reid_evaluate.ranking.images import ImageSet, checked


@dataclass(frozen=True)
class Keyed:
    """Checked images on one device, and the keys of every query and gallery image."""

    query: ImageSet
    gallery: ImageSet
    keys: Keys


def compare(
    query: ImageSet,
    gallery: ImageSet,
    *,
    distance: Distance | None = None,
    postprocess: Sequence[Postprocess] = (),
    extra: Mapping[str, ImageSet] | None = None,
    device: torch.device | None = None,
) -> Keyed:
    """Check images and prepare what the gallery is ranked by.

    Args:
        query: Q images; numpy arrays or torch tensors.
        gallery: G images.
        distance: What the gallery is ranked by; default: cosine.
        postprocess: Steps between the distance and the ranking, in order.
        extra: Images of further splits that the steps read.
        device: Where to work; default: where the gallery's features are.

    Returns:
        The images and their keys, which are made when they are asked for.

    Raises:
        ValueError: A split is empty, has rows that are not finite or too large, arrays of
            different lengths, other columns or features of another size than the gallery's; or
            a step cannot work on them.
    """
    gallery = checked("gallery", gallery, device)
    device = gallery.features.device
    query = checked("query", query, device)
    others = {name: checked(name, images, device) for name, images in (extra or {}).items()}
    for name, images in {"query": query, **others}.items():
        _check_alike(name, images, gallery)
    comparison = Comparison(
        query.vectors,
        gallery.vectors,
        distance or Cosine(),
        {name: images.vectors for name, images in others.items()},
    )
    for step in postprocess:
        comparison = step(comparison)
    return Keyed(query, gallery, comparison.keys)


def _check_alike(name: str, images: ImageSet, gallery: ImageSet) -> None:
    """Raise ValueError unless images have vectors of the gallery's size and its columns."""
    width, expected = images.features.shape[1], gallery.features.shape[1]
    if width != expected:
        raise ValueError(f"{name} features have {width} columns, gallery features {expected}")
    sides = {name: images.columns.keys(), "gallery": gallery.columns.keys()}
    for one, other in (("gallery", name), (name, "gallery")):
        if missing := sorted(sides[one] - sides[other]):
            there = ", ".join(sorted(sides[other])) or "none"
            raise ValueError(
                f"{other} has no column '{missing[0]}', which {one} has (it has: {there})"
            )


def key_blocks(keyed: Keyed, block_size: int) -> Iterator[tuple[int, Tensor]]:
    """Yield (first query, keys ``(b, G)``) for blocks of queries; the next block overwrites it."""
    total, size = len(keyed.query.pids), len(keyed.gallery.pids)
    device = keyed.gallery.features.device
    buffer = torch.empty(min(block_size, total), size, device=device)
    for start in range(0, total, block_size):
        stop = min(start + block_size, total)
        keys = buffer[: stop - start]
        keyed.keys.fill(start, stop, keys)
        yield start, keys

"""What contradicts itself in the datasets that a run trains on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from reid_core.errors import counted
from reid_core.evaluation.split_warnings import share, spelt_twice, such_as
from reid_core.evaluation.trained_on import Part, TrainedOn, files_of, persons_of
from reid_core.storage.same_pictures import same_as


def source_warnings(trained: TrainedOn) -> list[str]:
    """Return a line for each contradiction within and between the datasets of ``data.train``."""
    parts = trained.parts[: trained.sources]
    lines = [line for part in parts for line in _within(part)]
    for position, part in enumerate(parts):
        lines += _between(part, parts[:position])
    return lines


def _within(part: Part) -> Iterator[str]:
    """Yield what a dataset contradicts itself in."""
    index, at = part.images.store.index, part.images.at
    if alike := spelt_twice(sorted(persons_of(index, at))):
        yield f"the training images of '{part.entry.label}' spell {alike}"
    camids = np.unique(index.camid[at])
    if len(camids) == 1 and camids[0] >= 0:
        yield (
            f"all {counted(len(at), 'training image')} of '{part.entry.label}' are of camera "
            f"{camids[0]}: nobody is seen under two cameras"
        )


def _between(part: Part, earlier: Sequence[Part]) -> Iterator[str]:
    """Yield what a dataset shares with those before it, which makes one person two."""
    if not earlier:
        return
    label, images = part.entry.label, part.images
    same = same_as(images, [other.images for other in earlier])
    if same.any():
        names = images.store.index.name[images.at[same]]
        yield (
            f"{share(int(same.sum()), len(same))} training images of '{label}' are in datasets "
            f"before it too, byte for byte {such_as(names)}: their persons are trained as "
            "different ones, because an identity is (dataset, pid); leave one of them out"
        )
        return
    own = persons_of(images.store.index, images.at)
    for other in earlier:
        if other.entry.name != part.entry.name or files_of(other.entry) != files_of(part.entry):
            continue
        both = sorted(own & persons_of(other.images.store.index, other.images.at))
        if both and files_of(part.entry):
            yield (
                f"{share(len(both), len(own))} persons of '{label}' are in "
                f"'{other.entry.label}' too, from the same files {such_as(both)}: they are trained "
                "as different ones, because an identity is (dataset, pid); join the two datasets"
            )

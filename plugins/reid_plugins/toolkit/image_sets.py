"""From the features of a split, as the core hands them over, to images that can be ranked.

Evaluators that rank and the tuning of re-ranking stand on it.
"""

from __future__ import annotations

from reid_core.contracts import Features
from reid_evaluate.ranking.images import ImageSet

AUX = "aux."
"""Beginning of the names of the heads' values among those of ``Features``."""


def image_set(features: Features, output: str) -> ImageSet:
    """Return the images of a split, to be compared by one of their vectors.

    Args:
        features: Of the split.
        output: Name of the vector in ``features.values``.
    """
    return ImageSet(
        features=features.values[output],
        pids=features.pids,
        camids=features.camids,
        names=features.names,
        junk=features.junk,
        distractor=features.distractor,
        aux={
            name.removeprefix(AUX): values
            for name, values in features.values.items()
            if name.startswith(AUX)
        },
    )

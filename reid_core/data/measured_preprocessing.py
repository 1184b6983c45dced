"""How pictures become the network's input: measured, so that two networks can be compared."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from reid_core.contracts import Preprocessing
from reid_core.data.transforms import Pipeline
from reid_core.params.entries import AugmentationEntry

COLOURS = ((0, 0, 0), (255, 0, 0), (0, 255, 0), (0, 0, 255))
"""Pictures of one colour that show what normalisation does to each channel."""


@dataclass(frozen=True, eq=False)
class MeasuredPreprocessing:
    """A ``Preprocessing`` by what it makes of pictures, whatever its operations are.

    Attributes:
        height: Of the input, in pixels.
        width: Likewise.
        colours: ``(4, 3)``, what the input's centre is for pictures of each of ``COLOURS``: it
            tells mean, std and order of channels, by whatever operations they come about.
        operations: The operations and their params, for messages.
    """

    height: int
    width: int
    colours: np.ndarray
    operations: str

    @classmethod
    def of(cls, entries: Sequence[AugmentationEntry]) -> MeasuredPreprocessing:
        """Measure the preprocessing among the operations of an ``augmentation`` section."""
        pipeline = Pipeline(entries, training=False)
        rng = np.random.default_rng(0)
        seen = [pipeline(Image.new("RGB", (64, 128), colour), rng) for colour in COLOURS]
        height, width = seen[0].shape[1:]
        used = [operation.origin.name for operation in pipeline.operations]
        return cls(
            height,
            width,
            np.array([image[:, height // 2, width // 2].tolist() for image in seen]),
            ", ".join(
                f"{entry.bare_name} {json.dumps(entry.params.model_dump(mode='json'))}"
                for entry in entries
                if entry.bare_name in used
            ),
        )

    def same_size(self, other: Preprocessing) -> bool:
        """Return whether both give inputs of one size."""
        return (self.height, self.width) == (other.height, other.width)

    def same_colours(self, other: Preprocessing) -> bool:
        """Return whether both normalise alike; how pictures are interpolated may differ."""
        return np.allclose(self.colours, other.colours, rtol=0, atol=1e-4)

"""A trained model with all that another training must know of it, such as one that it teaches."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from reid_core.catalog import Catalog
from reid_core.data.transforms import Pipeline
from reid_core.errors import ReidError
from reid_core.files import user_path
from reid_core.network.model import ReIDModel
from reid_core.network.weights import load_model, read_weights
from reid_core.params.entries import AugmentationEntry
from reid_core.run_directory import RunDirectory

COLOURS = ((0, 0, 0), (255, 0, 0), (0, 255, 0), (0, 0, 255))
"""Pictures of one colour that show what normalisation does to each channel."""


@dataclass(frozen=True, eq=False)
class Preprocessing:
    """How pictures become the network's input, without augmentation.

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
    def of(cls, entries: Sequence[AugmentationEntry]) -> Preprocessing:
        """Measure the preprocessing among the operations of an ``augmentation`` section."""
        pipeline = Pipeline(entries, training=False)
        rng = np.random.default_rng(0)
        seen = [pipeline(Image.new("RGB", (64, 128), colour), rng) for colour in COLOURS]
        height, width = seen[0].shape[1:]
        used = [component.name for component, _ in pipeline.operations]
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


@dataclass(frozen=True)
class Trained:
    """A trained model, in evaluation mode and without gradients.

    Attributes:
        path: Its weights file.
        digest: SHA-256 of that file, 32 bytes.
        model: The network; it is read to the CPU.
        classes: (dataset, pid) of each of its logits.
        preprocessing: What it expects of its input.
    """

    path: Path
    digest: bytes
    model: ReIDModel
    classes: tuple[tuple[str, str], ...]
    preprocessing: Preprocessing


def load_trained(path: str, catalog: Catalog) -> Trained:
    """Open a trained model; no random number is drawn.

    Args:
        path: A run directory, whose best weights are taken, or a weights file.
        catalog: Offers the model's components.

    Raises:
        ReidError: There is no such run or file, or it cannot be used.
    """
    place = user_path(path)
    if not os.path.exists(place):  # unlike Path, no error for a name too long
        raise ReidError(
            f"{place}: no such run directory or weights file; name one that is there, or train "
            "that run first"
        )
    weights = read_weights(weights_of(RunDirectory.open(place)) if place.is_dir() else place)
    model, params = load_model(weights, catalog)
    return Trained(
        path=weights.path,
        digest=hashlib.sha256(weights.path.read_bytes()).digest(),
        model=model.requires_grad_(False),
        classes=weights.classes,
        preprocessing=Preprocessing.of(params.augmentation),
    )


def weights_of(directory: RunDirectory) -> Path:
    """Return a run's best weights; its last ones when none has been scored.

    Raises:
        ReidError: It has neither.
    """
    for path in (directory.best_weights, directory.last_weights):
        if path.is_file():
            return path
    raise ReidError(f"{directory.path}: no weights yet; the run has not ended an epoch to score")

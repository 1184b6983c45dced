"""The loader of a trained model, with all that another training must know of it."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from reid_core.catalog import Catalog
from reid_core.contracts import Classes
from reid_core.data.measured_preprocessing import MeasuredPreprocessing
from reid_core.errors import ReidError
from reid_core.files import user_path
from reid_core.network.model import ReIDModel
from reid_core.network.weights import load_model, read_weights
from reid_core.run_directory import RunDirectory


@dataclass(frozen=True)
class Trained:
    """A ``TrainedModel``, in evaluation mode and without gradients.

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
    classes: Classes
    preprocessing: MeasuredPreprocessing


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
        preprocessing=MeasuredPreprocessing.of(params.augmentation),
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

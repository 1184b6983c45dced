"""A trained network with its own preprocessing: pictures in, vectors out."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from itertools import islice

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from reid_core.api.pictures import Color, Picture, pictures_of
from reid_core.catalog import Catalog
from reid_core.compute.device import choose_device
from reid_core.contracts import Classes
from reid_core.data.measured_preprocessing import MeasuredPreprocessing
from reid_core.data.transforms import Pipeline
from reid_core.discovery import load_catalog
from reid_core.errors import ReidError
from reid_core.files import user_path
from reid_core.network import weights as weights_files
from reid_core.network.model import ReIDModel
from reid_core.network.trained_model import weights_of
from reid_core.network.weights import WeightsFile
from reid_core.params.schema import ModelParams
from reid_core.run_directory import RunDirectory


class EmbeddingModel:
    """A trained network that turns pictures into vectors.

    Attributes:
        weights: The file that it is from, with its metadata.
        module: The network, in evaluation mode, on ``device``.
        preprocessing: What its input must be; ``embed`` does it.
        device: Where it works.
    """

    def __init__(
        self, weights: WeightsFile, module: ReIDModel, params: ModelParams, device: torch.device
    ) -> None:
        """Put the network on a device; ``params`` are those that it was built from."""
        self.weights, self.device = weights, device
        self.module = module.to(device).eval().requires_grad_(False)
        self.preprocessing = MeasuredPreprocessing.of(params.augmentation)
        self._pipeline = Pipeline(params.augmentation, training=False)
        compared: dict[str, str | None] = weights.metadata.get("embedding", {})
        self.output = compared.get("output") or "embedding"
        self.distance = compared.get("distance")

    output: str
    """Which vector ``embed`` returns: the one that the run was scored by."""

    distance: str | None
    """Name of the distance that the run was scored by; None: it was never scored."""

    @property
    def dim(self) -> int:
        """Return D."""
        return self.module.embedding_dim

    @property
    def classes(self) -> Classes:
        """Return (dataset, pid) of everybody that it was trained on, in the order of logits."""
        return self.weights.classes

    def embed(
        self,
        images: Picture | Iterable[Picture],
        *,
        color: Color = "RGB",
        batch_size: int = 64,
    ) -> npt.NDArray[np.float32]:
        """Return the vectors of pictures; nothing is normalised.

        Args:
            images: A path, a PIL picture or a uint8 array ``(H, W, 3)``, or any number of
                them in any sizes, also from a generator: ``batch_size`` are kept at a time.
            color: Order of the channels in arrays; OpenCV reads ``"BGR"``.
            batch_size: Pictures at a time.

        Returns:
            ``(N, D)`` float32; ``(0, D)`` of no pictures.

        Raises:
            ReidError: An image cannot be read; the message names it.
        """
        if batch_size < 1:
            raise ReidError(f"batch_size must be 1 or larger, got {batch_size}")
        pictures = pictures_of(images, color)
        found = [np.empty((0, self.dim), dtype=np.float32)]
        found += (self._embedded(batch) for batch in self._batches(pictures, batch_size))
        return np.concatenate(found)

    def _batches(self, pictures: Iterator[Image.Image], batch_size: int) -> Iterator[torch.Tensor]:
        """Yield preprocessed batches ``(B, 3, H, W)``."""
        rng = np.random.default_rng(0)  # preprocessing leaves it alone
        while batch := [self._pipeline(p, rng) for p in islice(pictures, batch_size)]:
            if len({image.shape for image in batch}) > 1:
                raise ReidError(
                    f"{self.weights.path}: its preprocessing resizes nothing, and the images "
                    "differ in size; use batch_size=1"
                )
            yield torch.stack(batch)

    def _embedded(self, images: torch.Tensor) -> npt.NDArray[np.float32]:
        with torch.inference_mode():
            output = self.module(images.to(self.device))
            vectors: torch.Tensor = getattr(output, self.output)
            return vectors.float().cpu().numpy()


def load_model(
    path: str | os.PathLike[str], device: str = "auto", *, catalog: Catalog | None = None
) -> EmbeddingModel:
    """Load a trained network.

    Args:
        path: A run directory, whose best weights are taken, or a weights file.
        device: ``"auto"`` (the first GPU, or the CPU), ``"cpu"``, ``"cuda"`` or ``"cuda:<n>"``.
        catalog: Where the network's parts are looked up; default: what is installed.

    Returns:
        The model; ``model.embed(images)`` gives ``(N, D)`` float32.

    Raises:
        ReidError: There is no such run or file, it is damaged, a part of the network is not
            installed, or there is no such device.
    """
    place = user_path(os.fspath(path))
    chosen = choose_device(device, key="device")
    if not os.path.exists(place):
        raise ReidError(f"{place}: no such run directory or weights file")
    file = weights_of(RunDirectory.open(place)) if place.is_dir() else place
    weights = weights_files.read_weights(file)
    module, params = weights_files.load_model(weights, catalog or load_catalog())
    return EmbeddingModel(weights, module, params, chosen)

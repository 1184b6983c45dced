"""What is known of every training image by its index, put into a batch in the main process."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from reid_core.contracts import Batch
from reid_core.data.training_images import TrainingImages
from reid_core.declared_values import Declared

READER = "ObjectiveComponent"
"""Who sees batches as they are, with all that somebody has declared."""


class BatchFacts:
    """Labels and columns of all images that are trained on; labels may be replaced.

    Loader processes never see them: they live on from epoch to epoch, and would keep old labels.
    """

    def __init__(
        self, images: TrainingImages, columns: Mapping[str, np.ndarray] | None = None
    ) -> None:
        """Start with the labels that the images have.

        Args:
            images: N of them.
            columns: ``(N,)`` int64 by name, the codes that ``Batch.columns`` has.
        """
        self._labels = torch.from_numpy(images.labels)
        self._camids = torch.from_numpy(images.camids)
        self._sources = torch.from_numpy(images.sources)
        self._columns = {name: torch.from_numpy(codes) for name, codes in (columns or {}).items()}

    @property
    def labels(self) -> np.ndarray:
        """Return the labels ``(N,)`` int64 that batches have now."""
        return self._labels.numpy()

    def relabel(self, labels: np.ndarray) -> None:
        """Replace the labels ``(N,)`` int64; batches that are made from now on have them."""
        assert labels.shape == tuple(self._labels.shape)
        self._labels = torch.from_numpy(labels.astype(np.int64))

    def batch(
        self, images: Tensor, index: Tensor, extras: Mapping[str, Tensor | list[str]]
    ) -> Batch:
        """Return a batch of images ``(B, 3, H, W)`` by their index ``(B,)`` int64."""
        columns = {name: codes[index] for name, codes in self._columns.items()}
        return Batch(
            images=images,
            pids=self._labels[index],
            camids=self._camids[index],
            source=self._sources[index],
            index=index,
            columns=Declared(columns, columns, "columns", READER),
            extras=Declared(extras, extras, "extras", READER),
        )

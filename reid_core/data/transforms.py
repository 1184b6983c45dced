"""The operations from a picture to the network's input, as the params list them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from reid_core.component import AugmentationComponent
from reid_core.contracts import Augmentation
from reid_core.params.entries import AugmentationEntry


class Pipeline:
    """The operations from a picture to a normalised tensor, for training or for evaluation.

    Attributes:
        operations: (component, callable) in order: those of the one use, and those of both.
    """

    def __init__(self, entries: Sequence[AugmentationEntry], *, training: bool) -> None:
        """Build the operations of the params' ``augmentation`` section."""
        self.operations: list[tuple[AugmentationComponent, Augmentation]] = [
            (entry.component, entry.build())
            for entry in entries
            if entry.component.use in ("both", "train" if training else "test")
        ]
        self._pil = [apply for component, apply in self.operations if component.stage == "pil"]
        self._tensor = [
            apply for component, apply in self.operations if component.stage == "tensor"
        ]

    def __call__(self, image: Image.Image, rng: np.random.Generator) -> Tensor:
        """Return ``(3, H, W)`` float32 of an RGB picture."""
        for apply in self._pil:
            image = apply(image, rng)
        # A copy, because Pillow's buffer is read-only.
        pixels = torch.from_numpy(np.array(image, dtype=np.uint8)).permute(2, 0, 1)
        tensor = pixels.contiguous().float().div_(255)
        for apply in self._tensor:
            tensor = apply(tensor, rng)
        return tensor

    def input_size(self) -> tuple[int, int]:
        """Return (height, width) in pixels of what the network sees."""
        blank = self(Image.new("RGB", (64, 128)), np.random.default_rng(0))
        return int(blank.shape[1]), int(blank.shape[2])

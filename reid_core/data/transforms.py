"""The operations from a picture to the network's input, as the params list them."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from reid_core.boundary import Origin
from reid_core.contracts import Augmentation, Sample
from reid_core.data.transform_checks import fault_of, mask_fault_of
from reid_core.errors import ReidError
from reid_core.params.entries import AugmentationEntry

Size = tuple[int, int]
"""(height, width) in pixels."""


@dataclass(frozen=True)
class Operation:
    """One operation; it can be sent to loader processes.

    Attributes:
        origin: Where it comes from.
        stage: What it works on: ``"pil"``, ``"tensor"`` or ``"batch"``.
        use: ``"train"``, ``"test"`` or ``"both"``.
        moves: It takes and returns a ``Sample``.
        apply: What the plugin has built.
    """

    origin: Origin
    stage: str
    use: str
    moves: bool
    apply: Augmentation

    @classmethod
    def of(cls, entry: AugmentationEntry) -> Operation:
        """Build the operation of an entry of the params."""
        component = entry.component
        moves = component.extras == "moves"
        return cls(entry.origin, component.stage, component.use, moves, entry.build())

    def __call__(self, sample: Sample, rng: Any, place: str) -> Sample:
        """Return the new images.

        Args:
            sample: One image, or at the stage ``"batch"`` B of them.
            rng: Its generator, or a list of B.
            place: Which image it is, for messages.

        Raises:
            ReidError: The plugin failed, or returned what its contract does not allow.
        """
        with self.origin.calling(place):
            result = self.apply(sample if self.moves else sample.image, rng)
        if self.moves != isinstance(result, Sample):
            what = "a Sample" if self.moves else "an image alone"
            raise self.origin.fault(
                f"returned a {type(result).__name__}; expected {what}, as it declares 'extras'",
                place,
            )
        new = result if isinstance(result, Sample) else Sample(result, sample.masks)
        count = len(sample.image) if self.stage == "batch" else None
        fault = fault_of(new.image, self.stage, count)
        fault = fault or mask_fault_of(new, self.stage, sample.masks)
        if fault:
            raise self.origin.fault(fault, place)
        return new


class Pipeline:
    """The operations from a picture to a normalised tensor, for training or for evaluation.

    Attributes:
        operations: In order: those of the one use, and those of both.
    """

    def __init__(self, entries: Sequence[AugmentationEntry], *, training: bool) -> None:
        """Build the operations of the params' ``augmentation`` section."""
        uses = ("both", "train" if training else "test")
        self.operations = [Operation.of(e) for e in entries if e.component.use in uses]

    def __call__(self, image: Image.Image, rng: np.random.Generator) -> Tensor:
        """Return ``(3, H, W)`` float32 of an RGB picture: a batch of one."""
        images: Tensor = self.batch([self.single(Sample(image), rng)], [rng]).image
        return images[0]

    def single(self, sample: Sample, rng: np.random.Generator, name: str = "") -> Sample:
        """Apply what works on single images.

        Args:
            sample: An RGB picture, and its masks as pictures of mode ``L``.
            rng: The image's generator; ``batch`` goes on with it.
            name: Of the image, for messages.

        Returns:
            The image ``(3, H, W)`` float32 and its masks ``(H, W)`` uint8.
        """
        place = f"on image '{name}'" if name else "on a made-up image"
        for operation in self._at("pil"):
            sample = operation(sample, rng, place)
        # A copy, because Pillow's buffer is read-only.
        pixels = torch.from_numpy(np.array(sample.image, dtype=np.uint8)).permute(2, 0, 1)
        image = pixels.contiguous().float().div_(255)
        sample = Sample(image, {n: torch.from_numpy(np.array(m)) for n, m in sample.masks.items()})
        for operation in self._at("tensor"):
            sample = operation(sample, rng, place)
        return sample

    def batch(
        self,
        samples: Sequence[Sample],
        rngs: Sequence[np.random.Generator],
        names: Sequence[str] = ("",),
    ) -> Sample:
        """Join the results of ``single`` and apply what works on batches.

        Args:
            samples: Of one size.
            rngs: Generators of the images, as ``single`` has left them.
            names: Of the images, for messages.

        Returns:
            Images ``(B, 3, H, W)`` float32 and masks ``(B, H, W)`` uint8.

        Raises:
            ReidError: The images differ in size.
        """
        images = _stacked([sample.image for sample in samples])
        masks: Mapping[str, Tensor] = {
            name: torch.stack([sample.masks[name] for sample in samples])
            for name in samples[0].masks
        }
        joined = Sample(images, masks)
        place = f"on the batch of image '{names[0]}'" if names[0] else "on a made-up batch"
        for operation in self._at("batch"):
            joined = operation(joined, list(rngs), place)
        return joined

    def input_size(self) -> Size:
        """Return (height, width) in pixels of what the network sees."""
        blank = self(Image.new("RGB", (64, 128)), np.random.default_rng(0))
        return int(blank.shape[1]), int(blank.shape[2])

    def sizes(self) -> list[Size]:
        """Return the size of a picture of 128 x 64 pixels, and that after each operation."""
        return [self.first(count).input_size() for count in range(len(self.operations) + 1)]

    def first(self, count: int) -> Pipeline:
        """Return the pipeline of the first operations alone."""
        beginning = copy.copy(self)
        beginning.operations = self.operations[:count]
        return beginning

    def _at(self, stage: str) -> list[Operation]:
        return [operation for operation in self.operations if operation.stage == stage]


def _stacked(tensors: Sequence[Tensor]) -> Tensor:
    shapes = {tuple(t.shape) for t in tensors}
    if len(shapes) > 1:
        raise ReidError(
            f"augmentation: images of one batch differ in size: {sorted(shapes)}; "
            "put 'resize' first"
        )
    return torch.stack(list(tensors))

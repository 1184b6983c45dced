"""A loss by name that gives the number that it gives in a training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reid_core.boundary import PluginError
from reid_core.contracts import Loss, LossInput, LossOutput, Progress, parts_with
from reid_core.errors import ReidError
from reid_core.params.schema import LossEntry
from reid_core.training.loss_input import DeclaredInput, loss_vectors
from reid_core.training.term_checks import check_loss_output

START = Progress(epoch=0, epochs=1, step=0, steps_per_epoch=1)
"""The first step of a training of one epoch."""


class LossByName(nn.Module):
    """A loss of the catalog on vectors ``(B, d)`` as they leave the network, not normalised.

    It normalises, casts to float32 and leaves autocast as a training does, which is why its value
    is the training's (before the entry's weight).

    Attributes:
        loss: What the component has built.
        on: Which vector of a branch a training hands to it, ``"feature"`` (before the neck's BN)
            or ``"embedding"`` (after it): hand over that one.
        normalize: Whether the vectors are L2-normalised first.
    """

    def __init__(self, entry: LossEntry, loss: Loss) -> None:
        """Bind a built loss to its entry, which may say ``on`` and ``normalize``."""
        super().__init__()
        self.loss, self.origin, self.component = loss, entry.origin, entry.component
        self.on = entry.on or self.component.on
        own = self.component.normalize
        self.normalize = own if entry.normalize is None else entry.normalize
        self._declared = DeclaredInput.of_entry(entry)

    def forward(
        self,
        features: Tensor,
        pids: Tensor,
        camids: Tensor | None = None,
        *,
        weight: Tensor | None = None,
        logits: Tensor | None = None,
        aux: Mapping[str, Tensor] | None = None,
        columns: Mapping[str, Tensor] | None = None,
        extras: Mapping[str, Any] | None = None,
        index: Tensor | None = None,
        progress: Progress = START,
    ) -> LossOutput:
        """Return value, monitors and accuracy of a batch.

        Args:
            features: ``(B, d)``, not normalised, of the vector that ``on`` names.
            pids: ``(B,)`` int64 labels, 0 to num_pids - 1.
            camids: ``(B,)`` int64; default: unknown.
            weight: ``(num_pids, d)`` of the classifier; as in a training, only losses that need
                one see it.
            logits: ``(B, num_pids)`` of the vectors as the loss sees them, likewise; default:
                made of them and ``weight``, without a bias.
            aux: Values of the heads by name, ``(B, ...)``.
            columns: Columns of the images by name, ``(B,)`` int64, numbered from 0; -1 unknown.
            extras: What is packed beside the images, by name, as ``Batch`` has it.
            index: ``(B,)`` int64, positions among all training images.
            progress: Where the training stands; default: at its first step.

        Raises:
            ReidError: Something that the loss needs is not given, or the loss failed or returned
                what its contract does not allow.
        """
        _check_batch(features, pids)
        self._check(weight, logits, aux or {}, columns or {}, extras or {})
        for part in parts_with("set_progress", self._parts()):
            part.set_progress(progress)
        with torch.autocast(features.device.type, enabled=False):
            vectors = loss_vectors(features, self.normalize)
            if not self._needs_classifier:
                weight = logits = None
            if weight is not None:
                weight = weight.float()
                logits = F.linear(vectors, weight) if logits is None else logits
            x = LossInput(
                features=vectors,
                pids=pids,
                camids=torch.full_like(pids, -1) if camids is None else camids,
                progress=progress,
                weight=weight,
                logits=None if logits is None else logits.float(),
                index=index,
                **self._declared.of(aux or {}, columns or {}, extras or {}),
            )
            return self._called(x)

    def after_step(self) -> None:
        """Update the loss's own buffers; call it after each step of the optimizer."""
        for part in parts_with("after_step", self._parts()):
            part.after_step()

    def _called(self, x: LossInput) -> LossOutput:
        try:
            with self.origin.calling():
                output = self.loss(x)
        except PluginError as error:
            if self._needs_classifier and x.weight is None:
                raise ReidError(f"{self.origin} needs the weight too: {_WEIGHT}") from error
            raise
        attached = any(v is not None and v.requires_grad for v in (x.features, x.logits))
        check_loss_output(output, self.origin, "", attached=attached, device=x.features.device)
        return output

    @property
    def _needs_classifier(self) -> bool:
        return "classifier" in self.component.needs

    def _parts(self) -> list[object]:
        """Return the loss and what it is made of."""
        return [*self.loss.modules()] if isinstance(self.loss, nn.Module) else [self.loss]

    def _check(
        self, weight: Tensor | None, logits: Tensor | None, *given: Mapping[str, Any]
    ) -> None:
        """Raise ReidError for what the loss declares that it needs and the caller left out."""
        if self._needs_classifier and weight is None and logits is None:
            raise ReidError(f"{self.origin} needs a classifier: {_WEIGHT}")
        names = self._declared
        wanted = {"aux": names.reads, "columns": names.columns, "extras": names.extras}
        for (keyword, needed), values in zip(wanted.items(), given, strict=True):
            if missing := [name for name in needed if name not in values]:
                raise ReidError(
                    f"{self.origin} reads '{missing[0]}': give {keyword}={{'{missing[0]}': ...}} "
                    "with one value per image"
                )


_WEIGHT = "give weight=, the (num_pids, d) weight of the linear layer"


def _check_batch(features: Any, pids: Any) -> None:
    """Raise ReidError if the caller's vectors and labels are no batch."""
    if not isinstance(features, Tensor) or features.ndim != 2 or not features.is_floating_point():
        raise ReidError(f"loss: features must be a float tensor (B, d), got {_form(features)}")
    integer = isinstance(pids, Tensor) and not (pids.is_floating_point() or pids.is_complex())
    if not integer or pids.dtype == torch.bool or pids.shape != features.shape[:1]:
        raise ReidError(
            f"loss: pids must be an int64 tensor ({len(features)},), a label for each of "
            f"{len(features)} vectors, got {_form(pids)}"
        )


def _form(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)} and {value.dtype}"
    return f"a {type(value).__name__}"

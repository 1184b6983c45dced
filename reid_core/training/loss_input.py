"""What a loss sees of its vectors: the same in a training and for a loss that is built alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.nn import functional as F

from reid_core.contracts import LossInput
from reid_core.declared_values import Declared
from reid_core.params.schema import LossEntry


def loss_vectors(vectors: Tensor, normalize: bool) -> Tensor:
    """Return vectors ``(B, d)`` as a loss sees them: float32, L2-normalised where it wants that."""
    features = vectors.float()
    return F.normalize(features, dim=1) if normalize else features


def in_float32(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return values of heads by name, real ones in float32; whole numbers stay what they are."""
    return {n: v.float() if v.is_floating_point() else v for n, v in values.items()}


@dataclass(frozen=True)
class DeclaredInput:
    """What a loss has declared that it reads beside its vectors.

    Attributes:
        reads: Values of heads.
        columns: Columns of the images.
        extras: What is packed beside them.
    """

    reads: tuple[str, ...]
    columns: tuple[str, ...]
    extras: tuple[str, ...]

    @classmethod
    def of_entry(cls, entry: LossEntry) -> DeclaredInput:
        """Return what the component of an entry declares.

        Raises:
            PluginError: It declares something else than names.
        """
        return cls(entry.names("reads"), entry.names("columns"), entry.names("extras"))

    def of(
        self,
        aux: Mapping[str, Tensor],
        columns: Mapping[str, Tensor],
        extras: Mapping[str, Tensor | list[str]],
    ) -> dict[str, Any]:
        """Return these fields of a ``LossInput``, each with what is declared and no more."""
        kind, read = "LossComponent", {name: aux[name] for name in self.reads if name in aux}
        return {
            "aux": Declared(in_float32(read), self.reads, "reads", kind),
            "columns": Declared(columns, self.columns, "columns", kind),
            "extras": Declared(extras, self.extras, "extras", kind),
        }


def given_tensors(given: LossInput) -> dict[str, Tensor | None]:
    """Return what a loss must leave as it is, by what messages call it."""
    names = ("features", "pids", "camids", "weight", "logits", "index")
    tensors: dict[str, Tensor | None] = {f"the {name}": getattr(given, name) for name in names}
    tensors |= {f"the value '{name}' of a head": value for name, value in given.aux.items()}
    return tensors | {f"the column '{name}'": value for name, value in given.columns.items()}

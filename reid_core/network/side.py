"""What a backbone looks at beside the image: its columns, and what they hold for some images."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from reid_core.contracts import SideValues
from reid_core.errors import ReidError, name_list
from reid_core.params.entries import BackboneEntry

UNKNOWN = -1
"""The number of a value that is not known, or that the training did not have."""


def side_columns(entry: BackboneEntry) -> tuple[str, ...]:
    """Return the columns that a backbone declares for its params.

    Raises:
        ReidError: It declares something else than names, or one twice.
    """
    names = entry.names("side")
    if len(set(names)) != len(names):
        raise entry.origin.fault(f"declares side {names!r}; expected every name once")
    return names


def values_for_shapes(entry: BackboneEntry) -> SideValues:
    """Return two values of every column, for a network that is built without data."""
    return dict.fromkeys(side_columns(entry), (("", 0), ("", 1)))


def chosen_values(entry: BackboneEntry, known: SideValues) -> SideValues:
    """Return the values of the columns that a backbone declares, in its order.

    Raises:
        ReidError: They are not known.
    """
    names = side_columns(entry)
    if missing := [name for name in names if name not in known]:
        raise ReidError(
            f"backbone: '{entry.bare_name}' looks at '{missing[0]}' of the images, whose values "
            f"are not given (given: {name_list(known)})"
        )
    return {name: known[name] for name in names}


def completed(
    side: Mapping[str, Tensor] | None, names: tuple[str, ...], images: Tensor
) -> dict[str, Tensor]:
    """Return exactly the named columns of some images; what is left out is unknown.

    Args:
        side: ``(B,)`` int64 by column; what is not named is left out.
        names: Columns.
        images: ``(B, ...)``.

    Raises:
        ReidError: A column is not of that form.
    """
    found = {}
    for name in names:
        column = side.get(name) if side else None
        if column is None:
            column = torch.full((len(images),), UNKNOWN, dtype=torch.int64, device=images.device)
        elif column.shape != (len(images),) or column.dtype != torch.int64:
            raise ReidError(
                f"the column '{name}' of {len(images)} images has shape {tuple(column.shape)} and "
                f"type {column.dtype}; expected ({len(images)},) and torch.int64"
            )
        found[name] = column
    return found

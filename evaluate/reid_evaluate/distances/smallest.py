"""The smallest numbers of each row, without sorting the row."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

_WIDTH = 64
"""Columns that are looked at as one: a row of 20,000 has about 300 of them."""


def smallest(keys: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return the k smallest numbers of each row.

    The k smallest of a row are among the k groups of columns with the smallest minima. The
    minima cost one pass; all else is done on few numbers.

    Args:
        keys: ``(b, G)`` float32, no NaN.
        k: 0 to G.

    Returns:
        Keys and columns, both ``(b, k)``, ascending; equal keys by ascending column.
    """
    rows, columns = keys.shape
    if k == 0:
        return keys[:, :0], torch.empty(rows, 0, dtype=torch.int64, device=keys.device)
    more = min(k + 1, columns)  # the next one shows whether there is a tie at the end
    groups = columns // _WIDTH
    if groups <= 2 * more:
        found, at = keys.topk(more, largest=False)
    else:
        whole = groups * _WIDTH
        minima = keys[:, :whole].view(rows, groups, _WIDTH).amin(dim=2)
        chosen = minima.topk(more, largest=False).indices
        offsets = torch.arange(_WIDTH, device=keys.device)
        candidates = (chosen[:, :, None] * _WIDTH + offsets).view(rows, -1)
        rest = torch.arange(whole, columns, device=keys.device).expand(rows, -1)
        candidates = torch.cat([candidates, rest], dim=1)
        found, inside = keys.gather(1, candidates).topk(more, largest=False)
        at = candidates.gather(1, inside)
    at, found = at.sort(dim=1)[0], found  # by column first, then stably by key
    found, order = keys.gather(1, at).sort(dim=1, stable=True)
    at = at.gather(1, order)
    if more > k:
        tied = torch.nonzero(found[:, k] == found[:, k - 1]).flatten()
        for row in tied.tolist():
            at[row, :k] = _first_columns(keys[row], found[row, k - 1], k)
    return found[:, :k], at[:, :k]


def _first_columns(row: Tensor, largest: Tensor, k: int) -> Tensor:
    """Return the k smallest of a row that has more than one number at the end of them."""
    values = row.cpu().numpy()
    candidates = np.flatnonzero(values <= float(largest))
    order = np.argsort(values[candidates], kind="stable")
    return torch.from_numpy(candidates[order[:k]]).to(row.device)

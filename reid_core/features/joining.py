"""The features of several data sets as one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from reid_core.contracts import Features


def joined(parts: Sequence[Features], labels: Sequence[str]) -> Features:
    """Return the images of several data sets, those of the first data set first.

    Where there are several, names and pids begin with their data set: ``market/0002``. Columns
    that one of them lacks are left out, as they say nothing of all images.

    Args:
        parts: Features with the same values.
        labels: Name of the data set of each.
    """
    if len(parts) == 1:
        return parts[0]
    prefix = [f"{label}/" for label in labels]
    columns = set.intersection(*(set(part.columns) for part in parts))
    return Features(
        values={n: np.concatenate([p.values[n] for p in parts]) for n in parts[0].values},
        pids=np.concatenate([_prefixed(at, p.pids) for at, p in zip(prefix, parts, strict=True)]),
        camids=np.concatenate([part.camids for part in parts]),
        names=np.concatenate([np.char.add(a, p.names) for a, p in zip(prefix, parts, strict=True)]),
        junk=np.concatenate([part.junk for part in parts]),
        distractor=np.concatenate([part.distractor for part in parts]),
        classes=parts[0].classes,
        meta={**parts[0].meta, "dataset": list(labels), "images": sum(map(len, parts))},
        columns={n: np.concatenate([p.columns[n] for p in parts]) for n in sorted(columns)},
    )


def _prefixed(prefix: str, pids: np.ndarray) -> np.ndarray:
    """Return pids with their data set; an unknown one stays empty."""
    named: np.ndarray = np.where(pids == "", "", np.char.add(prefix, pids))
    return named

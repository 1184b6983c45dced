"""Saved scores of a ranking: where they lie, and what is looked at when they are compared."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

AP_ARRAYS = {"standard": "ap", "trapezoid": "ap_trapezoid"}
"""Array per query of each definition of average precision."""

NEEDED = ("ap", "first_rank", "name", "pid", "camid")
"""Arrays per query that make saved scores those of a ranking."""


@dataclass(frozen=True)
class Saved:
    """One evaluation of a run.

    Attributes:
        arrays: ``(Q, ...)`` arrays per query by name.
        facts: What else was saved: ``"evaluation"``, ``"target"``, ``"model"``, ``"metrics"``,
            ``"protocol"``, ...
        gallery: ``(G,)`` names of the gallery's images, UTF-8; None where they were not saved.
    """

    arrays: Mapping[str, npt.NDArray[Any]]
    facts: Mapping[str, Any]
    gallery: npt.NDArray[np.bytes_] | None = field(default=None, kw_only=True)

    @property
    def protocol(self) -> Mapping[str, Any]:
        """Return the choices behind the scores; empty if they were not saved."""
        found = self.facts.get("protocol")
        return found if isinstance(found, Mapping) else {}

    @property
    def ap(self) -> str:
        """Return the definition of average precision behind the mAP, ``standard`` by default."""
        return "trapezoid" if self.protocol.get("ap") == "trapezoid" else "standard"

    @property
    def counts_all(self) -> bool:
        """Return whether a query without a match counts as 0; by default it is left out."""
        return self.protocol.get("denominator") == "all"

    def rows(self, at: npt.NDArray[Any]) -> Saved:
        """Return some of the queries, by position or mask."""
        arrays = {name: array[at] for name, array in self.arrays.items()}
        return Saved(arrays, self.facts, gallery=self.gallery)


def score_files(run: Path, kinds: Sequence[str]) -> list[Path]:
    """Find the saved scores of a run, or of an output_dir of ``reid evaluate``.

    Args:
        run: The folder.
        kinds: Which scores of a run, such as ``"best"``, ``"last"`` and ``"scores"``, those of a
            later evaluation of it; the first that there are. An output_dir has the last alone.

    Returns:
        The files' paths without their ending, sorted.

    Raises:
        ValueError: There is no such folder, or nothing in it.
    """
    folder = run / "evaluations" if os.path.isdir(run / "evaluations") else run
    if not os.path.isdir(folder):
        raise ValueError(f"{run}: no such folder; name the directory of a run")
    for kind in kinds if is_run(run) else ("scores",):
        if files := sorted(folder.glob(f"{kind}-*.json")):
            return [file.with_suffix("") for file in files]
    raise ValueError(
        f"{run}: no saved scores: neither {' nor '.join(f'{kind}-*.json' for kind in kinds)} in "
        "the folder 'evaluations' of a run nor scores-*.json in an output_dir of reid evaluate"
    )


def is_run(path: Path) -> bool:
    """Return whether a folder is that of a run, or of its scores: those of several models."""
    own = (*path.glob("best-*.json"), *path.glob("last-*.json"))
    return os.path.isdir(path / "evaluations") or bool(own)

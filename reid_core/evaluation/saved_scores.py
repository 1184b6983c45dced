"""Scores on the disk: metrics and card as JSON, arrays as npz."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import numpy as np

from reid_core.errors import ReidError
from reid_core.evaluation.run_evaluators import Evaluated
from reid_core.files import DAMAGED, atomic_path, write_json


def scores_path(folder: Path, kind: str, name: str, target: str) -> Path:
    """Return where the scores of an evaluation lie, without the ending.

    Args:
        folder: Where scores are kept.
        kind: ``best``, ``last``, ``scores``, ``baseline-<name>``.
        name: Of the evaluation, numbered where it is repeated.
        target: What was scored.
    """
    return folder / f"{kind}-{name}-{target}"


def save_scores(folder: Path, result: Evaluated, kind: str, model: str) -> Path:
    """Write metrics, protocol and card as JSON, per-query arrays and tables as npz (no pickle).

    Args:
        folder: Where to write.
        result: The scores.
        kind: First part of the files' name: ``best``, ``last``, ``baseline-<name>``.
        model: What was scored, for people, e.g. ``"best model, epoch 10"``.

    Returns:
        The files' path without its ending; see ``read_scores``.
    """
    path = scores_path(folder, kind, result.name, result.target)
    scores = result.scores
    arrays = {f"per_query.{name}": array for name, array in scores.per_query.items()}
    arrays |= {f"tables.{name}": array for name, array in scores.tables.items()}
    with atomic_path(path.with_name(f"{path.name}.npz")) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]
    facts = {
        **result.label,
        "model": model,
        "primary": scores.primary,
        "metrics": {name: float(value) for name, value in scores.metrics.items()},
        "intervals": {name: list(ends) for name, ends in scores.intervals.items()},
        "protocol": dict(scores.protocol),
        "card": dict(scores.card),
    }
    write_json(path.with_name(f"{path.name}.json"), facts)
    return path


def read_scores(
    path: Path, part: Literal["per_query", "tables"] = "per_query"
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return arrays and the facts that ``save_scores`` wrote.

    Args:
        path: The files' path without its ending.
        part: Which arrays.

    Raises:
        ReidError: The files are missing or damaged.
    """
    try:
        with np.load(path.with_name(f"{path.name}.npz"), allow_pickle=False) as file:
            prefix = f"{part}."
            arrays = {n[len(prefix) :]: file[n] for n in file.files if n.startswith(prefix)}
        text = path.with_name(f"{path.name}.json").read_text(encoding="utf-8")
        return arrays, dict(json.loads(text))
    except DAMAGED as error:
        raise ReidError(f"{path}: saved scores are missing or damaged: {error}") from None

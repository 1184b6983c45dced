"""Scores on the disk: metrics and card as JSON, arrays as npz, with checksums of both."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, Literal

import numpy as np

from reid_core.array_file import arrays_of
from reid_core.checksums import KEY, bytes_checksum, check_signed, read_object, signed
from reid_core.console import warn
from reid_core.errors import ReidError
from reid_core.evaluation.run_evaluators import Evaluated
from reid_core.files import DAMAGED, atomic_path, write_json

FORMAT = 2
"""Version of the files; those of the first carry neither a version nor checksums."""


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
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    with atomic_path(path.with_name(f"{path.name}.npz")) as temporary:
        temporary.write_bytes(buffer.getbuffer())
    facts = {
        "format": FORMAT,
        **result.label,
        "model": model,
        "primary": scores.primary,
        "metrics": {name: float(value) for name, value in scores.metrics.items()},
        "intervals": {name: list(ends) for name, ends in scores.intervals.items()},
        "protocol": dict(scores.protocol),
        "card": dict(scores.card),
        "arrays_checksum": bytes_checksum(buffer.getbuffer()),
    }
    write_json(path.with_name(f"{path.name}.json"), signed(facts))
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
        facts = read_object(path.with_name(f"{path.name}.json"))
        content = path.with_name(f"{path.name}.npz").read_bytes()
        _check(facts, content, path)
        prefix = f"{part}."
        arrays = arrays_of(io.BytesIO(content))
        return {n[len(prefix) :]: a for n, a in arrays.items() if n.startswith(prefix)}, facts
    except DAMAGED as error:
        raise ReidError(f"{path}: saved scores are missing or damaged: {error}") from None


def _check(facts: dict[str, Any], content: bytes, path: Path) -> None:
    """Compare saved scores with their checksums; say so where they are too old to have any.

    Raises:
        ValueError: They differ.
    """
    if "format" not in facts and KEY not in facts and "arrays_checksum" not in facts:
        warn(f"{path}: saved scores of an older version, without checksums; damage is not noticed")
    else:
        check_signed(facts)
        if facts["format"] != FORMAT:
            raise ValueError(f"format {facts['format']}, this version reads {FORMAT}")
        if bytes_checksum(content) != facts["arrays_checksum"]:
            raise ValueError(f"{path.name}.npz is not the file that {path.name}.json is about")

"""Distances and steps tried on made-up vectors, before there is any image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from reid_core.boundary import PluginError
from reid_core.contracts import CAMID, SPLITS, Features
from reid_core.errors import ReidError
from reid_core.evaluation.build_evaluator import build_evaluator
from reid_core.params.schema import EvaluationEntry

QUERIES, GALLERY, DIM, PEOPLE = 16, 64, 16, 8
"""More than a step with usual params needs, and a moment's work."""


def try_evaluations(entries: Sequence[EvaluationEntry]) -> None:
    """Build every evaluator, and let it rank made-up vectors by its distance and with its steps.

    What reads more than a vector and a camera is not tried: only a network and data say what that
    is. Nor is the evaluator itself, which may know these images for made up.

    Raises:
        ReidError: A part cannot be built, or a distance or a step failed or returned what cannot
            be used.
    """
    for entry in entries:
        evaluator = build_evaluator(entry)
        parts = [*([entry.distance] if entry.distance else []), *entry.postprocess]
        reads_more = evaluator.outputs - {"embedding", "feature"} or evaluator.columns - {CAMID}
        if not parts or reads_more:
            continue
        try:
            splits = {split: _made_up(split) for split in evaluator.splits}
            evaluator.score(splits, "made-up vectors")
        except ReidError as error:
            if isinstance(error, PluginError) and error.origin in [part.origin for part in parts]:
                raise


def _made_up(split: str) -> Features:
    """Return random vectors of some people under two cameras that no other split has."""
    count, place = QUERIES if split == "query" else GALLERY, SPLITS.index(split)
    rng = np.random.default_rng(place)
    vectors = {
        name: rng.standard_normal((count, DIM), dtype=np.float32)
        for name in ("embedding", "feature")
    }
    camids = np.arange(count, dtype=np.int64) // PEOPLE % 2 + 2 * place
    return Features(
        values=vectors,
        pids=np.array([f"made-up {n % PEOPLE}" for n in range(count)]),
        camids=camids,
        names=np.array([f"{split}/made-up {n}" for n in range(count)]),
        junk=np.zeros(count, dtype=bool),
        distractor=np.zeros(count, dtype=bool),
        meta={"dataset": "made up", "content_hash": "", "model": "made up", "split": split},
        columns={CAMID: camids},
    )

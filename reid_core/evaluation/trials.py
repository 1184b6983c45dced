"""Distances and steps tried on made-up vectors, before there is any image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from reid_core.boundary import PluginError
from reid_core.contracts import CAMID
from reid_core.errors import ReidError
from reid_core.evaluation.build_evaluator import build_evaluator, built_step
from reid_core.params.schema import EvaluationEntry
from reid_evaluate.distances.comparison import Comparison, Vectors

if TYPE_CHECKING:
    from reid_core.contracts import Distance

QUERIES, GALLERY, DIM, PEOPLE = 16, 64, 16, 8
"""More than a step with usual params needs, and a moment's work."""


def try_evaluations(entries: Sequence[EvaluationEntry]) -> None:
    """Build every evaluator, and rank made-up vectors by its distance and after every step.

    What reads values of heads or columns of images is not tried: only a network and data say what
    they are. A refusal of the vectors is no fault.

    Raises:
        ReidError: A part cannot be built, failed, or returned what cannot be used.
    """
    for entry in entries:
        evaluator = build_evaluator(entry)
        distance = evaluator.distance
        if distance is None or distance.aux or evaluator.columns - {CAMID}:
            continue
        try:
            _try(distance.part, entry)
        except PluginError:
            raise
        except ReidError:
            continue


def _try(distance: Distance, entry: EvaluationEntry) -> None:
    """Rank by a distance, and after every step in the order of the entry."""
    query, gallery = _made_up(QUERIES, 0), _made_up(GALLERY, 1)
    extra = {
        split: _made_up(GALLERY, 2) for step in entry.postprocess for split in step.component.splits
    }
    comparison = Comparison(query, gallery, distance, extra)
    _rank(comparison)
    for step in entry.postprocess:
        comparison = built_step(step).part(comparison)
        _rank(comparison)


def _rank(comparison: Comparison) -> None:
    """Make all keys and their distances."""
    keys, out = comparison.keys, torch.empty(QUERIES, GALLERY)
    keys.fill(0, QUERIES, out)
    keys.values(out)


def _made_up(count: int, seed: int) -> Vectors:
    """Return random vectors ``(count, DIM)`` of some people under two cameras."""
    generator = torch.Generator().manual_seed(seed)
    camids = np.arange(count, dtype=np.int64) // PEOPLE % 2 + 2 * seed
    return Vectors(
        features=torch.randn(count, DIM, generator=generator),
        pids=np.array([f"made-up {n % PEOPLE}" for n in range(count)]),
        camids=camids,
        columns={CAMID: camids},
    )

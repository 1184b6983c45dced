"""What a report is about: the saved scores of a run, or of an evaluator's output_dir."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from reid_core.errors import ReidError, did_you_mean, name_list
from reid_core.evaluation.saved_scores import read_scores
from reid_evaluate.statistics.saved import AP_ARRAYS, NEEDED, Saved, is_run, score_files

Array = npt.NDArray[Any]

NUMBERS = frozenset(
    {
        *("ap", "ap_trapezoid", "first_rank", "num_matches", "camid"),
        *("top_indices", "top_flags", "top_distances"),
    }
)
"""Arrays per query that are counted with, where a ranking has them."""


class LeftOut(Exception):
    """A section of the report cannot be made; the text says why, as part of a sentence."""


@dataclass(frozen=True)
class Evaluation(Saved):
    """The saved scores of one evaluation, with what they are a part of.

    Attributes:
        tables: Further arrays, such as the CMC curve.
        path: The files without their ending.
    """

    tables: Mapping[str, Array]
    path: Path

    @property
    def title(self) -> str:
        """Return what was scored on what."""
        return f"{self.facts['evaluation']} on {self.facts['target']}"

    @property
    def is_ranking(self) -> bool:
        """Return whether queries were ranked, so that there is an AP per query."""
        return self.arrays.keys() >= set(NEEDED)

    @property
    def precision(self) -> Array:
        """Return ``(Q,)`` the average precision that the mAP is the mean of."""
        own = AP_ARRAYS[self.ap]
        return self.arrays[own if own in self.arrays else "ap"]

    @property
    def has_match(self) -> npt.NDArray[np.bool_]:
        """Return ``(Q,)`` whether the junk rule leaves a query a match."""
        found: npt.NDArray[np.bool_] = self.arrays["first_rank"] > 0
        return found

    def table(self, name: str, dimensions: int, reason: str) -> Array:
        """Return a table as finite or NaN float64.

        Raises:
            LeftOut: It was not saved (that is the reason given), or is no such table.
        """
        if name not in self.tables:
            raise LeftOut(reason)
        table = self.tables[name]
        if table.ndim != dimensions or table.dtype.kind not in "iuf":
            raise LeftOut(f"the saved table '{name}' is not one of market_evaluate")
        return table.astype(np.float64)


def collect(run: Path, kind: str | None = None, evaluation: str | None = None) -> list[Evaluation]:
    """Read the saved scores of a run.

    Args:
        run: A run's directory, or a folder of scores that ``reid evaluate`` wrote.
        kind: Which scores of a run, ``"best"`` or ``"last"``; None: the best if there are any.
        evaluation: Only the evaluation of this name.

    Returns:
        One entry per evaluation and target, sorted by the names of their files.

    Raises:
        ReidError: Scores are missing or damaged, or none is of that name.
    """
    if kind and not is_run(run):
        raise ReidError(
            f"--kind: {run} is not the directory of a run, which has a best and a last model; "
            "leave it out"
        )
    kinds = (kind,) if kind else ("best", "last", "scores")
    try:
        files = score_files(run, kinds)
    except ValueError as error:
        raise ReidError(str(error)) from None
    found = [_read(path) for path in files]
    chosen = [e for e in found if evaluation in (None, e.facts["evaluation"])]
    if not chosen:
        names = {str(e.facts["evaluation"]) for e in found}
        raise ReidError(
            f"--evaluation: {run} has no scores of '{evaluation}'"
            f"{did_you_mean(str(evaluation), names)} (it has: {name_list(names)})"
        )
    return chosen


def _read(path: Path) -> Evaluation:
    arrays, facts = read_scores(path)
    tables, _ = read_scores(path, part="tables")
    found = Evaluation(arrays, facts, tables, path)
    if fault := _fault(found):
        raise ReidError(f"{path}: saved scores are damaged: {fault}; score the run again")
    return found


def _fault(found: Evaluation) -> str | None:
    """Return what keeps saved scores from being shown."""
    facts = found.facts
    for key in ("evaluation", "target", "model", "primary"):
        if not isinstance(facts.get(key), str):
            return f"'{key}' is not a text"
    for key in ("metrics", "intervals", "card"):
        if not isinstance(facts.get(key, {}), dict):
            return f"'{key}' is not an object"
    if not isinstance(facts.get("protocol"), dict):
        return "'protocol' is not an object"
    for name, value in facts.get("metrics", {}).items():
        if not isinstance(value, Real):
            return f"the metric '{name}' is not a number"
    for name, ends in facts.get("intervals", {}).items():
        if not (isinstance(ends, list) and [isinstance(end, Real) for end in ends] == [True] * 2):
            return f"the interval of '{name}' is not two numbers"
    return _array_fault(found.arrays) if found.is_ranking else None


def _array_fault(arrays: Mapping[str, Array]) -> str | None:
    """Return what keeps the arrays of the queries of a ranking from being shown."""
    if len({array.shape[:1] for array in arrays.values()}) > 1:
        return "the arrays of the queries differ in length"
    for name in NEEDED:
        if arrays[name].ndim != 1:
            return f"the array '{name}' has {arrays[name].ndim} dimensions"
    for name in sorted(NUMBERS & arrays.keys()):
        if arrays[name].dtype.kind not in "biuf":
            return f"the array '{name}' has no numbers"
    return None

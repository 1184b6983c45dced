"""Compare the saved scores of two runs, query by query; neither model nor images are needed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from reid_core.errors import ReidError, did_you_mean, name_list
from reid_core.evaluation.saved_scores import read_scores
from reid_evaluate.statistics.saved import AP_ARRAYS, NEEDED, Saved, is_run, score_files
from reid_plugins.command._same_images import check_same_gallery, places_of, same_rows

Floats = npt.NDArray[np.float64]
Values = Mapping[str, Floats]

Place = tuple[str, str]
"""An evaluation and its target, by name."""

Difference = Callable[[Values, Values], Mapping[str, tuple[float, float, float]]]
"""``difference(a, b)`` gives (difference, low, high) by name for ``(Q,)`` values by name."""

USED = frozenset({*NEEDED, "ap_trapezoid", "inp"})
"""Arrays that are looked at."""

NO_CHOICES = frozenset(
    {"ap", "direction_spread", "identical_matches", "intervals", "false_rates", "data.model"}
)
"""Keys of a protocol that say what the model did or what is not compared here; both definitions
of AP are saved anyway."""

FEATURES = "features"
"""What ``reid evaluate`` calls the target of saved features."""

GALLERY = "gallery_names"
"""Table ``(G,)`` of the names of the gallery's images, UTF-8."""

SINGLE_SHOT = "single_shot_rank1"
"""``(Q,)`` share of the draws in which a query's match is first, of the protocol cuhk03."""


@dataclass(frozen=True)
class Choice:
    """An entry of the protocol that differs between the runs."""

    key: str
    a: Any
    b: Any


@dataclass(frozen=True)
class Change:
    """A measure of both runs with its intervals, b - a, and the interval of that difference."""

    a: float
    b: float
    difference: float
    low: float
    high: float
    interval_a: tuple[float, float]
    interval_b: tuple[float, float]


@dataclass(frozen=True)
class Query:
    """A query that changed: (a, b) of its AP and of the rank of its first match."""

    name: str
    pid: str
    camid: int
    ap: tuple[float, float]
    first_rank: tuple[int, int]


@dataclass(frozen=True)
class Compared:
    """One evaluation of both runs.

    Attributes:
        evaluation: Name of the evaluation.
        target: Name of the target.
        model_a: What was scored, e.g. ``"best model, epoch 10"``.
        model_b: Likewise.
        ap: Definition of average precision, ``"standard"`` or ``"trapezoid"``: that of a.
        own_ap_b: The definition behind the mAP that b itself reported.
        queries: Queries of the target.
        counted: Those that every mean is taken over.
        choices: How the protocols differ.
        metrics: ``mAP``, ``rank1`` and, where both runs have it, ``mINP``.
        lost: Queries whose AP fell most, worst first.
        gained: Queries whose AP rose most, best first.
    """

    evaluation: str
    target: str
    model_a: str
    model_b: str
    ap: str
    own_ap_b: str
    queries: int
    counted: int
    choices: list[Choice]
    metrics: dict[str, Change]
    lost: list[Query]
    gained: list[Query]


def compare_scores(
    a: Path,
    b: Path,
    difference: Difference,
    *,
    kind: str | None = None,
    evaluation: str | None = None,
    queries: int = 10,
) -> list[Compared]:
    """Compare every evaluation of a ranking that two runs have in common.

    Args:
        a: A run's directory, or a folder of scores that ``reid evaluate`` wrote.
        b: Likewise.
        difference: Gives differences of means with their intervals.
        kind: Which scores of a run: ``"best"`` or ``"last"``; None: the best, or, of a run that
            has none, those of a later evaluation.
        evaluation: Only the evaluation of this name.
        queries: How many queries to list in each direction, 0 or larger.

    Returns:
        One entry per evaluation and target, sorted by name.

    Raises:
        ReidError: Scores are missing or damaged or have no protocol, no evaluation is common,
            or the queries or which of them count are not the same.
    """
    if kind and not (is_run(a) or is_run(b)):
        raise ReidError(
            f"--kind: neither {a} nor {b} is the directory of a run, which has a best and a last "
            "model; leave it out"
        )
    kinds = (kind,) if kind else ("best", "scores")
    scores_a, scores_b = _on_same_targets(*(_saved_scores(path, kinds) for path in (a, b)))
    results = []
    for place in _common(scores_a, scores_b, evaluation):
        try:
            results.append(_compared(place, scores_a[place], scores_b[place], difference, queries))
        except ValueError as error:
            raise ReidError(f"{' on '.join(place)}: {error}") from error
    return results


# ---- which scores -----------------------------------------------------------------------


def _saved_scores(path: Path, kinds: Sequence[str]) -> dict[Place, Saved]:
    """Return a run's scores of rankings by evaluation and target."""
    try:
        files = score_files(path, kinds)
    except ValueError as error:
        raise ReidError(str(error)) from None
    found = {}
    for file in files:
        arrays, facts = read_scores(file)
        if arrays.keys() >= set(NEEDED):
            used = {name: array for name, array in arrays.items() if name in USED}
            tables, _ = read_scores(file, part="tables")
            gallery = tables.get(GALLERY)
            if "single_shot_ranks" in tables:
                used[SINGLE_SHOT] = (tables["single_shot_ranks"] == 1).mean(axis=0)
            place = str(facts.get("evaluation")), str(facts.get("target"))
            found[place] = Saved(used, facts, gallery=gallery)
    return found


def _on_same_targets(
    a: dict[Place, Saved], b: dict[Place, Saved]
) -> tuple[dict[Place, Saved], dict[Place, Saved]]:
    """Give the scores of saved features, which know no target, the name of the other's only one."""

    def named(scores: dict[Place, Saved], others: Iterable[Place]) -> dict[Place, Saved]:
        found = {}
        for (name, target), saved in scores.items():
            targets = [t for n, t in others if n == name]
            alone = target == FEATURES and len(targets) == 1
            found[name, targets[0] if alone else target] = saved
        return found

    return named(a, b), named(b, a)


def _common(a: Iterable[Place], b: Iterable[Place], evaluation: str | None) -> list[Place]:
    """Return what both runs have, of one name if it is given."""
    both = sorted(set(a) & set(b))
    if not both:
        texts = [name_list(f"{name} on {target}" for name, target in keys) for keys in (a, b)]
        raise ReidError(
            "no evaluation of a ranking is common to both runs: "
            f"A has {texts[0]}; B has {texts[1]}; score both on one target"
        )
    chosen = [key for key in both if evaluation in (None, key[0])]
    if not chosen:
        names = {name for name, _ in both}
        hint = did_you_mean(str(evaluation), names)
        raise ReidError(
            f"--evaluation: '{evaluation}' is not common to both runs{hint} "
            f"(common: {name_list(names)})"
        )
    return chosen


# ---- one evaluation of both -------------------------------------------------------------


def _compared(place: Place, a: Saved, b: Saved, difference: Difference, queries: int) -> Compared:
    """Compare one evaluation.

    Raises:
        ValueError: The scores do not belong together, or ``difference`` refuses them.
    """
    for saved, run in ((a, "A"), (b, "B")):
        if not saved.protocol:
            raise ValueError(
                f"the scores of {run} were saved without their protocol, so that they cannot be "
                "compared; score the run again"
            )
    if not same_rows(a, b):
        b = b.rows(places_of(a.arrays["name"], b.arrays["name"], "queries"))
    check_same_gallery(a, b)
    counted = _counted(a, b)
    a, b = a.rows(counted), b.rows(counted)
    values_a, values_b = _values(a, b, AP_ARRAYS[a.ap])
    rise = values_b["mAP"] - values_a["mAP"]
    zeros = {name: np.zeros_like(array) for name, array in values_a.items()}
    alone = [difference(zeros, values) for values in (values_a, values_b)]
    return Compared(
        evaluation=place[0],
        target=place[1],
        model_a=str(a.facts.get("model")),
        model_b=str(b.facts.get("model")),
        ap=a.ap,
        own_ap_b=b.ap,
        queries=len(counted),
        counted=int(counted.sum()),
        choices=_choices(a.protocol, b.protocol),
        metrics={
            name: Change(
                float(values_a[name].mean()),
                float(values_b[name].mean()),
                *change,
                *((low, high) for _, low, high in (of_one[name] for of_one in alone)),
            )
            for name, change in difference(values_a, values_b).items()
        },
        lost=[_query(a, b, AP_ARRAYS[a.ap], i) for i in _lowest(rise, queries)],
        gained=[_query(a, b, AP_ARRAYS[a.ap], i) for i in _lowest(-rise, queries)],
    )


def _counted(a: Saved, b: Saved) -> npt.NDArray[np.bool_]:
    """Return which queries every mean is taken over, by the protocol of a."""
    has_match: npt.NDArray[np.bool_] = a.arrays["first_rank"] > 0
    if a.counts_all:
        return np.ones_like(has_match)
    differs = np.flatnonzero(has_match != (b.arrays["first_rank"] > 0))
    if len(differs):
        raise ValueError(
            f"{len(differs)} queries have a match in one run only, e.g. "
            f"'{a.arrays['name'][differs[0]]}': gallery or junk rule were not the same; "
            "score both with the same protocol"
        )
    return has_match


def _values(a: Saved, b: Saved, ap_array: str) -> tuple[dict[str, Floats], dict[str, Floats]]:
    """Return what the measures are the means of, ``(Q,)`` by name, as far as both have it."""
    shared = a.arrays.keys() & b.arrays.keys()
    if ap_array not in shared:
        raise ValueError(f"the mAP of A needs the array '{ap_array}', which is not in both scores")

    def values(saved: Saved) -> dict[str, Floats]:
        rank1 = saved.arrays["first_rank"] == 1
        if SINGLE_SHOT in shared:
            rank1 = saved.arrays[SINGLE_SHOT]
        arrays = {"mAP": saved.arrays[ap_array], "rank1": rank1}
        if "inp" in shared:
            arrays["mINP"] = saved.arrays["inp"]
        return {name: np.asarray(array, dtype=np.float64) for name, array in arrays.items()}

    return values(a), values(b)


def _choices(a: Mapping[str, Any], b: Mapping[str, Any], outer: str = "") -> list[Choice]:
    """Return the entries of two protocols that differ, those of inner objects as ``outer.key``."""
    found = []
    for key in {**a, **b}:
        one, other, place = a.get(key), b.get(key), f"{outer}{key}"
        objects = [value for value in (one, other) if isinstance(value, Mapping)]
        if place in NO_CHOICES or one == other:
            continue
        # An object may be missing in one of them, but a junk rule by columns stands for a name.
        if len(objects) == 2 or (objects and None in (one, other)):
            found += _choices(one or {}, other or {}, f"{place}.")
        else:
            found.append(Choice(place, one, other))
    return found


def _lowest(values: Floats, count: int) -> list[int]:
    """Return the positions of the lowest values below 0, lowest first."""
    order = np.argsort(values, kind="stable")[:count]
    return [int(i) for i in order if values[i] < 0]


def _query(a: Saved, b: Saved, ap_array: str, at: int) -> Query:
    """Return one query of both runs."""
    return Query(
        name=str(a.arrays["name"][at]),
        pid=str(a.arrays["pid"][at]),
        camid=int(a.arrays["camid"][at]),
        ap=(float(a.arrays[ap_array][at]), float(b.arrays[ap_array][at])),
        first_rank=(int(a.arrays["first_rank"][at]), int(b.arrays["first_rank"][at])),
    )

"""Scores and distances of vectors that are there already."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from reid_core.api.components import named_distance
from reid_core.catalog import Catalog
from reid_core.contracts import CAMID, Features, Scores
from reid_core.discovery import load_catalog
from reid_core.errors import ParamsError, ReidError, name_list
from reid_core.evaluation.build_evaluator import AUX, build_evaluator
from reid_core.params.messages import validate
from reid_core.params.schema import EvaluationEntry

if TYPE_CHECKING:
    from reid_core.contracts import Distance, NamedPart
    from reid_evaluate.ranking.images import ImageSet

Part = str | Mapping[str, Any]
"""A component by name, or ``{"name": ..., "params": {...}}``."""

Vectors = Any
"""``Features``, or an array or tensor ``(N, D)``."""


def evaluate(
    splits: Mapping[str, Features] | None = None,
    /,
    evaluator: str = "market_evaluate",
    *,
    query: Features | None = None,
    gallery: Features | None = None,
    distance: Part | None = None,
    postprocess: Sequence[Part] = (),
    device: str = "cpu",
    catalog: Catalog | None = None,
    **params: Any,
) -> Scores:
    """Score features by an evaluator, e.g. ``evaluate(query=q, gallery=g, ap="trapezoid")``.

    Args:
        splits: Features by split, such as ``{"query": ..., "gallery": ..., "multi_query": ...}``.
        evaluator: Its name.
        query: The split of that name.
        gallery: Likewise.
        distance: What images are compared by; default: the evaluator's own.
        postprocess: Steps between features and ranking, in order, e.g. ``["k_reciprocal"]``.
        device: Where the evaluator may work, e.g. ``"cuda"``.
        catalog: Where components are looked up; default: what is installed.
        **params: Params of the evaluator.

    Returns:
        Metrics, protocol and card, per-query arrays, intervals.

    Raises:
        ReidError: A name or a param is wrong, a split is missing or not read, or the features
            cannot be scored.
    """
    if splits is not None and not isinstance(splits, Mapping):
        raise ReidError(
            "evaluate: the first argument is features by split, such as {'query': ...}, got "
            f"{type(splits).__name__}; an evaluator is named by evaluator='...'"
        )
    if "name" in params:
        raise ReidError("evaluate: name the evaluator by evaluator='...', not by name")
    named = {"query": query, "gallery": gallery}
    given = {**(splits or {}), **{n: f for n, f in named.items() if f is not None}}
    entry: dict[str, Any] = {"name": evaluator, "params": params}
    entry["postprocess"] = [_entry(step) for step in postprocess]
    if distance is not None:
        entry["distance"] = _entry(distance)
    problems: list[str] = []
    checked = validate(EvaluationEntry, entry, problems, catalog or load_catalog())
    if checked is None:
        raise ParamsError("evaluate", problems)
    built = build_evaluator(checked, device)
    if missing := [split for split in built.splits if split not in given]:
        raise ReidError(
            f"evaluate: '{built.name}' needs the split '{missing[0]}' (given: {name_list(given)})"
        )
    if unread := sorted(given.keys() - built.splits):
        raise ReidError(
            f"evaluate: '{built.name}' does not read the split '{unread[0]}' (it reads: "
            f"{name_list(built.splits)}); leave it out, or set the param that asks for it"
        )
    features = {split: _with_camids(given[split]) for split in built.splits}
    targets = [str(f.meta["dataset"]) for f in features.values() if "dataset" in f.meta]
    return built.score(features, (targets or ["given"])[0])


def distance_matrix(
    query: Vectors,
    gallery: Vectors,
    distance: Part = "cosine",
    *,
    output: str = "embedding",
    catalog: Catalog | None = None,
) -> npt.NDArray[np.float32]:
    """Return the distance of every query to every gallery image.

    Args:
        query: ``(Q, D)`` array or tensor, or ``Features``; not normalised.
        gallery: ``(G, D)``, likewise.
        distance: A distance by name, or ``{"name": ..., "params": {...}}``.
        output: Which vector of ``Features`` is compared.
        catalog: Where the distance is looked up; default: what is installed.

    Returns:
        ``(Q, G)`` float32.

    Raises:
        ReidError: The distance is unknown, reads a value or a column that the features lack, or
            the vectors cannot be compared.
    """
    from reid_evaluate.ranking.keys import compare, key_blocks

    built = named_distance(_entry(distance), catalog or load_catalog())
    images = [_images(given, output, built) for given in (query, gallery)]
    try:
        keyed = compare(images[0], images[1], distance=built.part)
        blocks = [keyed.keys.values(keys).numpy().copy() for _, keys in key_blocks(keyed, 1024)]
    except ValueError as error:
        raise ReidError(f"distance_matrix: {error}") from None
    return np.concatenate(blocks)


# ---- parts ------------------------------------------------------------------------------


def _entry(part: Part) -> dict[str, Any]:
    """Return a component as params have it."""
    return {"name": part} if isinstance(part, str) else dict(part)


def _with_camids(features: Features) -> Features:
    """Return features whose cameras are a column too."""
    return replace(features, columns={**features.columns, CAMID: features.camids})


def _images(given: Vectors, output: str, distance: NamedPart[Distance]) -> ImageSet:
    """Return vectors as images that can be compared.

    Raises:
        ReidError: The features lack the vector, or a value or a column that the distance reads.
    """
    from reid_evaluate.ranking.images import ImageSet

    aux = [f"{AUX}{name}" for name in distance.aux]
    if not isinstance(given, Features):
        if reads := [*aux, *distance.columns]:
            raise ReidError(
                f"distance_matrix: '{distance.name}' reads '{reads[0]}': give Features that have it"
            )
        count = len(given)
        none = np.zeros(count, dtype=bool)
        blank = np.full(count, "", dtype=np.str_)
        return ImageSet(given, blank, np.full(count, -1), blank, none, none)
    values, columns = given.values, _with_camids(given).columns
    for what, names, there in (
        ("output", [output, *aux], values),
        ("column", distance.columns, columns),
    ):
        if missing := [name for name in names if name not in there]:
            raise ReidError(
                f"the features have no {what} '{missing[0]}' (they have {name_list(there)})"
            )
    return ImageSet(
        features=values[output],
        pids=given.pids,
        camids=given.camids,
        names=given.names,
        junk=given.junk,
        distractor=given.distractor,
        aux={name: values[f"{AUX}{name}"] for name in distance.aux},
        columns={name: columns[name] for name in distance.columns},
    )

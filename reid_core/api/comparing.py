"""Scores and distances of vectors that are there already."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from reid_core.api.components import checked_params
from reid_core.catalog import Catalog
from reid_core.component import declared
from reid_core.contracts import Features, Scores
from reid_core.discovery import load_catalog
from reid_core.errors import ParamsError, ReidError, name_list
from reid_core.evaluation.build_evaluator import build_evaluator
from reid_core.params.messages import validate
from reid_core.params.schema import EvaluationEntry

if TYPE_CHECKING:
    from reid_evaluate.distances.comparison import Distance
    from reid_evaluate.ranking.images import ImageSet

Part = str | Mapping[str, Any]
"""A component by name, or ``{"name": ..., "params": {...}}``."""

Vectors = Any
"""``Features``, or an array or tensor ``(N, D)``."""

AUX = "aux."


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
        ReidError: A name or a param is wrong, a split is missing, or the features cannot be
            scored.
    """
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
    return built.score({split: given[split] for split in built.splits})


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
        ReidError: The distance is unknown, needs a value that the features lack, or the vectors
            cannot be compared.
    """
    from reid_evaluate.ranking.keys import compare, key_blocks

    part, aux = _distance(distance, catalog or load_catalog())
    images = [_images(given, output, aux) for given in (query, gallery)]
    try:
        keyed = compare(images[0], images[1], distance=part)
        blocks = [keyed.keys.values(keys).numpy().copy() for _, keys in key_blocks(keyed, 1024)]
    except ValueError as error:
        raise ReidError(f"distance_matrix: {error}") from None
    return np.concatenate(blocks)


# ---- parts ------------------------------------------------------------------------------


def _entry(part: Part) -> dict[str, Any]:
    """Return a component as params have it."""
    return {"name": part} if isinstance(part, str) else dict(part)


def _distance(part: Part, catalog: Catalog) -> tuple[Distance, tuple[str, ...]]:
    """Return a built distance and the values of heads that it reads."""
    entry = _entry(part)
    offer = catalog.offer("distance", entry["name"])
    params = checked_params(offer, entry.get("params", {}), catalog)
    reads = getattr(offer.component, "aux", ())
    return offer.build(params), declared(reads, params)


def _images(given: Vectors, output: str, aux: Sequence[str]) -> ImageSet:
    """Return vectors as images that can be compared.

    Raises:
        ReidError: The features lack the vector or a value.
    """
    from reid_evaluate.ranking.images import ImageSet

    if not isinstance(given, Features):
        if aux:
            raise ReidError(f"the distance reads '{aux[0]}': give Features with 'aux.{aux[0]}'")
        count = len(given)
        none = np.zeros(count, dtype=bool)
        blank = np.full(count, "", dtype=np.str_)
        return ImageSet(given, blank, np.full(count, -1), blank, none, none)
    values = given.values
    for name in (output, *(f"{AUX}{n}" for n in aux)):
        if name not in values:
            raise ReidError(f"the features have no '{name}' (they have {name_list(values)})")
    return ImageSet(
        features=values[output],
        pids=given.pids,
        camids=given.camids,
        names=given.names,
        junk=given.junk,
        distractor=given.distractor,
        aux={name: values[f"{AUX}{name}"] for name in aux},
    )

"""Build any component by its name."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from reid_core.catalog import Catalog, Offer
from reid_core.component import EvaluatorComponent, Params
from reid_core.contracts import NamedPart
from reid_core.discovery import load_catalog
from reid_core.errors import ParamsError, ReidError, did_you_mean, name_list
from reid_core.hookspecs import KINDS, build_keywords
from reid_core.params.entries import DistanceEntry
from reid_core.params.messages import validate

if TYPE_CHECKING:
    from reid_core.contracts import Distance

OF_ENTRIES = {"loss": ("on", "normalize")}
"""What an entry in params.json says beside the component's params, where it changes the result."""


def build(
    kind: str,
    name: str,
    /,
    *,
    context: Mapping[str, Any] | None = None,
    catalog: Catalog | None = None,
    **params: Any,
) -> Any:
    """Build a component by its name, e.g. ``build("loss", "center", dim=128, num_pids=10)``.

    Args:
        kind: E.g. ``"loss"``, ``"head"``, ``"sampler"``; ``reid plugins`` lists them.
        name: The component's word in params.json; ``"distribution:name"`` picks one of two.
        context: What the kind hands to ``build``, such as a head's ``in_channels``. It may be
            given as keywords too, unless a param has the same word.
        catalog: Where the component is looked up; default: what is installed.
        **params: The component's params, checked as those of params.json are.

    Returns:
        What the component builds. A loss is a ``LossByName``, called as
        ``loss(features, pids)`` with vectors ``(B, d)`` that are not normalised: it gives the
        number that a training gives. ``on`` and ``normalize`` change its input as an entry does.

    Raises:
        ReidError: The kind, the name or a keyword is unknown, a param is wrong, or a keyword
            that the component needs is missing.
    """
    if kind not in KINDS:
        raise ReidError(
            f"unknown kind '{kind}'{did_you_mean(kind, KINDS)} (known: {name_list(KINDS, 40)})"
        )
    installed = catalog or load_catalog()
    offer = installed.offer(kind, name)
    own, entry, given = _sorted(offer, params, dict(context or {}))
    checked = checked_params(offer, own, installed)
    if isinstance(offer.component, EvaluatorComponent):
        given = {**_default_distance(offer.component, installed), **given}
    built = offer.build(checked, **given)
    return _applied(offer, own, entry, built, installed) if kind == "loss" else built


def checked_params(offer: Offer, given: Mapping[str, Any], catalog: Catalog) -> Params:
    """Return a component's params from Python values; paths may be given as such.

    Raises:
        ParamsError: With all problems.
    """
    problems: list[str] = []
    source = f"params of {offer}"
    try:
        raw = json.loads(json.dumps(dict(given), default=os.fspath, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ParamsError(source, [f"must be values that JSON has: {error}"]) from None
    checked = validate(offer.component.params, raw, problems, catalog)
    if checked is None:
        raise ParamsError(source, problems)
    return checked


def _sorted(
    offer: Offer, keywords: dict[str, Any], context: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Tell the keywords apart: params, what stands beside them in an entry, and the context.

    Raises:
        ReidError: A keyword is none of them.
    """
    params: dict[str, Any] = {}
    entry: dict[str, Any] = {}
    fields, offered = offer.component.params.model_fields, build_keywords(offer.kind)
    beside = OF_ENTRIES.get(offer.kind, ())
    for word, value in keywords.items():
        if word in fields:
            params[word] = value
        elif word in beside:
            entry[word] = value
        else:
            context[word] = value
    if unknown := context.keys() - offered:
        word = min(unknown)
        raise ReidError(
            f"{offer} has no '{word}'{did_you_mean(word, [*fields, *beside, *offered])} (params: "
            f"{name_list(fields, 40)}; of every {offer.kind}: {name_list([*beside, *offered])})"
        )
    return params, entry, context


def named_distance(entry: Mapping[str, Any], catalog: Catalog) -> NamedPart[Distance]:
    """Build a distance from an entry as params have it; what it gives is looked at.

    Raises:
        ReidError: The entry is wrong, or the distance cannot be built.
    """
    from reid_core.evaluation.build_evaluator import built_distance

    problems: list[str] = []
    checked = validate(DistanceEntry, dict(entry), problems, catalog)
    if checked is None:
        raise ParamsError("distance", problems)
    return built_distance(checked)


def _default_distance(evaluator: EvaluatorComponent, catalog: Catalog) -> dict[str, Any]:
    """Return the distance that an evaluator compares by where none is named."""
    if evaluator.distance is None or not evaluator.takes("distance"):
        return {}
    return {"distance": named_distance({"name": evaluator.distance}, catalog)}


def _applied(
    offer: Offer, params: dict[str, Any], entry: dict[str, Any], built: Any, catalog: Catalog
) -> Any:
    """Return a built loss in the core's hands."""
    from reid_core.api.losses import LossByName
    from reid_core.params.schema import LossEntry

    problems: list[str] = []
    raw = json.loads(json.dumps({"params": params, **entry}, default=os.fspath))
    checked = validate(LossEntry, {"name": offer.qualified_name, **raw}, problems, catalog)
    if checked is None:
        raise ParamsError(str(offer), problems)
    return LossByName(checked, built)

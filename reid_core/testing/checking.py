"""Run every check of a component's kind, and say all that is wrong at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from reid_core.boundary import PluginError
from reid_core.catalog import Catalog, Offer
from reid_core.discovery import load_catalog
from reid_core.errors import ReidError, name_list
from reid_core.hookspecs import build_keywords
from reid_core.testing import (
    augmentations,
    backbones,
    callbacks,
    datasets,
    distances,
    evaluators,
    heads,
    loggers,
    losses,
    objectives,
    postprocesses,
    samplers,
    schedules,
    words,
)
from reid_core.testing.subject import Case, Subject

Check = Callable[[Subject], None]
"""Raises an AssertionError about a component that does not keep its contract."""

_OF_KINDS: Mapping[str, tuple[Check, ...]] = {
    "augmentation": augmentations.CHECKS,
    "backbone": backbones.CHECKS,
    "callback": callbacks.CHECKS,
    "dataset": datasets.CHECKS,
    "distance": distances.CHECKS,
    "evaluator": evaluators.CHECKS,
    "head": heads.CHECKS,
    "logger": loggers.CHECKS,
    "loss": losses.CHECKS,
    "objective": objectives.CHECKS,
    "postprocess": postprocesses.CHECKS,
    "sampler": samplers.CHECKS,
    "schedule": schedules.CHECKS,
}


def checks_of(kind: str) -> tuple[Check, ...]:
    """Return the checks of a kind: those of every component, then its own."""
    return (*words.CHECKS, *_OF_KINDS.get(kind, ()))


def check_component(
    kind: str,
    name: str,
    catalog: Catalog | None = None,
    params: Mapping[str, Any] | None = None,
    case: Case | Mapping[str, Any] | None = None,
) -> None:
    """Check that a component keeps the contract of its kind.

    Args:
        kind: E.g. ``"loss"``.
        name: The component's word.
        catalog: Where it is looked up, e.g. ``isolated_catalog(module)``; default: what is
            installed.
        params: Its params; required where it has required ones.
        case: What it needs that differs from what is usual, a ``Case`` or its fields.

    Raises:
        AssertionError: It breaks its contract; the text has one line per fault. Or it is not in
            the catalog because its plugin failed to load; the text says why.
        ReidError: There is no such component, or the params or the case are wrong.
    """
    found = catalog or load_catalog()
    chosen = case if isinstance(case, Case) else Case(**(case or {}))
    subject = Subject(_offer(kind, name, found), found, params or {}, chosen)
    assert subject.params is not None  # wrong params are a mistake of the call
    keywords = build_keywords(kind) if kind != "callback" else frozenset()
    if unknown := sorted(chosen.context.keys() - keywords):
        raise ReidError(
            f"the case of a {kind} has no context '{unknown[0]}' (known: {name_list(keywords)})"
        )
    failures, first, left_out = _failures(subject)
    if failures:
        if left_out:
            failures.append(f"  ({left_out} checks that need it were left out)")
        raise AssertionError("\n".join([f"{subject.offer}:", *failures])) from first


def _offer(kind: str, name: str, catalog: Catalog) -> Offer:
    """Return the offer of a name.

    Raises:
        AssertionError: It is not there, and a plugin failed to load; the text says why.
        ReidError: There is no such component.
    """
    try:
        return catalog.offer(kind, name)
    except ReidError as error:
        if catalog.offers_of(kind, name.rpartition(":")[2]) or not catalog.faults:
            raise
        lines = [f"{kind} '{name}' is not there:", *(f"  {fault}" for fault in catalog.faults)]
        raise AssertionError("\n".join(lines)) from error


def _failures(subject: Subject) -> tuple[list[str], Exception | None, int]:
    """Return a line per fault, the first exception, and how many checks were not worth a line.

    What fails to be built, or to be what it must be at all, is told once: when the first check of
    a kind meets a fault of the plugin, all others of the kind would only meet it again.
    """
    failures: list[str] = []
    told: set[str] = set()
    first: Exception | None = None
    repeated = 0
    own = _OF_KINDS.get(subject.offer.kind, ())
    checks = (*words.CHECKS, *own)
    for position, check in enumerate(checks):
        try:
            check(subject)
        except Exception as error:
            first = first or error
            text = _told(error)
            if text in told:
                repeated += 1
                continue
            told.add(text)
            failures.append(f"  {check.__name__.replace('_', ' ')}: {text}")
            if own and check is own[0] and isinstance(error, PluginError):
                return failures, first, len(checks) - position - 1
    return failures, first, repeated


def _told(error: Exception) -> str:
    """Return what went wrong, for the list of all that did."""
    is_worded = isinstance(error, AssertionError | ReidError)
    text = str(error).replace("\n", "\n    ")
    return text if is_worded else f"{type(error).__name__}: {text}"

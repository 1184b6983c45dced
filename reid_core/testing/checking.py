"""Run every check of a component's kind, and say all that is wrong at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from reid_core.catalog import Catalog
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
        AssertionError: It breaks its contract; the text has one line per check that failed.
        ReidError: There is no such component, or the params or the case are wrong.
    """
    found = catalog or load_catalog()
    chosen = case if isinstance(case, Case) else Case(**(case or {}))
    subject = Subject(found.offer(kind, name), found, params or {}, chosen)
    assert subject.params is not None  # wrong params are a mistake of the call
    keywords = build_keywords(kind) if kind != "callback" else frozenset()
    if unknown := sorted(chosen.context.keys() - keywords):
        raise ReidError(
            f"the case of a {kind} has no context '{unknown[0]}' (known: {name_list(keywords)})"
        )
    failures: list[str] = []
    first: Exception | None = None
    for check in checks_of(kind):
        try:
            check(subject)
        except Exception as error:
            first = first or error
            what = (
                "" if isinstance(error, AssertionError | ReidError) else f"{type(error).__name__}: "
            )
            text = str(error).replace("\n", "\n    ")
            failures.append(f"  {check.__name__.replace('_', ' ')}: {what}{text}")
    if failures:
        raise AssertionError("\n".join([f"{subject.offer}:", *failures])) from first

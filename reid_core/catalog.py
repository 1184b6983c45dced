"""Find plugins, keep their faults apart, and look components up by name."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, EntryPoint, distributions
from typing import Any

import pluggy

from reid_core import hookspecs
from reid_core.component import Component
from reid_core.errors import ReidError, did_you_mean, name_list
from reid_core.hookspecs import COMPONENT_TYPES, GROUP, KINDS

OFF_SWITCH = "REID_CORE_NO_THIRD_PARTY"
"""Environment variable: any value but "" and "0" keeps plugins of other distributions out."""

OUR_DISTRIBUTION = "reid-core"


@dataclass(frozen=True)
class Offer:
    """One component and the distribution that offers it."""

    kind: str
    component: Component
    distribution: str
    version: str


@dataclass(frozen=True)
class PluginFault:
    """A plugin that was left out, and why."""

    plugin: str
    distribution: str
    version: str
    cause: str

    def __str__(self) -> str:
        """Say which package is at fault and why, in one line."""
        return f"plugin '{self.plugin}' of {self.distribution} {self.version}: {self.cause}"


class Catalog:
    """Every component on offer, by kind and name, and every plugin that failed."""

    def __init__(self, offers: Iterable[Offer], faults: Iterable[PluginFault] = ()) -> None:
        """Index the offers; equal names are kept and refused only when one is used."""
        self.offers = sorted(offers, key=lambda o: (KINDS.index(o.kind), o.component.name))
        self.faults = list(faults)

    def names(self, kind: str) -> list[str]:
        """Return the names that a kind offers, sorted, each once."""
        return sorted({o.component.name for o in self.offers if o.kind == kind})

    def offer(self, kind: str, name: str) -> Offer:
        """Return the one offer of a name; ``"dist:name"`` picks between two.

        Raises:
            ReidError: No plugin offers the name, or more than one does.
        """
        distribution, _, bare = name.rpartition(":")
        found = [
            o
            for o in self.offers
            if o.kind == kind and o.component.name == bare and distribution in ("", o.distribution)
        ]
        if len(found) == 1:
            return found[0]
        if found:
            choices = " or ".join(f"'{o.distribution}:{bare}'" for o in found)
            raise ReidError(f"{kind} '{bare}' is offered more than once; write {choices}")
        failed = sorted({f"{f.distribution} {f.version}" for f in self.faults})
        hint = f"; plugins that failed to load: {', '.join(failed)} (reid plugins --errors)"
        raise ReidError(
            f"unknown {kind} '{name}'{did_you_mean(bare, self.names(kind))}"
            f" (known: {name_list(self.names(kind), 40)}){hint if failed else ''}"
        )

    def component(self, kind: str, name: str) -> Component:
        """Return the component of a name; see ``offer`` for the errors."""
        return self.offer(kind, name).component


def load_catalog(extra_plugins: Iterable[object] = ()) -> Catalog:
    """Load every installed plugin into a fresh catalog.

    Args:
        extra_plugins: Objects with hook implementations that are not installed.

    Returns:
        The catalog; a plugin that fails is listed in ``faults`` and left out.
    """
    offers: list[Offer] = []
    faults: list[PluginFault] = []
    for entry, dist in _plugin_entries(faults):
        offers += _load_entry(entry, dist, faults)
    for plugin in extra_plugins:
        offers += _collect(plugin, type(plugin).__name__, "local", "0", faults)
    return Catalog(offers, faults)


def isolated_catalog(*plugins: object) -> Catalog:
    """Make a catalog of the given plugins alone, for tests and notebooks."""
    faults: list[PluginFault] = []
    offers = [o for p in plugins for o in _collect(p, type(p).__name__, "local", "0", faults)]
    return Catalog(offers, faults)


def _plugin_entries(faults: list[PluginFault]) -> Iterator[tuple[EntryPoint, Distribution]]:
    """Yield the entry points of our group, each once; report equal names of two packages."""
    third_party = os.environ.get(OFF_SWITCH, "") in ("", "0")
    seen: dict[str, tuple[str, str]] = {}
    # Ours come first, so that nobody can take a built-in's entry point away.
    for dist in sorted(distributions(), key=lambda d: d.name != OUR_DISTRIBUTION):
        # Looking at the text first skips the costly parse for unrelated packages.
        if f"[{GROUP}]" not in (dist.read_text("entry_points.txt") or ""):
            continue
        if not third_party and dist.name != OUR_DISTRIBUTION:
            continue
        for entry in dist.entry_points.select(group=GROUP):
            first = seen.get(entry.name)
            if first is None:
                seen[entry.name] = (dist.name, entry.value)
                yield entry, dist
            elif first != (dist.name, entry.value):  # a clone's egg-info repeats its own
                cause = f"entry point '{entry.name}' is already declared by {first[0]}; rename it"
                faults.append(PluginFault(entry.name, dist.name, dist.version, cause))


def _load_entry(entry: EntryPoint, dist: Distribution, faults: list[PluginFault]) -> list[Offer]:
    """Import one plugin and collect its components."""
    try:
        plugin = entry.load()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a plugin may even call sys.exit while it is imported
        cause = f"cannot be imported: {type(error).__name__}: {error}"
        faults.append(PluginFault(entry.name, dist.name, dist.version, cause))
        return []
    return _collect(plugin, entry.name, dist.name, dist.version, faults)


def _collect(
    plugin: Any, name: str, distribution: str, version: str, faults: list[PluginFault]
) -> list[Offer]:
    """Register one plugin with a manager of its own and call its hooks."""
    try:
        manager = pluggy.PluginManager(GROUP)
        manager.add_hookspecs(hookspecs)
        manager.register(plugin, name=name)
        manager.check_pending()
        offers = [
            Offer(kind, _checked(kind, component), distribution, version)
            for kind in KINDS
            for components in getattr(manager.hook, f"reid_{kind}")()
            for component in components
        ]
        if not offers:
            raise TypeError("offers nothing; is @hookimpl missing?")
        return offers
    except Exception as error:
        if isinstance(error, pluggy.PluginValidationError):
            cause = _hook_mistake(str(error))
        else:
            cause = f"{type(error).__name__}: {error}"
        faults.append(PluginFault(name, distribution, version, cause))
        return []


def _checked(kind: str, component: object) -> Component:
    """Return the component if it is of the type that its kind declares."""
    expected = COMPONENT_TYPES.get(kind, Component)
    if not isinstance(component, expected):
        raise TypeError(f"reid_{kind} must return a list of {expected.__name__}, got {component!r}")
    return component


def _hook_mistake(text: str) -> str:
    """Add the nearest hook's name to pluggy's message about an unknown hook."""
    words = [w.strip("'\",.") for w in text.split()]
    hooks = [f"reid_{kind}" for kind in KINDS]
    wrong = [w for w in words if w.startswith("reid_") and w not in hooks]
    first_line = " ".join(text.split())
    return f"{first_line}{did_you_mean(wrong[0], hooks)}" if wrong else first_line

"""Find the installed plugins through their entry points, and keep their faults apart."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import Distribution, EntryPoint, distributions
from typing import Any

import pluggy

from reid_core import hookspecs
from reid_core.catalog import Catalog, Offer, PluginFault
from reid_core.component import Component, Params
from reid_core.declared_fields import field_fault
from reid_core.errors import did_you_mean, name_list
from reid_core.hookspecs import COMPONENT_TYPES, GROUP, KINDS

OFF_SWITCH = "REID_CORE_NO_THIRD_PARTY"
"""Environment variable: any value but "" and "0" keeps plugins of other distributions out."""

NAME = re.compile(r"\w[\w.+-]*")
"""What a component may be called: files and folders of runs have its name in theirs."""

OUR_DISTRIBUTION = "reid-core"


def load_catalog(extra_plugins: Iterable[object] = ()) -> Catalog:
    """Load every installed plugin into a fresh catalog.

    Args:
        extra_plugins: Objects with hook implementations that are not installed.

    Returns:
        The catalog; a plugin that fails is listed in ``faults`` and left out.
    """
    offers: list[Offer] = []
    faults: list[PluginFault] = []
    for package in _packages(faults):
        for entry in package.entries:
            offers += _load_entry(entry, package, faults)
    for plugin in extra_plugins:
        offers += _collect(plugin, type(plugin).__name__, "local", "0", faults)
    return Catalog(offers, faults)


def isolated_catalog(*plugins: object) -> Catalog:
    """Make a catalog of the given plugins alone, for tests and notebooks."""
    faults: list[PluginFault] = []
    offers = [o for p in plugins for o in _collect(p, type(p).__name__, "local", "0", faults)]
    return Catalog(offers, faults)


@dataclass(frozen=True)
class _Package:
    """A distribution that declares plugins."""

    name: str
    version: str
    entries: list[EntryPoint]
    is_installed: bool = True


def _packages(faults: list[PluginFault]) -> list[_Package]:
    """Return who declares plugins, each entry point once; report equal names of two packages."""
    third_party = os.environ.get(OFF_SWITCH, "") in ("", "0")
    found = [package for dist in distributions() if (package := _package(dist, faults))]
    # What a build has left in a clone may be older than what is installed.
    installed = {package.name for package in found if package.is_installed}
    first: dict[str, tuple[str, str]] = {}
    result = []
    # Ours come first, so that nobody can take a built-in's entry point away.
    for package in sorted(found, key=lambda p: p.name != OUR_DISTRIBUTION):
        if not third_party and package.name != OUR_DISTRIBUTION:
            continue
        if not package.is_installed and package.name in installed:
            continue
        entries = []
        for entry in package.entries:
            if entry.name not in first:
                first[entry.name] = (package.name, entry.value)
                entries.append(entry)
            elif first[entry.name] != (package.name, entry.value):
                cause = f"entry point '{entry.name}' is already declared by {first[entry.name][0]}"
                faults.append(_fault(entry.name, package, f"{cause}; rename it"))
        result.append(_Package(package.name, package.version, entries))
    return result


def _package(dist: Distribution, faults: list[PluginFault]) -> _Package | None:
    """Read one distribution's entry points of our group; None when it has none."""
    try:
        # Looking at the text first skips the costly parse for unrelated packages.
        if f"[{GROUP}]" not in (dist.read_text("entry_points.txt") or ""):
            return None
    except (OSError, UnicodeDecodeError):
        return None
    package = _Package("unknown", "unknown", [])
    try:
        # A damaged installation may have lost its name and version.
        is_installed = dist.read_text("RECORD") is not None
        package = _Package(dist.name or "unknown", dist.version or "unknown", [], is_installed)
        package.entries.extend(dist.entry_points.select(group=GROUP))
    except Exception as error:
        faults.append(_fault("entry_points.txt", package, f"cannot be read: {_text(error)}"))
    return package


def _load_entry(entry: EntryPoint, package: _Package, faults: list[PluginFault]) -> list[Offer]:
    """Import one plugin and collect its components."""
    try:
        plugin = entry.load()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a plugin may even call sys.exit while it is imported
        faults.append(_fault(entry.name, package, f"cannot be imported: {_text(error)}"))
        return []
    return _collect(plugin, entry.name, package.name, package.version, faults)


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
            for component in _listed(kind, components)
        ]
        if not offers:
            hooks = name_list(hook.name for hook in manager.get_hookcallers(plugin) or [])
            raise _Mistake(
                "offers nothing; is @hookimpl missing?"
                if hooks == "none"
                else f"offers nothing: {hooks} must return a list of components"
            )
        return offers
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # whatever a hook does, it is that plugin's fault alone
        if isinstance(error, pluggy.PluginValidationError):
            cause = _hook_mistake(str(error))
        else:
            cause = str(error) if isinstance(error, _Mistake) else _text(error)
        faults.append(PluginFault(name, distribution, version, cause))
        return []


class _Mistake(Exception):
    """A plugin does not keep to the contract; the text is the fault's whole cause."""


def _listed(kind: str, components: object) -> list[object]:
    """Return what a hook returned if it is a list."""
    if not isinstance(components, list | tuple):
        raise _Mistake(_wrong_return(kind, components))
    return list(components)


def _checked(kind: str, component: object) -> Component:
    """Return the component if it is what its kind declares and can be named, listed and built."""
    if not isinstance(component, COMPONENT_TYPES.get(kind, Component)):
        raise _Mistake(_wrong_return(kind, component))
    name: object = component.name
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise _Mistake(
            f"reid_{kind}: name must be a word of letters, digits, '_', '-', '+' and '.', without "
            f"':' and no '.' first, got {name!r}"
        )
    if fault := field_fault(COMPONENT_TYPES.get(kind, Component), component):
        raise _Mistake(f"{kind} '{name}': {fault}")
    if not (isinstance(component.params, type) and issubclass(component.params, Params)):
        raise _Mistake(
            f"{kind} '{name}': params must be a subclass of reid_core.Params, "
            f"got {component.params!r}"
        )
    if not inspect.signature(component.build).parameters:
        raise _Mistake(f"{kind} '{name}': build must take params, and takes nothing")
    return component


def _wrong_return(kind: str, got: object) -> str:
    expected = COMPONENT_TYPES.get(kind, Component).__name__
    return f"reid_{kind} must return a list of {expected}, got {' '.join(repr(got).split())}"


def _hook_mistake(text: str) -> str:
    """Word pluggy's message in one line; add the nearest hook's name when one is unknown."""
    line = " ".join(text.split())
    unknown = re.search(r"unknown hook '(\w+)'", line)
    if unknown is None:
        return line
    hooks = [f"reid_{kind}" for kind in KINDS]
    return f"{unknown[0]}{did_you_mean(unknown[1], hooks)} (hooks: {name_list(hooks)})"


def _fault(plugin: str, package: _Package, cause: str) -> PluginFault:
    return PluginFault(plugin, package.name, package.version, cause)


def _text(error: BaseException) -> str:
    """Return an exception's type and text in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"

"""Every component on offer, looked up by kind and name; ``discovery`` finds them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from reid_core.boundary import Origin, files_of
from reid_core.component import Component, Params, call_build
from reid_core.errors import ReidError, did_you_mean, name_list
from reid_core.hookspecs import KINDS, build_keywords


@dataclass(frozen=True)
class Offer:
    """One component and the distribution that offers it."""

    kind: str
    component: Component
    distribution: str
    version: str

    def __str__(self) -> str:
        """Name the component and its package, for messages."""
        return str(self.origin)

    @property
    def qualified_name(self) -> str:
        """Return the name that no other package can take, ``distribution:name``."""
        return f"{self.distribution}:{self.component.name}"

    @cached_property
    def origin(self) -> Origin:
        """Return where the component comes from, for the boundary around its calls."""
        files = files_of(self.component.build)
        return Origin(self.kind, self.component.name, self.distribution, self.version, files)

    def build(self, params: Params, **context: Any) -> Any:
        """Build the component with the context that its kind offers.

        Raises:
            ReidError: What it needs is not given, or it failed; the message names it.
        """
        offered = build_keywords(self.kind)
        with self.origin.calling("while it was built"):
            return call_build(self.component, params, str(self), offered, **context)


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

    def offers_of(self, kind: str, name: str) -> list[Offer]:
        """Return every offer of a name without distribution."""
        return [o for o in self.offers if o.kind == kind and o.component.name == name]

    def offer(self, kind: str, name: str) -> Offer:
        """Return the one offer of a name; ``"dist:name"`` picks between two.

        Raises:
            ReidError: No plugin offers the name, or more than one does.
        """
        distribution, _, bare = name.rpartition(":")
        found = [o for o in self.offers_of(kind, bare) if distribution in ("", o.distribution)]
        if len(found) == 1:
            return found[0]
        choices = sorted({f"'{o.distribution}:{bare}'" for o in found})
        if len(choices) > 1:
            choose = " or ".join(choices)
            raise ReidError(f"{kind} '{bare}' is offered more than once; write {choose}")
        if found:
            raise ReidError(f"{found[0]} is offered twice; the package must rename one of them")
        packages = {o.distribution for o in self.offers} | {f.distribution for f in self.faults}
        if distribution and distribution not in packages:
            raise ReidError(
                f"{kind} '{bare}' is of the package '{distribution}', which is not installed here; "
                f"install it, or choose another {kind}"
            )
        failed = sorted(
            {
                f"{f.distribution} {f.version}"
                for f in self.faults
                if distribution in ("", f.distribution)
            }
        )
        only = f" ({self.faults[0].cause})" if len(self.faults) == 1 else ""
        hint = f"; plugins that failed to load: {', '.join(failed)}{only} (reid plugins --errors)"
        raise ReidError(
            f"unknown {kind} '{name}'{did_you_mean(bare, self.names(kind))}"
            f" (known: {name_list(self.names(kind), 40)}){hint if failed else ''}"
        )

    def component(self, kind: str, name: str) -> Component:
        """Return the component of a name; see ``offer`` for the errors."""
        return self.offer(kind, name).component

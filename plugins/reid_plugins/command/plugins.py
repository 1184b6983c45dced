"""``reid plugins``: what every installed distribution offers, one component, what failed."""

from __future__ import annotations

import argparse
from collections.abc import Iterable

from reid_core import Component, Params, ReidError, hookimpl
from reid_core.catalog import Catalog, Offer
from reid_core.console import say
from reid_core.contracts import Command
from reid_core.errors import did_you_mean
from reid_core.hookspecs import KINDS


class PluginsCommand:
    """The subcommand; torch is not imported."""

    def __init__(self, catalog: Catalog) -> None:
        """Keep the catalog to list."""
        self.catalog = catalog

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument(
            "name", nargs="?", help="describe the components of this name instead of listing all"
        )
        parser.add_argument("--kind", choices=KINDS, help="only this kind")
        parser.add_argument(
            "--errors", action="store_true", help="only plugins that failed; status 1 if any did"
        )

    def run(self, args: argparse.Namespace) -> int:
        """Print the list or one component; with ``--errors`` the status says whether any failed.

        Raises:
            ReidError: No component has the name.
        """
        if args.errors and (args.name or args.kind):
            raise ReidError("--errors lists what failed to load, and no component; give it alone")
        if args.errors:
            for fault in self.catalog.faults:
                say(str(fault))
            if not self.catalog.faults:
                say("every plugin loads")
            return 1 if self.catalog.faults else 0
        offers = [o for o in self.catalog.offers if args.kind in (None, o.kind)]
        if args.name is not None:
            self._describe(args.name, offers)
            return 0
        _list(offers)
        if self.catalog.faults:
            number = len(self.catalog.faults)
            say(f"plugins that failed to load: {number}; see: reid plugins --errors")
        return 0

    def _describe(self, name: str, offers: Iterable[Offer]) -> None:
        """Print everything of the components of a name; ``dist:name`` means one distribution's."""
        from reid_plugins.command._component_page import page

        known = {o.component.name: o for o in offers}
        found = [o for o in offers if name in (o.component.name, o.qualified_name)]
        if not found:
            hint = did_you_mean(name.rpartition(":")[2], known)
            failed = "; see also: reid plugins --errors" if self.catalog.faults else ""
            raise ReidError(f"no component is called '{name}'{hint} (reid plugins){failed}")
        for number, offer in enumerate(found):
            if number:
                say()
            for line in page(offer):
                say(line)


def _list(offers: Iterable[Offer]) -> None:
    """Print one line per component, by distribution."""
    for distribution in sorted({(o.distribution, o.version) for o in offers}):
        say(" ".join(distribution))
        for offer in offers:
            if (offer.distribution, offer.version) == distribution:
                name = f"{offer.component.name:<23}"
                say(f"  {offer.kind:<13}{name} {offer.component.summary}")


def build(params: Params, *, catalog: Catalog) -> Command:
    """Return the subcommand."""
    return PluginsCommand(catalog)


@hookimpl
def reid_command() -> list[Component]:
    """Offer the subcommand."""
    summary = "List what every plugin offers, or describe one component"
    return [Component(name="plugins", build=build, summary=summary)]

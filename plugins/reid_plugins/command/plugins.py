"""``reid plugins``: what every installed distribution offers, and what failed to load."""

from __future__ import annotations

import argparse

from reid_core import Component, Params, hookimpl
from reid_core.catalog import Catalog
from reid_core.contracts import Command
from reid_core.hookspecs import KINDS


class PluginsCommand:
    """The subcommand."""

    def __init__(self, catalog: Catalog) -> None:
        """Keep the catalog to list."""
        self.catalog = catalog

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("--kind", choices=KINDS, help="only this kind")
        parser.add_argument(
            "--errors", action="store_true", help="only plugins that failed; status 1 if any did"
        )

    def run(self, args: argparse.Namespace) -> int:
        """Print the list; with ``--errors`` the status says whether there were any."""
        if args.errors:
            for fault in self.catalog.faults:
                print(fault)
            if not self.catalog.faults:
                print("every plugin loads")
            return 1 if self.catalog.faults else 0
        offers = [o for o in self.catalog.offers if args.kind in (None, o.kind)]
        for distribution in sorted({(o.distribution, o.version) for o in offers}):
            print(" ".join(distribution))
            for offer in offers:
                if (offer.distribution, offer.version) == distribution:
                    name = f"{offer.component.name:<23}"
                    print(f"  {offer.kind:<13}{name} {offer.component.summary}")
        if self.catalog.faults:
            number = len(self.catalog.faults)
            print(f"plugins that failed to load: {number}; see: reid plugins --errors")
        return 0


def build(params: Params, *, catalog: Catalog) -> Command:
    """Return the subcommand."""
    return PluginsCommand(catalog)


@hookimpl
def reid_command() -> list[Component]:
    """Offer the subcommand."""
    return [Component(name="plugins", build=build, summary="List what every plugin offers")]

"""``reid plugins``: what every installed distribution offers, and what failed to load."""

from __future__ import annotations

import argparse
from typing import Any

from reid_core import Component, Params, hookimpl
from reid_core.catalog import Catalog
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
        for distribution in sorted({(o.distribution, o.version) for o in self.catalog.offers}):
            print(" ".join(distribution))
            for offer in self.catalog.offers:
                if (offer.distribution, offer.version) == distribution and args.kind in (
                    None,
                    offer.kind,
                ):
                    print(f"  {offer.kind:<13}{offer.component.name:<24}{offer.component.summary}")
        if self.catalog.faults:
            print(f"{len(self.catalog.faults)} plugins failed to load; see: reid plugins --errors")
        return 0


def build(params: Params, *, catalog: Catalog) -> Any:
    """Return the subcommand."""
    return PluginsCommand(catalog)


@hookimpl
def reid_command() -> list[Component]:
    """Offer the subcommand."""
    return [Component(name="plugins", build=build, summary="list what every plugin offers")]

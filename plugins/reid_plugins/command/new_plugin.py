"""``reid new-plugin``: write a package with a component of one's own that works at once."""

from __future__ import annotations

import argparse
from pathlib import Path

from reid_core import Component, Params, hookimpl
from reid_core.catalog import Catalog
from reid_core.console import say
from reid_core.contracts import Command
from reid_plugins.command._new_plugin.package import (
    SIZES,
    check_name,
    distribution_of,
    kinds_with_templates,
    package_files,
    write_package,
)


class NewPluginCommand:
    """The subcommand; torch is not imported."""

    def __init__(self, catalog: Catalog) -> None:
        """Keep the catalog whose names are taken."""
        self.catalog = catalog

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("kind", choices=kinds_with_templates(), help="what to write")
        parser.add_argument("name", help="its word in params.json, a Python name such as my_loss")
        parser.add_argument(
            "--size",
            choices=SIZES,
            default="small",
            help="small: a few lines to begin with; full: params, docstrings, README",
        )
        parser.add_argument(
            "--out", type=Path, help="the new folder (default: reid-<name> where you are)"
        )

    def run(self, args: argparse.Namespace) -> None:
        """Write the package and say what to do with it.

        Raises:
            ReidError: The name is taken or no name, or the folder exists already.
        """
        check_name(args.kind, args.name, self.catalog)
        folder: Path = args.out or Path(distribution_of(args.name))
        texts = package_files(args.kind, args.name, args.size)
        write_package(folder, texts)
        say(f"{folder}: {', '.join(sorted(texts))}")
        say(f"install it with: pip install -e {folder}")
        say(f"then: reid plugins {args.name}; python -m pytest {folder}")


def build(params: Params, *, catalog: Catalog) -> Command:
    """Return the subcommand."""
    return NewPluginCommand(catalog)


@hookimpl
def reid_command() -> list[Component]:
    """Offer the subcommand."""
    summary = "Write a package with a plugin of your own, to begin with"
    return [Component(name="new-plugin", build=build, summary=summary)]

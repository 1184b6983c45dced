"""``reid schema``: the JSON Schema of params.json with everything installed."""

from __future__ import annotations

import argparse
import json

from reid_core import Component, Params, hookimpl
from reid_core.catalog import Catalog
from reid_core.contracts import Command
from reid_plugins.command._json_schema import eval_params_schema, run_params_schema


class SchemaCommand:
    """The subcommand."""

    def __init__(self, catalog: Catalog) -> None:
        """Keep the catalog whose components the schema describes."""
        self.catalog = catalog

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("--eval", action="store_true", help="of eval_params.json instead")

    def run(self, args: argparse.Namespace) -> None:
        """Print the schema."""
        schema = eval_params_schema if args.eval else run_params_schema
        print(json.dumps(schema(self.catalog), indent=2))


def build(params: Params, *, catalog: Catalog) -> Command:
    """Return the subcommand."""
    return SchemaCommand(catalog)


@hookimpl
def reid_command() -> list[Component]:
    """Offer the subcommand."""
    return [
        Component(name="schema", build=build, summary="Print the JSON Schema of the params files")
    ]

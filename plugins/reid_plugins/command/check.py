"""``reid check``: every problem of a params file, in well under a second."""

from __future__ import annotations

import argparse
from pathlib import Path

from reid_core import Component, Params, ReidError, hookimpl
from reid_core.catalog import Catalog
from reid_core.console import say
from reid_core.contracts import Command
from reid_core.params.json_file import parse_json
from reid_core.params.load import load_eval_params, load_run_params
from reid_core.params.purpose import purpose_of
from reid_core.params.schema import EvalParams
from reid_core.runs.place_checks import missing_places


class CheckCommand:
    """The subcommand; torch is not imported unless ``--model`` asks for the network."""

    def __init__(self, catalog: Catalog) -> None:
        """Keep the catalog whose components the params may name."""
        self.catalog = catalog

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("params", type=Path, help="params.json or eval_params.json")
        parser.add_argument(
            "--set", action="append", default=[], metavar="PATH=VALUE", help="override one param"
        )
        parser.add_argument(
            "--model",
            action="store_true",
            help="also build the training on shapes alone and try its parts on made-up input",
        )

    def run(self, args: argparse.Namespace) -> None:
        """Check and say what the file stands for."""
        raw = parse_json(args.params, [])  # loading reads it again and reports what is wrong
        if purpose_of(raw, self.catalog) == "eval":
            eval_params = load_eval_params(args.params, self.catalog, args.set, missing_places)
            if args.model:
                self._try(eval_params)
            say(f"{args.params}: right (eval_params)")
            return
        params = load_run_params(args.params, self.catalog, args.set, missing_places).params
        if args.model:
            from reid_core.runs.checks import check_without_data

            check_without_data(params, self.catalog)
        losses = " + ".join(f"{entry.weight:g} {entry.bare_name}" for entry in params.loss)
        heads = ", ".join(entry.bare_name for entry in params.head)
        used = ", ".join(f"{name} {version}" for name, version in params.plugins.items())
        say(f"{args.params}: right: {params.backbone.bare_name}, {heads}, {losses} ({used})")
        say(
            "data not read: columns, files and identities are checked by reid pack and at the start"
        )

    def _try(self, params: EvalParams) -> None:
        """Try the evaluators of eval params on made-up input.

        Raises:
            ReidError: There are none, or a plugin is wrong.
        """
        if not params.evaluation:
            raise ReidError(
                "--model: the file names no evaluators to try, those of the run are taken; leave "
                "it out"
            )
        from reid_core.evaluation.trials import try_evaluations

        try_evaluations(params.evaluation)


def build(params: Params, *, catalog: Catalog) -> Command:
    """Return the subcommand."""
    return CheckCommand(catalog)


@hookimpl
def reid_command() -> list[Component]:
    """Offer the subcommand."""
    return [
        Component(name="check", build=build, summary="Check a params file, all problems at once")
    ]

"""``reid evaluate``: score a run, a weights file alone, or saved features."""

from __future__ import annotations

import argparse
from pathlib import Path

from reid_core import Component, Params, hookimpl
from reid_core.catalog import Catalog
from reid_core.contracts import Command
from reid_core.params.load import load_eval_params

EXAMPLES = """\
examples:
  reid evaluate params/eval_run.json
  reid evaluate params/eval_run.json --set run=runs/second --set output_dir=runs/second/scores
an eval_params.json names a run, a weights file or features:
  {"run": "runs/first", "evaluation": [{"name": "market_evaluate"}]}
"""


class EvaluateCommand:
    """The subcommand."""

    def __init__(self, catalog: Catalog) -> None:
        """Keep the catalog that offers the components."""
        self.catalog = catalog

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the options."""
        parser.formatter_class = argparse.RawDescriptionHelpFormatter
        parser.epilog = EXAMPLES
        parser.add_argument("config_path", type=Path, help="eval_params.json")
        parser.add_argument(
            "--set",
            action="append",
            default=[],
            metavar="PATH=VALUE",
            help="override one param, e.g. --set weights=best.safetensors; may be repeated",
        )

    def run(self, args: argparse.Namespace) -> None:
        """Score and print."""
        params = load_eval_params(args.config_path, self.catalog, args.set)
        from reid_core.evaluation.evaluate_command import run_evaluation
        from reid_plugins.command._pictures import draw_evaluation

        run_evaluation(params, self.catalog, draw_evaluation)


def build(params: Params, *, catalog: Catalog) -> Command:
    """Return the subcommand."""
    return EvaluateCommand(catalog)


@hookimpl
def reid_command() -> list[Component]:
    """Offer the subcommand."""
    return [
        Component(
            name="evaluate", build=build, summary="Score a run, a weights file or saved features"
        )
    ]

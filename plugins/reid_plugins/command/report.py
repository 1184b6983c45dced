"""``reid report``: one HTML page about a run's evaluations, to read and to hand on."""

from __future__ import annotations

import argparse

from reid_core import Component, Params, hookimpl
from reid_core.catalog import Catalog
from reid_core.console import say
from reid_core.contracts import Command
from reid_core.files import user_path


class ReportCommand:
    """The subcommand; it reads saved scores and needs no model."""

    def __init__(self, catalog: Catalog) -> None:
        """Keep the catalog that the run's params are checked with."""
        self.catalog = catalog

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument(
            "run", metavar="RUN", help="directory of a run, or an output_dir of reid evaluate"
        )
        parser.add_argument(
            "--output", metavar="FILE", help="the page (default: report.html in RUN)"
        )
        parser.add_argument("--evaluation", metavar="NAME", help="only the evaluation of this name")
        parser.add_argument(
            "--kind",
            choices=("best", "last"),
            help="model of a run (default: the best if one has been scored)",
        )

    def run(self, args: argparse.Namespace) -> None:
        """Write the page.

        Raises:
            ReidError: Scores are missing or damaged, or the page cannot be written.
        """
        from reid_plugins.command._report.page import write_report

        path = write_report(
            user_path(args.run),
            self.catalog,
            user_path(args.output) if args.output else None,
            kind=args.kind,
            evaluation=args.evaluation,
        )
        say(f"report: {path}")


def build(params: Params, *, catalog: Catalog) -> Command:
    """Return the subcommand."""
    return ReportCommand(catalog)


@hookimpl
def reid_command() -> list[Component]:
    """Offer the subcommand."""
    return [Component(name="report", build=build, summary="Write a page about a run's scores")]

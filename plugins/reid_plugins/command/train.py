"""``reid train``: start a training, resume one, or evaluate what one has left."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from reid_core import Component, Params, ReidError, hookimpl
from reid_core.catalog import Catalog
from reid_core.console import say
from reid_core.contracts import Command
from reid_core.files import user_path
from reid_core.params.load import load_run_params
from reid_core.params.schema import EvalParams, RunParams
from reid_core.runs.one_process import is_one_of_several

if TYPE_CHECKING:
    from reid_core.runs.run import Run

OPERATIONS = ("start_train", "resume_train", "evaluate")


class TrainCommand:
    """The subcommand; heavy modules are imported only once the params are known to be right."""

    def __init__(self, catalog: Catalog) -> None:
        """Keep the catalog that offers the components."""
        self.catalog = catalog

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the options; the names are those of the predecessor."""
        parser.add_argument(
            "--operation",
            choices=OPERATIONS,
            default="start_train",
            help="start_train: new run; resume_train: continue one; evaluate: score its best",
        )
        parser.add_argument(
            "--config_path", type=Path, help="params file (default: params.json, or the run's own)"
        )
        parser.add_argument(
            "--sub_working_dir",
            default="",
            help="name of the run below working_dir (default: the time), or the path of a run",
        )
        parser.add_argument(
            "--set",
            action="append",
            default=[],
            metavar="PATH=VALUE",
            help="override one param, e.g. --set loss.0.params.margin=0.2; may be repeated",
        )

    def run(self, args: argparse.Namespace) -> int | None:
        """Do the operation.

        Returns:
            The exit status 2 of a process that is one of several and not the first; else None.

        Raises:
            ReidError: The params or the run directory are wrong.
        """
        if args.operation != "evaluate" and is_one_of_several(os.environ):
            return 2
        if args.operation == "start_train":
            loaded = load_run_params(
                args.config_path or Path("params.json"), self.catalog, args.set
            )
            from reid_core.runs.start_and_resume import start_train

            name, translation = args.sub_working_dir, loaded.translation
            start_train(loaded.params, self.catalog, name, translation, _show)
            return None
        path = self._run_path(args)
        if args.operation == "evaluate":
            self._evaluate(path, args.set)
            return None
        own = load_run_params(args.config_path or path / "params.json", self.catalog, args.set)
        from reid_core.runs.start_and_resume import resume_train

        resume_train(path, self.catalog, own.params, _show)
        return None

    def _evaluate(self, path: Path, overrides: list[str]) -> None:
        """Score a run's best weights by its own evaluations, on its own device."""
        run = load_run_params(path / "params.json", self.catalog, overrides).params
        params = EvalParams(
            run=str(path),
            targets=run.data.targets or None,
            evaluation=run.evaluation,
            extraction=run.extraction,
            batch_size=run.data.batch_size,
            workers=run.data.workers,
            device=run.device,
            output_dir=str(path / "evaluations"),
        )
        from reid_core.evaluation.evaluate_command import run_evaluation
        from reid_plugins.command._pictures import draw_evaluation

        run_evaluation(params, self.catalog, draw_evaluation)

    def _run_path(self, args: argparse.Namespace) -> Path:
        """Return the run's directory: a path, or a name below the params' working_dir."""
        name: str = args.sub_working_dir
        if not name:
            raise ReidError(
                f"--operation {args.operation} needs --sub_working_dir: the run's path or name"
            )
        working_dir = RunParams.model_fields["working_dir"].default
        if args.config_path is not None:
            working_dir = load_run_params(args.config_path, self.catalog).params.working_dir
        places = list(dict.fromkeys([user_path(name), user_path(working_dir) / name]))
        for path in places:
            if (path / "params.json").is_file():
                return path
        looked = " and ".join(str(path) for path in places)
        raise ReidError(f"no run directory: looked for params.json in {looked}")


def _show(run: Run) -> None:
    """Draw what a run that has ended leaves, and say what was reached."""
    from reid_core.runs.metrics_log import summary_lines
    from reid_plugins.command._pictures import draw_run

    draw_run(run)
    for line in summary_lines(run.directory.metrics):
        say(line)


def build(params: Params, *, catalog: Catalog) -> Command:
    """Return the subcommand."""
    return TrainCommand(catalog)


@hookimpl
def reid_command() -> list[Component]:
    """Offer the subcommand."""
    return [Component(name="train", build=build, summary="Train a model from a params file")]

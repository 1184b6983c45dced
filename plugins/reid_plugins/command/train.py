"""``reid train``: start a training, resume one, or evaluate what one has left."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from reid_core import Component, Params, ReidError, hookimpl
from reid_core.catalog import Catalog
from reid_core.console import say
from reid_core.contracts import Command
from reid_core.files import user_path
from reid_core.nearby import nearby
from reid_core.params.load import load_run_params
from reid_core.params.overrides import apply_overrides
from reid_core.params.schema import RunParams
from reid_core.runs.one_process import is_one_of_several

if TYPE_CHECKING:
    from reid_core.runs.run import Run

DEFAULT = Path("params.json")
"""The params file of a training that names none, if it is there."""

EXAMPLES = """\
examples:
  reid train params/quickstart.json --sub_working_dir first
  reid train --config_path params/quickstart.json --set train.epochs=12
  reid train --operation resume_train --sub_working_dir runs/first
  reid train --operation evaluate --sub_working_dir runs/first
"""

OPERATIONS = ("start_train", "resume_train", "evaluate")


class TrainCommand:
    """The subcommand; heavy modules are imported only once the params are known to be right."""

    def __init__(self, catalog: Catalog) -> None:
        """Keep the catalog that offers the components."""
        self.catalog = catalog

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the options; the names are those of the predecessor."""
        self.help = parser.format_help
        parser.formatter_class = argparse.RawDescriptionHelpFormatter
        parser.epilog = EXAMPLES
        parser.add_argument(
            "params", type=Path, nargs="?", help="params file, the same as --config_path"
        )
        parser.add_argument(
            "--operation",
            choices=OPERATIONS,
            default="start_train",
            help="start_train: new run; resume_train: continue one; evaluate: score its best",
        )
        parser.add_argument(
            "--config_path",
            type=Path,
            help="params file (default: params.json, or the run's own); with evaluate its data, "
            "evaluation, extraction and device are taken",
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

    def run(self, args: argparse.Namespace) -> int:
        """Do the operation.

        Returns:
            The exit status: 2 of a process that is one of several and not the first, and where
            nothing says what to train.

        Raises:
            ReidError: The params or the run directory are wrong.
        """
        if args.operation != "evaluate" and is_one_of_several(os.environ):
            return 2
        config = _config_path(args)
        if args.operation != "start_train":
            self._go_on(config, args)
        elif config is None and not args.set and not DEFAULT.exists():
            print(self.help(), file=sys.stderr)
            return 2
        else:
            self._start(config or DEFAULT, args)
        return 0

    def _start(self, config: Path, args: argparse.Namespace) -> None:
        """Train in a new run directory."""
        loaded = load_run_params(config, self.catalog, args.set)
        from reid_core.runs.start_and_resume import start_train

        name, translation = args.sub_working_dir, loaded.translation
        start_train(loaded.params, self.catalog, name, translation, _show)

    def _go_on(self, config: Path | None, args: argparse.Namespace) -> None:
        """Continue or score a run that is there, by its own params or by those of a file."""
        given: RunParams | None = None
        if config is not None:
            given = load_run_params(config, self.catalog, args.set).params
        path = _run_path(args, given)
        own = load_run_params(path / "params.json", self.catalog, [] if given else args.set).params
        if args.operation == "resume_train":
            from reid_core.runs.start_and_resume import resume_train

            resume_train(path, self.catalog, given or own, _show)
            return
        from reid_core.evaluation.evaluate_command import run_evaluation
        from reid_plugins.command import _evaluate_run as scoring
        from reid_plugins.command._pictures import draw_evaluation

        scoring.check_overrides(args.set, given or own)
        if given is not None and config is not None:
            scoring.check_same_network(config, given, own, path)
        run_evaluation(scoring.eval_params_of(given or own, path), self.catalog, draw_evaluation)


def _config_path(args: argparse.Namespace) -> Path | None:
    """Return the params file that is named, if one is.

    Raises:
        ReidError: Two are.
    """
    given: list[Path] = [path for path in (args.params, args.config_path) if path is not None]
    if len(given) == 2:
        raise ReidError(f"two params files are given, {given[0]} and {given[1]}; name one")
    return given[0] if given else None


def _run_path(args: argparse.Namespace, given: RunParams | None) -> Path:
    """Return the run's directory: a path, or a name below the params' working_dir.

    Raises:
        ReidError: No run is named, or there is none.
    """
    name: str = args.sub_working_dir
    if not name:
        raise ReidError(
            f"--operation {args.operation} needs --sub_working_dir: the run's path or name"
        )
    if given is not None:
        working_dir = given.working_dir
    else:
        set_here = [o for o in args.set if o.startswith("working_dir=")]
        default = {"working_dir": RunParams.model_fields["working_dir"].default}
        working_dir = str(apply_overrides(default, set_here, "train")["working_dir"])
    places = list(dict.fromkeys([user_path(name), user_path(working_dir) / name]))
    for path in places:
        if (path / "params.json").is_file():
            return path
    looked = " and ".join(str(path) for path in places)
    meant = next((hint for path in places if "mean" in (hint := nearby(path))), "")
    raise ReidError(f"no run directory: looked for params.json in {looked}{meant}")


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

"""What ``reid train --operation evaluate`` scores a run by: its own params, or those of a file."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from reid_core import ReidError
from reid_core.console import say
from reid_core.evaluation.targets import target_entries
from reid_core.params.json_file import read_json
from reid_core.params.schema import EvalParams, ModelParams, RunParams
from reid_core.run_directory import RunDirectory

READ = ("evaluation", "extraction", "compute", "train.device", "working_dir")
"""Places of a params file that scoring a run reads, beside those of its data."""

DATA_READ = ("data.batch_size", "data.workers")


def check_overrides(overrides: Sequence[str], params: RunParams) -> None:
    """Refuse a ``--set`` on what a score does not depend on.

    Args:
        overrides: ``path=value`` strings.
        params: With the overrides applied.

    Raises:
        ReidError: It names each of them.
    """
    data = "data.targets" if params.data.targets else "data.train"
    read = (*READ, *DATA_READ, data)
    keys = [override.partition("=")[0] for override in overrides]
    unread = [key for key in keys if not any(f"{key}.".startswith(f"{r}.") for r in read)]
    if unread:
        raise ReidError(
            f"--set {', '.join(unread)}: has no effect on the scores of a run that is trained; "
            f"leave it out (scoring reads {', '.join(read)})"
        )


def check_same_network(file: Path, given: RunParams, run: RunParams, path: Path) -> None:
    """Refuse a params file that describes another network than the run's.

    Args:
        file: The params file.
        given: Its params.
        run: Those of the run.
        path: The run's directory.

    Raises:
        ReidError: It names the sections that differ.
    """
    differing = [
        name for name in ModelParams.model_fields if getattr(given, name) != getattr(run, name)
    ]
    if differing:
        raise ReidError(
            f"{file}: {', '.join(differing)}: not as in {path / 'params.json'}; a run is scored "
            "with the network that it trained. Give the file of that run, or score it by other "
            f'evaluators and data with an eval_params.json, {{"run": "{path}", "evaluation": '
            "[...]}, and: reid evaluate eval_params.json"
        )
    say(
        f"{shlex.quote(str(file))}: its data, evaluation, extraction, device and working_dir are "
        "taken; of its training nothing is read"
    )


def eval_params_of(run: RunParams, path: Path) -> EvalParams:
    """Return what scores the best weights of the run at ``path`` by some params.

    Args:
        run: Whose evaluators, data, averaging and device are taken.
        path: The run's directory.
    """
    recorded = read_json(RunDirectory(path).params).get("working_dir")
    targets = target_entries(run)
    first = next(iter(targets))
    scored = {entry.target or first for entry in run.evaluation}
    return EvalParams(
        run=str(path),
        targets={name: entry for name, entry in targets.items() if name in scored},
        evaluation=run.evaluation,
        extraction=run.extraction,
        batch_size=run.data.batch_size,
        workers=run.data.workers,
        device=run.device,
        # Unless another one is asked for, the run's is found, also where the run was moved.
        working_dir=None if run.working_dir == recorded else run.working_dir,
        output_dir=str(path / "evaluations"),
    )

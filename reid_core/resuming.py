"""What may change when a run is continued: only what cannot alter its past."""

from __future__ import annotations

from dataclasses import replace
from itertools import zip_longest
from typing import Any

from reid_core.catalog import Catalog
from reid_core.checkpoint import read_checkpoint
from reid_core.contracts import Progress
from reid_core.errors import ParamsError
from reid_core.params import build
from reid_core.run_directory import RunDirectory
from reid_core.schema import RunParams

FREE = (
    "data.workers",
    "data.batch_size",
    "train.log_every",
    "train.checkpoint_every_steps",
    "train.evaluate_every",
    "train.device",
    "train.baselines",
    "train.epochs",
    "plugins",
)
"""Params that may differ; ``train.epochs`` and the schedule are looked at more closely."""


def check_same_past(
    directory: RunDirectory, before: dict[str, Any], params: RunParams, catalog: Catalog
) -> None:
    """Compare the params of a run with those that are to continue it.

    Raises:
        ParamsError: A changed param would alter what was trained already.
    """
    changed = list(_differences(before, params.model_dump(mode="json")))
    problems = [
        f"{path}: was {old!r}, is {new!r}; a resumed run keeps it (start a new run to change it)"
        for path, old, new in changed
        if not path.startswith(FREE) and not path.startswith("schedule.")
    ]
    if directory.checkpoint.is_file() and not problems:
        old_params = RunParams.model_validate(before)
        problems += _schedule_problems(directory, old_params, params, catalog)
    if problems:
        raise ParamsError(str(directory.path), problems)


def _differences(before: Any, after: Any, path: str = "") -> Any:
    """Yield (path, old, new) of every value that differs."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in dict.fromkeys([*before, *after]):
            inner = f"{path}.{key}" if path else key
            yield from _differences(before.get(key), after.get(key), inner)
    elif isinstance(before, list) and isinstance(after, list):
        for position, (old, new) in enumerate(zip_longest(before, after)):
            yield from _differences(old, new, f"{path}.{position}")
    elif before != after:
        yield path, before, after


def _schedule_problems(
    directory: RunDirectory, before: RunParams, after: RunParams, catalog: Catalog
) -> list[str]:
    """Schedules are pure functions: compare them on every step that is done."""
    checkpoint = read_checkpoint(directory.checkpoint)
    state, steps = checkpoint["state"], checkpoint["steps_per_epoch"]
    done, epoch = state["step"], state["epoch"]
    begun = epoch + (state["position"] > 0)
    if after.train.epochs < begun:
        return [f"train.epochs: {after.train.epochs}, but {begun} epochs are trained or begun"]
    if (before.schedule, before.train.epochs) == (after.schedule, after.train.epochs) or not done:
        return []
    old, new = (build(catalog, "schedule", p.schedule) for p in (before, after))
    start = Progress(0, before.train.epochs, 0, steps, seed=before.train.seed)
    for step in range(done):
        was = replace(start, epoch=step // steps, step=step)
        history = [(e, s) for e, s in state["history"] if e <= was.epoch]
        if old(was, history) != new(replace(was, epochs=after.train.epochs), history):
            return [
                f"schedule: with the changed params the rate of step {step}, which is done, would "
                "have been another; keep 'schedule' and 'train.epochs', or start a new run"
            ]
    return []

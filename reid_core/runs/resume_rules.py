"""What may change when a run is continued: only what cannot alter its past."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from itertools import zip_longest
from typing import Any

from reid_core.catalog import Catalog
from reid_core.contracts import Progress
from reid_core.errors import ParamsError
from reid_core.files import user_path
from reid_core.params.entries import ScheduleEntry
from reid_core.params.field_facts import path_places, resumable
from reid_core.params.messages import read_params, validate
from reid_core.params.schema import RunParams
from reid_core.run_directory import RunDirectory
from reid_core.runs.checkpoint import read_checkpoint
from reid_core.runs.record_file import check_record


def check_same_past(
    directory: RunDirectory, before: dict[str, Any], params: RunParams, catalog: Catalog
) -> None:
    """Compare the params of a run with those that are to continue it.

    Raises:
        ParamsError: A changed param would alter what was trained already.
        ReidError: The checkpoint is damaged, or lines of the record that belong to it are lost.
    """
    # By their form alone: what is free to change may name plugins that are gone. Sections that did
    # not exist when the run began are at their defaults.
    filled = read_params(RunParams, before)
    changed = _differences(filled.model_dump(mode="json"), params.model_dump(mode="json"))
    checkpoint = read_checkpoint(directory.checkpoint) if directory.checkpoint.is_file() else None
    if checkpoint is not None:
        check_record(directory.metrics, checkpoint["log_bytes"])
    scored = checkpoint is not None and bool(checkpoint["state"]["history"])
    free = [
        *resumable(RunParams, "free"),
        *(() if scored else resumable(RunParams, "until_scored")),
    ]
    problems = [
        f"{path}: was {old!r}, is {new!r}; a resumed run keeps it (start a new run to change it)"
        for path, old, new in changed
        if not any(fnmatchcase(path, glob) or fnmatchcase(path, f"{glob}.*") for glob in free)
        and not _may_move(params, path, old)
    ]
    if checkpoint is not None and not problems:
        problems += _schedule_problems(checkpoint, filled, params, catalog)
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


def _may_move(params: RunParams, path: str, old: Any) -> bool:
    """Tell whether a changed param names what may lie elsewhere now.

    Of data the content is compared. Another file may be looked for elsewhere only if it is not
    where it was; whoever reads it knows whether it is the same.
    """
    sections = {name: getattr(params, name) for name in type(params).model_fields}
    places = [place for name, value in sections.items() for place in path_places(value, name)]
    if not any(f"{path}.".startswith(f"{place}.") for place in places):
        return False
    is_gone = isinstance(old, str) and not os.path.exists(user_path(old))
    return is_gone or path.startswith("data.")


def _schedule_problems(
    checkpoint: Mapping[str, Any], before: RunParams, after: RunParams, catalog: Catalog
) -> list[str]:
    """Schedules are pure functions: compare them on every step that is done."""
    state, steps = checkpoint["state"], checkpoint["steps_per_epoch"]
    done, epoch = state["step"], state["epoch"]
    begun = epoch + (state["position"] > 0)
    if after.train.epochs < begun:
        return [f"train.epochs: {after.train.epochs}, but {begun} epochs are trained or begun"]
    problems: list[str] = []
    entry = validate(ScheduleEntry, before.schedule.model_dump(mode="json"), problems, catalog)
    if entry is None:
        return [f"schedule: that of the run cannot be compared: {'; '.join(problems)}"]
    if (entry, before.train.epochs) == (after.schedule, after.train.epochs) or not done:
        return []
    old, new = entry.build(), after.schedule.build()
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

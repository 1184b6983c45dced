"""The foot of a report: what repeats the training, from the run's own record of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reid_core.errors import ReidError
from reid_core.params.json_file import read_json
from reid_core.run_directory import RunDirectory
from reid_plugins.command._report.markup import Markup, element

_VERSIONS = ("reid_core", "python", "torch", "torchvision", "numpy", "pillow")


def foot(run: Path) -> Markup:
    """Return seed, commit, command, versions and params of a run, as far as they are recorded.

    Args:
        run: The directory that scores were collected from; one of ``reid evaluate`` has no record.
    """
    directory = RunDirectory(run)
    params, environment = _record(directory.params), _record(directory.environment)
    facts = {**_of_params(params), **_of_environment(environment)}
    entries = [
        element("div", element("dt", name), element("dd", text)) for name, text in facts.items()
    ]
    return element(
        "footer",
        *([element("dl", *entries, class_="card")] if entries else []),
        *([_whole(params)] if isinstance(params, Mapping) else []),
        element("p", "Made from saved scores by reid report."),
    )


def _record(path: Path) -> Any:
    """Return what a file records; None: there is none; a text: why it cannot be read."""
    if not path.is_file():
        return None
    try:
        return read_json(path)
    except ReidError as error:
        return str(error)


def _of_params(params: Any) -> dict[str, str]:
    if isinstance(params, str):
        return {"params": params}
    training = params.get("train") if isinstance(params, Mapping) else None
    seed = training.get("seed") if isinstance(training, Mapping) else None
    return {} if seed is None else {"seed": json.dumps(seed)}


def _of_environment(record: Any) -> dict[str, str]:
    """Return what a run depends on beside its params, in words; of a resumed one, each command."""
    if not isinstance(record, Mapping):
        return {"environment": record} if isinstance(record, str) else {}
    starts = record.get("starts")
    given = [s for s in starts if isinstance(s, Mapping)] if isinstance(starts, list) else []
    facts: dict[str, list[str]] = {}
    for start in given:
        for name, text in _of_start(start).items():
            if text not in facts.setdefault(name, []):
                facts[name].append(text)
    return {name: "; then ".join(texts) for name, texts in facts.items()}


def _of_start(start: Mapping[str, Any]) -> dict[str, str]:
    """Return commit, command, device and versions of one start."""
    facts = {}
    if isinstance(git := start.get("git"), Mapping):
        changed = git.get("changed_files") or 0
        files = "1 changed file" if changed == 1 else f"{changed} changed files"
        facts["commit"] = f"{git.get('commit')}" + (f", and {files}" if changed else "")
    if isinstance(command := start.get("command"), str):
        facts["command"] = command
    if device := start.get("device"):
        facts["device"] = f"{device} ({start.get('device_name')})"
    if versions := [f"{name} {start[name]}" for name in _VERSIONS if name in start]:
        facts["versions"] = ", ".join(versions)
    return facts


def _whole(params: Mapping[str, Any]) -> Markup:
    """Return the resolved params, folded."""
    text = json.dumps(params, indent=2, ensure_ascii=False)
    return element("details", element("summary", "params.json"), element("pre", text))

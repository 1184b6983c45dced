"""Read a params file: every problem of the file in one run, each with its path."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

from reid_core.catalog import Catalog
from reid_core.component import AugmentationComponent, call_build
from reid_core.errors import ParamsError, ReidError, did_you_mean
from reid_core.problems import Model, Place, dotted, validate
from reid_core.schema import (
    OPTIMIZERS,
    DatasetEntry,
    Entry,
    EvalParams,
    ModelParams,
    RunParams,
)

Raw = dict[str, Any]

SECTION_KINDS: dict[str, str] = {
    "backbone": "backbone",
    "sampler": "sampler",
    "schedule": "schedule",
    "head": "head",
    "loss": "loss",
    "objective": "objective",
    "augmentation": "augmentation",
    "evaluation": "evaluator",
}
"""Sections that name components (one entry, or a list of them) and their kinds."""


# ---- the text ---------------------------------------------------------------------------


def read_json(path: Path) -> Raw:
    """Read a JSON object; refuse duplicate keys, NaN and infinities.

    Raises:
        ReidError: The file is missing, not JSON or not an object.
        ParamsError: It has duplicate keys or numbers that JSON does not have.
    """
    problems: list[str] = []

    def pairs(items: list[tuple[str, Any]]) -> Raw:
        keys = [key for key, _ in items]
        twice = sorted({key for key in keys if keys.count(key) > 1})
        problems.extend(f"key '{key}' is given twice" for key in twice)
        return dict(items)

    def constant(word: str) -> None:
        problems.append(f"{word} is not a JSON number; write a finite number")

    try:
        raw = json.loads(
            path.read_text(encoding="utf-8"), object_pairs_hook=pairs, parse_constant=constant
        )
    except FileNotFoundError:
        raise ReidError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ReidError(f"{path}: cannot be read: {error}") from None
    except json.JSONDecodeError as error:
        raise ReidError(
            f"{path}: not valid JSON: {error.msg} (line {error.lineno}, column {error.colno})"
        ) from None
    if not isinstance(raw, dict):
        raise ReidError(f"{path}: expected a JSON object {{...}}, got {type(raw).__name__}")
    if problems:
        raise ParamsError(str(path), problems)
    return raw


def apply_overrides(raw: Raw, overrides: Sequence[str], source: str) -> Raw:
    """Return a copy of the params with ``a.b.0.c=value`` overrides applied.

    The value is read as JSON; what is not JSON is taken as a string.

    Raises:
        ParamsError: An override has no '=' or its path does not fit the params.
    """
    result = json.loads(json.dumps(raw))
    problems = []
    for override in overrides:
        path, equals, text = override.partition("=")
        try:
            if not equals:
                raise LookupError("expected path=value")
            _assign(result, path.split("."), _json_or_text(text))
        except (LookupError, ValueError, TypeError) as error:
            problems.append(f"--set {override}: {error.args[0] if error.args else error}")
    if problems:
        raise ParamsError(source, problems)
    return cast(Raw, result)


def _json_or_text(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _assign(node: Any, keys: Sequence[str], value: Any) -> None:
    """Set one value deep in the params, making objects on the way where there are none."""
    for position, key in enumerate(keys):
        last = position == len(keys) - 1
        if isinstance(node, list):
            if not key.isdigit() or int(key) > len(node) - (0 if last else 1):
                raise LookupError(f"'{key}' is no position in a list of {len(node)}")
            if int(key) == len(node):
                node.append(value)
                return
            if last:
                node[int(key)] = value
            else:
                node = node[int(key)]
        elif isinstance(node, dict):
            if last:
                node[key] = value
            else:
                node = node.setdefault(key, {})
        else:
            raise LookupError(f"'{'.'.join(keys[:position])}' is not an object or a list")


# ---- checking ---------------------------------------------------------------------------


def check_run_params(raw: Raw, catalog: Catalog, source: str) -> RunParams:
    """Check the params of a run and fill in every default.

    Args:
        raw: The JSON object; it is not changed.
        catalog: Whose components it may name.
        source: Name for messages, usually the file's path.

    Returns:
        The params, each component's own defaults filled in.

    Raises:
        ParamsError: With all problems found.
    """
    params = _checked(RunParams, raw, catalog, source)
    if problems := list(_cross_checks(params, catalog)):
        raise ParamsError(source, problems)
    return params.model_copy(update={"plugins": _versions(raw, catalog)})


def check_model_params(raw: Raw, catalog: Catalog, source: str) -> ModelParams:
    """Check the sections of a weights file that make the network, and no others."""
    sections = {key: raw[key] for key in ModelParams.model_fields if key in raw}
    return _checked(ModelParams, sections, catalog, source)


def check_eval_params(raw: Raw, catalog: Catalog, source: str) -> EvalParams:
    """Check the params of an evaluation; see ``check_run_params``."""
    return _checked(EvalParams, raw, catalog, source)


def _checked(model: type[Model], raw: Raw, catalog: Catalog, source: str) -> Model:
    """Check the sections and every component that they name; fill in all defaults."""
    problems: list[str] = []
    params = validate(model, raw, (), problems)
    resolved = dict(raw)
    for place, kind, entry in _entries(raw):
        _replace(resolved, place, _check_entry(place, kind, entry, catalog, problems))
    if params is None or problems:
        raise ParamsError(source, problems)
    return model.model_validate(resolved)


def check_dataset_entry(raw: Raw, catalog: Catalog, source: str) -> DatasetEntry:
    """Check one dataset entry that stands alone, as ``reid pack --dataset`` makes it."""
    problems: list[str] = []
    filled = _check_entry((), "dataset", raw, catalog, problems)
    entry = validate(DatasetEntry, filled, (), problems)
    if entry is None or problems:
        raise ParamsError(source, problems)
    return entry


def build(catalog: Catalog, kind: str, entry: Entry, **context: Any) -> Any:
    """Build the component that an entry names, with the context that its kind offers."""
    component = catalog.component(kind, entry.name)
    return call_build(component, component.params.model_validate(entry.params), **context)


def _entries(raw: Raw) -> Iterator[tuple[Place, str, Any]]:
    """Yield (place, kind, entry) of everything in the params that names a component."""
    for section, kind in SECTION_KINDS.items():
        value = raw.get(section)
        if isinstance(value, list):
            yield from (((section, i), kind, entry) for i, entry in enumerate(value))
        elif value is not None:
            yield (section,), kind, value
    data = raw.get("data")
    if isinstance(data, dict) and isinstance(data.get("train"), list):
        yield from ((("data", "train", i), "dataset", e) for i, e in enumerate(data["train"]))
    # params.json has its targets under data, eval_params.json at the top.
    for place, holder in ((("data",), data), ((), raw)):
        if isinstance(holder, dict) and isinstance(holder.get("targets"), dict):
            yield from (
                ((*place, "targets", key), "dataset", entry)
                for key, entry in holder["targets"].items()
            )
    if isinstance(raw.get("optimizer"), dict):
        yield ("optimizer",), "optimizer", raw["optimizer"]


def _check_entry(place: Place, kind: str, entry: Any, catalog: Catalog, problems: list[str]) -> Any:
    """Check one component's params; return the entry with its defaults filled in."""
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
        return entry  # the section's own model has reported it
    if kind == "optimizer":
        model = OPTIMIZERS.get(entry["name"])
    else:
        try:
            model = catalog.component(kind, entry["name"]).params
        except ReidError as error:
            problems.append(f"{dotted((*place, 'name'))}: {error}")
            return entry
    given = entry.get("params", {})
    if model is None or not isinstance(given, dict):
        return entry
    checked = validate(model, given, (*place, "params"), problems)
    return entry if checked is None else {**entry, "params": checked.model_dump(mode="json")}


def _replace(root: Any, place: Place, value: Any) -> None:
    """Put a value at a place, copying the containers on the way."""
    head, *rest = place
    if rest:
        root[head] = type(root[head])(root[head])
        _replace(root[head], tuple(rest), value)
    else:
        root[head] = value


def _cross_checks(params: RunParams, catalog: Catalog) -> Iterator[str]:
    """Yield problems between sections that are each right on their own."""
    labels = [entry.label for entry in params.data.train]
    for label in sorted({label for label in labels if labels.count(label) > 1}):
        yield f"data.train: two datasets are called '{label}'; give each its own 'alias'"
    targets = list(params.data.targets) or labels
    for i, evaluation in enumerate(params.evaluation):
        if evaluation.target is not None and evaluation.target not in targets:
            hint = did_you_mean(evaluation.target, targets)
            yield (
                f"evaluation.{i}.target: no target '{evaluation.target}'{hint} "
                f"(targets: {', '.join(targets)})"
            )
    stages = [_augmentation(catalog, entry).stage for entry in params.augmentation]
    for i in range(1, len(stages)):
        if (stages[i - 1], stages[i]) == ("tensor", "pil"):
            yield (
                f"augmentation.{i}.name: '{params.augmentation[i].name}' works on pictures and "
                f"must come before '{params.augmentation[i - 1].name}', which works on tensors"
            )


def _augmentation(catalog: Catalog, entry: Entry) -> AugmentationComponent:
    return cast(AugmentationComponent, catalog.component("augmentation", entry.name))


def _versions(raw: Raw, catalog: Catalog) -> dict[str, str]:
    """Return the distributions that the params use, with their versions."""
    used = {}
    for _, kind, entry in _entries(raw):
        if kind != "optimizer":
            offer = catalog.offer(kind, entry["name"])
            used[offer.distribution] = offer.version
    return dict(sorted(used.items()))

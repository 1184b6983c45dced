"""Read a params file: every problem of the file in one run, each with its path."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

from pydantic import PydanticUndefinedAnnotation, PydanticUserError

from reid_core.catalog import Catalog
from reid_core.component import AugmentationComponent, call_build
from reid_core.errors import ParamsError, ReidError, did_you_mean
from reid_core.problems import Model, Place, dotted, read_params, shortened, validate
from reid_core.schema import (
    OPTIMIZERS,
    DatasetEntry,
    Entry,
    EvalParams,
    EvaluationEntry,
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
    twice: list[tuple[Raw, str]] = []

    def pairs(items: list[tuple[str, Any]]) -> Raw:
        keys = [key for key, _ in items]
        node = dict(items)
        twice.extend((node, key) for key in node if keys.count(key) > 1)
        return node

    try:
        text = path.read_text(encoding="utf-8")
        raw = json.loads(text, object_pairs_hook=pairs, parse_constant=_NoNumber)
        problems = list(_text_problems((), raw, twice))
    except FileNotFoundError:
        raise ReidError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ReidError(f"{path}: cannot be read: {error}") from None
    except json.JSONDecodeError as error:
        raise ReidError(
            f"{path}: not valid JSON: {error.msg} (line {error.lineno}, column {error.colno})"
        ) from None
    except RecursionError:
        raise ReidError(f"{path}: lists or objects are nested too deep") from None
    except ValueError as error:  # a whole number of thousands of digits
        raise ReidError(f"{path}: cannot be read: {error}") from None
    if not isinstance(raw, dict):
        raise ReidError(f"{path}: expected a JSON object {{...}}, got {_json_type(raw)}")
    if problems:
        raise ParamsError(str(path), problems)
    return raw


class _NoNumber(str):
    """``NaN``, ``Infinity`` or ``-Infinity``, which Python reads and JSON does not have."""


def _text_problems(place: Place, node: Any, twice: list[tuple[Raw, str]]) -> Iterator[str]:
    """Yield what is wrong with the text itself, each with its path."""
    where = f"{dotted(place)}: " if place else ""
    if isinstance(node, _NoNumber) or (isinstance(node, float) and not math.isfinite(node)):
        word = node if isinstance(node, str) else "a number as large as this"
        yield f"{where}{word} is not a JSON number; write a finite number"
    elif isinstance(node, dict):
        yield from (
            f"{where}key '{key}' is given twice; keep one" for owner, key in twice if owner is node
        )
        for key, value in node.items():
            yield from _text_problems((*place, key), value, twice)
    elif isinstance(node, list):
        for i, value in enumerate(node):
            yield from _text_problems((*place, i), value, twice)


def _json_type(value: Any) -> str:
    """Name the type of a value as JSON does."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, _NoNumber):
        return value
    if isinstance(value, list):
        return "a list"
    return "a string" if isinstance(value, str) else "a number"


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
            if not (path and equals):
                raise LookupError("expected path=value")
            _assign(result, path.split("."), _json_or_text(text))
        except (LookupError, ValueError, TypeError) as error:
            problems.append(
                f"--set {shortened(override)}: {error.args[0] if error.args else error}"
            )
    if problems:
        raise ParamsError(source, problems)
    return cast(Raw, result)


def _json_or_text(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text
    except RecursionError:
        raise ValueError("lists or objects are nested too deep") from None


def _assign(node: Any, keys: Sequence[str], value: Any) -> None:
    """Set one value deep in the params, making objects on the way where there are none."""
    for position, key in enumerate(keys):
        last = position == len(keys) - 1
        if isinstance(node, list):
            if not key.isdecimal() or int(key) > len(node) - (0 if last else 1):
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
    params = _checked(RunParams, raw, catalog, source, _run_cross_checks)
    return params.model_copy(update={"plugins": _versions(params, catalog)})


def check_model_params(raw: Raw, catalog: Catalog, source: str) -> ModelParams:
    """Check the sections of a weights file that make the network, and no others."""
    sections = {key: raw[key] for key in ModelParams.model_fields if key in raw}
    return _checked(ModelParams, sections, catalog, source, lambda params, catalog: ())


def check_eval_params(raw: Raw, catalog: Catalog, source: str) -> EvalParams:
    """Check the params of an evaluation; see ``check_run_params``."""
    return _checked(EvalParams, raw, catalog, source, _eval_cross_checks)


def _checked(
    model: type[Model],
    raw: Raw,
    catalog: Catalog,
    source: str,
    cross_checks: Callable[[Model, Catalog], Iterable[str]],
) -> Model:
    """Check the sections and every component that they name; fill in all defaults."""
    problems: list[str] = []
    params = validate(model, raw, (), problems)
    # With the sections' own defaults, so that components named by default are filled in too.
    resolved = dict(raw) if params is None else params.model_dump(mode="json")
    for place, kind, entry in _entries(resolved):
        _replace(resolved, place, _check_entry(place, kind, entry, catalog, problems))
    if params is not None:
        problems += cross_checks(params, catalog)
    if params is None or problems:
        raise ParamsError(source, problems)
    return read_params(model, resolved)


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
    offer = catalog.offer(kind, entry.name)
    params = read_params(offer.component.params, entry.params)
    return call_build(offer.component, params, str(offer), **context)


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
    try:
        offer = None if kind == "optimizer" else catalog.offer(kind, entry["name"])
    except ReidError as error:
        problems.append(f"{dotted((*place, 'name'))}: {error}")
        return entry
    model = offer.component.params if offer else OPTIMIZERS.get(entry["name"])
    given = entry.get("params", {})
    if model is None or not isinstance(given, dict):
        return entry
    place = (*place, "params")
    try:
        checked = validate(model, given, place, problems)
        return entry if checked is None else {**entry, "params": checked.model_dump(mode="json")}
    except (PydanticUserError, PydanticUndefinedAnnotation) as error:
        first_line = str(error).partition("\n")[0]
        problems.append(f"{dotted(place)}: {offer} declares params that cannot work: {first_line}")
        return entry


def _replace(root: Any, place: Place, value: Any) -> None:
    """Put a value at a place, copying the containers on the way."""
    head, *rest = place
    if rest:
        root[head] = type(root[head])(root[head])
        _replace(root[head], tuple(rest), value)
    else:
        root[head] = value


def _run_cross_checks(params: RunParams, catalog: Catalog) -> Iterator[str]:
    """Yield problems between sections that are each right on their own."""
    labels = [entry.label for entry in params.data.train]
    for label in sorted({label for label in labels if labels.count(label) > 1}):
        yield f"data.train: two datasets are called '{label}'; give each its own 'alias'"
    yield from _target_checks(params.evaluation, list(params.data.targets) or labels)
    last_on_tensors = ""
    for i, entry in enumerate(params.augmentation):
        stage = _stage(catalog, entry)
        if stage == "pil" and last_on_tensors:
            yield (
                f"augmentation.{i}.name: '{entry.name}' works on pictures and "
                f"must come before '{last_on_tensors}', which works on tensors"
            )
        last_on_tensors = entry.name if stage == "tensor" else last_on_tensors


def _eval_cross_checks(params: EvalParams, catalog: Catalog) -> Iterator[str]:
    """Yield problems between sections that are each right on their own."""
    if params.evaluation == []:
        yield "evaluation: no evaluator is named; add one, or leave 'evaluation' out"
    if params.targets and params.features is None:
        yield from _target_checks(params.evaluation or [], list(params.targets))


def _target_checks(evaluation: Iterable[EvaluationEntry], targets: list[str]) -> Iterator[str]:
    for i, entry in enumerate(evaluation):
        if entry.target is not None and entry.target not in targets:
            hint = did_you_mean(entry.target, targets)
            yield (
                f"evaluation.{i}.target: no target '{entry.target}'{hint} "
                f"(targets: {', '.join(targets)})"
            )


def _stage(catalog: Catalog, entry: Entry) -> str | None:
    """Return where an augmentation stands; None if its name has been reported."""
    try:
        return cast(AugmentationComponent, catalog.component("augmentation", entry.name)).stage
    except ReidError:
        return None


def _versions(params: RunParams, catalog: Catalog) -> dict[str, str]:
    """Return the distributions that the params use, with their versions."""
    used = {}
    for _, kind, entry in _entries(params.model_dump(mode="json")):
        if kind != "optimizer":
            offer = catalog.offer(kind, entry["name"])
            used[offer.distribution] = offer.version
    return dict(sorted(used.items()))

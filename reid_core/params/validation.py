"""Check params: every problem of the file in one run, each with its path."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any, cast

from pydantic import (
    PydanticUndefinedAnnotation,
    PydanticUserError,
    TypeAdapter,
    ValidationError,
)

from reid_core.catalog import Catalog
from reid_core.component import Params, call_build, is_path
from reid_core.errors import ParamsError, ReidError
from reid_core.params.cross_checks import eval_cross_checks, run_cross_checks
from reid_core.params.json_file import Raw
from reid_core.params.messages import Model, Place, dotted, read_params, validate
from reid_core.params.schema import (
    OPTIMIZERS,
    DatasetEntry,
    Entry,
    EvalParams,
    ModelParams,
    RunParams,
)

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
    params = _checked(RunParams, raw, catalog, source, run_cross_checks)
    return params.model_copy(update={"plugins": _versions(params, catalog)})


def check_model_params(raw: Raw, catalog: Catalog, source: str) -> ModelParams:
    """Check the sections of a weights file that make the network, and no others."""
    sections = {key: raw[key] for key in _NetworkParams.model_fields if key in raw}
    return _checked(_NetworkParams, sections, catalog, source, lambda sections, catalog: ())


class _NetworkParams(ModelParams):
    """A network as its weights file describes it; it may need no preprocessing."""

    augmentation: list[Entry]


def check_eval_params(raw: Raw, catalog: Catalog, source: str) -> EvalParams:
    """Check the params of an evaluation; see ``check_run_params``."""
    return _checked(EvalParams, raw, catalog, source, eval_cross_checks)


def _checked(
    model: type[Model],
    raw: Raw,
    catalog: Catalog,
    source: str,
    cross_checks: Callable[[Mapping[str, Any], Catalog], Iterable[str]],
) -> Model:
    """Check the sections and every component that they name; fill in all defaults."""
    problems: list[str] = []
    params = validate(model, raw, (), problems)
    # With the sections' own defaults, so that components named by default are filled in too.
    resolved = dict(raw) if params is None else params.model_dump(mode="json")
    for place, kind, entry in _entries(resolved):
        _replace(resolved, place, _check_entry(place, kind, entry, catalog, problems))
    problems += cross_checks(dict(params or _right_sections(model, raw)), catalog)
    if params is None or problems:
        raise ParamsError(source, problems)
    return read_params(model, resolved)


def _right_sections(model: type[Params], raw: Raw) -> Iterator[tuple[str, Any]]:
    """Yield the sections that are right on their own, by name, when others are not."""
    for name, field in model.model_fields.items():
        if name in raw:
            with suppress(ValidationError):
                section: TypeAdapter[Any] = TypeAdapter(cast(Any, field.annotation))
                yield name, section.validate_json(json.dumps(raw[name]))


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


def without_paths(raw: Raw, catalog: Catalog) -> Raw:
    """Return resolved params in which file names are back at their default, or gone without one.

    A param is a file name when its type is ``PathText``, or holds it.
    """
    result = dict(raw)
    for place, kind, entry in _entries(raw):
        if kind != "optimizer":
            fields = catalog.component(kind, entry["name"]).params.model_fields
            paths = path_params(catalog, kind, entry["name"])
            params = {
                name: fields[name].get_default(call_default_factory=True)
                if name in paths
                else value
                for name, value in entry["params"].items()
                if not (name in paths and fields[name].is_required())
            }
            _replace(result, place, {**entry, "params": params})
    return result


def path_params(catalog: Catalog, kind: str, name: str) -> set[str]:
    """Return which params of a component are file names."""
    fields = catalog.component(kind, name).params.model_fields
    return {name for name, field in fields.items() if is_path(field)}


def _entries(raw: Raw) -> Iterator[tuple[Place, str, Any]]:
    """Yield (place, kind, entry) of everything in the params that names a component."""
    for section, kind in SECTION_KINDS.items():
        value = raw.get(section)
        if isinstance(value, list):
            yield from (((section, i), kind, entry) for i, entry in enumerate(value))
        elif value is not None:
            yield (section,), kind, value
    for i, entry in enumerate(_dicts(raw.get("evaluation"))):
        if isinstance(entry.get("distance"), dict):
            yield ("evaluation", i, "distance"), "distance", entry["distance"]
        for j, step in enumerate(_dicts(entry.get("postprocess"))):
            yield ("evaluation", i, "postprocess", j), "postprocess", step
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


def _dicts(value: Any) -> list[dict[str, Any]]:
    """Return a list of objects with an empty object for all that is none."""
    items = value if isinstance(value, list) else []
    return [item if isinstance(item, dict) else {} for item in items]


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


def _versions(params: RunParams, catalog: Catalog) -> dict[str, str]:
    """Return the distributions that the params use, with their versions."""
    used = {}
    for _, kind, entry in _entries(params.model_dump(mode="json")):
        if kind != "optimizer":
            offer = catalog.offer(kind, entry["name"])
            used[offer.distribution] = offer.version
    return dict(sorted(used.items()))

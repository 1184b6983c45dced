"""JSON Schema of the params files, with the params of every installed component."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, get_args

from pydantic import PydanticUndefinedAnnotation, PydanticUserError

from reid_core.catalog import Catalog
from reid_core.component import Params
from reid_core.params.entries import Entry, NamedParams
from reid_core.params.schema import OPTIMIZERS, EvalParams, OptimizerParams, RunParams

DRAFT = "https://json-schema.org/draft/2020-12/schema"


def run_params_schema(catalog: Catalog) -> dict[str, Any]:
    """Return the schema of params.json."""
    return {"$schema": DRAFT, **_schema(RunParams, catalog), "title": "params.json"}


def eval_params_schema(catalog: Catalog) -> dict[str, Any]:
    """Return the schema of eval_params.json."""
    return {"$schema": DRAFT, **_schema(EvalParams, catalog), "title": "eval_params.json"}


def _schema(model: type[Params], catalog: Catalog) -> dict[str, Any]:
    """Return a model's schema with every definition in its place: it stands alone.

    Where an entry names a component, one of all that are on offer stands, with its own params.
    """
    entries = {
        entry.__name__: {"oneOf": list(_choices(entry, catalog))}
        for field in model.model_fields.values()
        for entry in _entry_models(field.annotation)
    }
    return resolve(model.model_json_schema(), entries)


def _entry_models(annotation: Any) -> set[type[NamedParams]]:
    """Return every kind of entry that a type mentions, but not those within entries."""
    parts: Iterable[Any] = get_args(annotation)
    if not parts and isinstance(annotation, type):
        if issubclass(annotation, NamedParams):
            return {annotation}
        if issubclass(annotation, Params):
            parts = [field.annotation for field in annotation.model_fields.values()]
    return {entry for part in parts for entry in _entry_models(part)}


def resolve(schema: dict[str, Any], replacement: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """Return a schema without references: what they refer to stands in their place.

    Args:
        schema: A model's schema with its definitions.
        replacement: What stands for a definition instead of it, by its name.

    Raises:
        RecursionError: A definition refers to itself.
    """
    definitions = schema.get("$defs", {})

    def walk(node: Any) -> Any:
        if isinstance(node, list):
            return [walk(item) for item in node]
        if not isinstance(node, dict):
            return node
        if "$ref" not in node:
            return {key: walk(value) for key, value in node.items()}
        name = node["$ref"].rpartition("/")[2]
        target = replacement[name] if name in replacement else walk(definitions[name])
        return {**target, **{key: value for key, value in node.items() if key != "$ref"}}

    return dict(walk({key: value for key, value in schema.items() if key != "$defs"}))


def _choices(model: type[NamedParams], catalog: Catalog) -> Iterator[dict[str, Any]]:
    """Yield an entry's schema for everything that it may name."""
    schema = _schema(model, catalog)
    if issubclass(model, OptimizerParams):
        for name, options in OPTIMIZERS.items():
            yield _entry(schema, [name], options.__doc__ or "", options)
    elif issubclass(model, Entry):
        offers = [offer for offer in catalog.offers if offer.kind == model.kind]
        counts = Counter(offer.component.name for offer in offers)
        for offer in offers:
            name = offer.component.name
            # Of two offers of one name, the name alone is refused.
            names = [name] if counts[name] == 1 else []
            names.append(f"{offer.distribution}:{name}")
            yield _entry(schema, names, offer.component.summary, offer.component.params)


def _entry(
    schema: dict[str, Any], names: list[str], summary: str, params: type[Params]
) -> dict[str, Any]:
    of_params = _params_schema(params)
    properties = {**schema["properties"], "name": {"enum": names}, "params": of_params}
    required = {*schema.get("required", []), *(["params"] if of_params.get("required") else [])}
    return {
        **schema,
        "description": summary,
        "properties": properties,
        "required": sorted(required),
    }


def _params_schema(params: type[Params]) -> dict[str, Any]:
    """Return the schema of a component's params; any object, if its plugin's model has none."""
    try:
        return resolve(params.model_json_schema(), {})
    except (PydanticUserError, PydanticUndefinedAnnotation, RecursionError):
        return {"type": "object"}

"""JSON Schema of the params files, with the params of every installed component."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

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
    return _resolved(model, catalog, {cls.__name__: cls for cls in _entry_models(NamedParams)})


def _entry_models(model: type[NamedParams]) -> list[type[NamedParams]]:
    """Return every kind of entry that has been declared below a class."""
    below = model.__subclasses__()
    return [*below, *(deeper for inner in below for deeper in _entry_models(inner))]


def _resolved(
    model: type[Params], catalog: Catalog, entries: dict[str, type[NamedParams]]
) -> dict[str, Any]:
    schema = model.model_json_schema()
    definitions = schema.pop("$defs", {})

    def resolve(node: Any) -> Any:
        if isinstance(node, list):
            return [resolve(item) for item in node]
        if not isinstance(node, dict):
            return node
        if "$ref" in node:
            name = node["$ref"].rpartition("/")[2]
            beside = {key: value for key, value in node.items() if key != "$ref"}
            if name in entries:
                return {"oneOf": list(_choices(entries[name], catalog, entries)), **beside}
            return {**resolve(definitions[name]), **beside}
        return {key: resolve(value) for key, value in node.items()}

    return dict(resolve(schema))


def _choices(
    model: type[NamedParams], catalog: Catalog, entries: dict[str, type[NamedParams]]
) -> Iterator[dict[str, Any]]:
    """Yield an entry's schema for everything that it may name."""
    schema = _resolved(model, catalog, entries)
    if issubclass(model, OptimizerParams):
        for name, options in OPTIMIZERS.items():
            yield _entry(schema, [name], options.__doc__ or "", options)
    elif issubclass(model, Entry):
        for offer in (o for o in catalog.offers if o.kind == model.kind):
            name = offer.component.name
            # Of two offers of one name, the name alone is refused.
            alone = [o.kind == model.kind and o.component.name == name for o in catalog.offers]
            names = [name] if sum(alone) == 1 else []
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
        return _inline(params.model_json_schema())
    except (PydanticUserError, PydanticUndefinedAnnotation, RecursionError):
        return {"type": "object"}


def _inline(schema: dict[str, Any]) -> dict[str, Any]:
    """Replace references to definitions by the definitions: the schema stands alone."""
    definitions = schema.pop("$defs", {})

    def resolve(node: Any) -> Any:
        if isinstance(node, list):
            return [resolve(item) for item in node]
        if not isinstance(node, dict):
            return node
        if "$ref" in node:
            target = definitions[node["$ref"].rpartition("/")[2]]
            return {**resolve(target), **{k: v for k, v in node.items() if k != "$ref"}}
        return {key: resolve(value) for key, value in node.items()}

    return dict(resolve(schema))

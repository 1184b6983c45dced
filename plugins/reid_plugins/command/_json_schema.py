"""JSON Schema of the params files, with the params of every installed component."""

from __future__ import annotations

from typing import Any

from pydantic import PydanticUndefinedAnnotation, PydanticUserError

from reid_core.catalog import Catalog
from reid_core.component import Params
from reid_core.params.schema import (
    OPTIMIZERS,
    DatasetEntry,
    Entry,
    EvalParams,
    EvaluationEntry,
    HeadEntry,
    LossEntry,
    OptimizerParams,
    RunParams,
)
from reid_core.params.validation import SECTION_KINDS

DRAFT = "https://json-schema.org/draft/2020-12/schema"

ENTRY_MODELS: dict[str, type[Params]] = {
    "head": HeadEntry,
    "loss": LossEntry,
    "dataset": DatasetEntry,
    "evaluator": EvaluationEntry,
}
"""Kinds whose entries have keys beside ``name`` and ``params``."""


def run_params_schema(catalog: Catalog) -> dict[str, Any]:
    """Return the schema of params.json."""
    schema = _inline(RunParams.model_json_schema())
    properties = schema["properties"]
    for section, kind in SECTION_KINDS.items():
        _put(properties[section], _entries(catalog, kind))
    datasets = _entries(catalog, "dataset")
    _put(properties["data"]["properties"]["train"], datasets)
    properties["data"]["properties"]["targets"]["additionalProperties"] = datasets
    properties["optimizer"] = {"oneOf": [_optimizer(name) for name in OPTIMIZERS]}
    return {"$schema": DRAFT, **schema, "title": "params.json"}


def eval_params_schema(catalog: Catalog) -> dict[str, Any]:
    """Return the schema of eval_params.json."""
    schema = _inline(EvalParams.model_json_schema())
    for key, entries in (("targets", "dataset"), ("evaluation", "evaluator")):
        for choice in schema["properties"][key]["anyOf"]:
            if choice["type"] == "object":
                choice["additionalProperties"] = _entries(catalog, entries)
            elif choice["type"] == "array":
                choice["items"] = _entries(catalog, entries)
    return {"$schema": DRAFT, **schema, "title": "eval_params.json"}


def _entries(catalog: Catalog, kind: str) -> dict[str, Any]:
    """Return the schema of one entry: any component of the kind, with its own params."""
    model = ENTRY_MODELS.get(kind, Entry)
    choices = []
    for name in catalog.names(kind):
        offers = [o for o in catalog.offers if o.kind == kind and o.component.name == name]
        for offer in offers:
            # Of two offers of one name, the name alone is refused.
            names = [name] if len(offers) == 1 else []
            names.append(f"{offer.distribution}:{name}")
            entry = _entry(model, names, offer.component.summary, offer.component.params)
            if kind == "evaluator":
                # Each entry has what its evaluator is given beside its params.
                nothing = {"type": "null"}
                entry["properties"]["distance"]["anyOf"] = [_entries(catalog, "distance"), nothing]
                entry["properties"]["postprocess"]["items"] = _entries(catalog, "postprocess")
            choices.append(entry)
    return {"oneOf": choices}


def _entry(
    model: type[Params], names: list[str], summary: str, params: type[Params]
) -> dict[str, Any]:
    schema = _inline(model.model_json_schema())
    schema["description"] = summary
    schema["properties"]["name"] = {"enum": names}
    schema["properties"]["params"] = _params_schema(params)
    if schema["properties"]["params"].get("required"):
        schema["required"] = sorted({*schema.get("required", []), "params"})
    return schema


def _params_schema(params: type[Params]) -> dict[str, Any]:
    """Return the schema of a component's params; any object, if its plugin's model has none."""
    try:
        return _inline(params.model_json_schema())
    except (PydanticUserError, PydanticUndefinedAnnotation, RecursionError):
        return {"type": "object"}


def _optimizer(name: str) -> dict[str, Any]:
    return _entry(OptimizerParams, [name], OPTIMIZERS[name].__doc__ or "", OPTIMIZERS[name])


def _put(place: dict[str, Any], entries: dict[str, Any]) -> None:
    """Describe the entries of a section that is one entry or a list of them."""
    if place.get("type") == "array":
        place["items"] = entries
    else:
        default = {k: place[k] for k in ("default",) if k in place}
        place.clear()
        place.update(entries, **default)


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

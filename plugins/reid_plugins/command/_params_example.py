"""An example of a component's params, made of their JSON Schema."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Schema = Mapping[str, Any]


def example_of(schema: Schema, *, fuller: bool = False) -> Any:
    """Return a value that a schema accepts: defaults, and else what is smallest.

    Args:
        schema: JSON Schema without references.
        fuller: Give objects a value that may be left out and have none by default.
    """
    if "default" in schema and (schema["default"] is not None or not _is_object(schema, fuller)):
        return schema["default"]
    if "const" in schema or "enum" in schema:
        return schema["const"] if "const" in schema else schema["enum"][0]
    if branches := schema.get("anyOf") or schema.get("oneOf"):
        return example_of(branches[0], fuller=fuller)
    kind = schema.get("type")
    if kind == "object":
        return _example_object(schema, fuller)
    if kind == "array":
        places = schema.get("prefixItems")
        items = [schema.get("items", {})] * schema.get("minItems", 0)
        return [example_of(item, fuller=fuller) for item in places or items]
    if kind in ("number", "integer"):
        return _example_number(schema)
    return {"boolean": False, "string": _example_text(schema)}.get(str(kind))


def _is_object(schema: Schema, fuller: bool) -> bool:
    """Return whether an object with keys of its own may stand here, and shall."""
    return fuller and any(branch.get("properties") for branch in schema.get("anyOf", ()))


def _example_object(schema: Schema, fuller: bool) -> dict[str, Any]:
    fields = schema.get("properties", {}).items()
    found = {name: example_of(field, fuller=fuller) for name, field in fields}
    values = schema.get("additionalProperties")
    if isinstance(values, Mapping) and schema.get("minProperties"):
        found["name"] = example_of(values, fuller=fuller)
    return found


def _example_number(schema: Schema) -> float:
    if "minimum" in schema:
        return float(schema["minimum"]) if schema["type"] == "number" else int(schema["minimum"])
    low = schema.get("exclusiveMinimum", 0)
    if schema["type"] == "integer":
        return int(low) + 1
    high = schema.get("maximum", schema.get("exclusiveMaximum", low + 2))
    return float(low + high) / 2


def _example_text(schema: Schema) -> str:
    return "path/to/it" if schema.get("format") == "path" else "text"

"""The params of a component as lines for a terminal: types, defaults, ranges, descriptions."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

Schema = Mapping[str, Any]

WORDS = {"number": "number", "integer": "whole number", "boolean": "true or false"}
WORDS |= {"string": "text", "null": "null", "object": "object"}
"""JSON's types as people say them."""


def unfolded(model: type[BaseModel]) -> dict[str, Any]:
    """Return a model's schema without references; a model within itself is an object there."""
    schema = model.model_json_schema()
    definitions = schema.get("$defs", {})

    def walk(node: Any, within: tuple[str, ...]) -> Any:
        if isinstance(node, list):
            return [walk(item, within) for item in node]
        if not isinstance(node, dict):
            return node
        name = str(node.get("$ref", "")).rpartition("/")[2]
        if not name:
            return {key: walk(value, within) for key, value in node.items() if key != "$defs"}
        rest = {key: value for key, value in node.items() if key != "$ref"}
        if name in within:
            return {"type": "object", "title": name, **rest}
        return {**walk(definitions[name], (*within, name)), **rest}

    return dict(walk(schema, ()))


def params_lines(schema: Schema, width: int = 96, indent: str = "  ") -> Iterator[str]:
    """Yield two or more lines per param: name, type and default; then the description.

    Args:
        schema: JSON Schema of a params model without references.
        width: Columns of the terminal.
        indent: What every line begins with.
    """
    required = schema.get("required", ())
    for name, field in schema.get("properties", {}).items():
        told = "required" if name in required else f"default {json.dumps(field.get('default'))}"
        yield f"{indent}{name}: {type_words(field)}; {told}"
        yield from _wrapped(field.get("description", ""), width, f"{indent}    ")
        for title, inner in _models_within(field):
            yield f"{indent}    {title}:"
            yield from params_lines(inner, width, f"{indent}      ")


def type_words(field: Schema) -> str:
    """Return the type of a field with its range, e.g. ``number, > 0, <= 10``."""
    if "const" in field:
        return json.dumps(field["const"])
    if "enum" in field:
        return " or ".join(json.dumps(value) for value in field["enum"])
    if branches := field.get("anyOf") or field.get("oneOf"):
        return ", or ".join(dict.fromkeys(type_words(branch) for branch in branches))
    if field.get("format") == "path":
        return "path"
    kind = field.get("type", "any value")
    if kind == "array":
        return _list_words(field)
    if kind == "object" and isinstance(field.get("additionalProperties"), Mapping):
        return f"object of {type_words(field['additionalProperties'])} by name"
    return ", ".join([WORDS.get(kind, str(kind)), *_limits(field)])


def _limits(field: Schema) -> Iterator[str]:
    signs = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
    for key, sign in signs.items():
        if key in field:
            yield f"{sign} {field[key]:g}"
    if "pattern" in field:
        yield f"matching {field['pattern']}"


def _list_words(field: Schema) -> str:
    """Return the words for a list, of one type or of a type per place."""
    if places := field.get("prefixItems"):
        return f"list of {' and '.join(type_words(place) for place in places)}"
    inner = type_words(field.get("items", {}))
    sizes = [f"{word} {field[k]}" for k, word in _SIZES.items() if k in field]
    return ", ".join([f"list of {inner}", *sizes])


_SIZES = {"minItems": "at least", "maxItems": "at most"}


def _models_within(field: Schema) -> Iterator[tuple[str, Schema]]:
    """Yield the objects with keys of their own that a field may hold, with their titles."""
    if field.get("properties"):
        yield field.get("title", "object"), field
        return
    parts = [*field.get("anyOf", ()), *field.get("oneOf", ()), *field.get("prefixItems", ())]
    parts += [field[k] for k in ("items", "additionalProperties") if isinstance(field.get(k), dict)]
    for part in parts:
        yield from _models_within(part)


def _wrapped(text: str, width: int, indent: str) -> list[str]:
    return textwrap.wrap(
        text,
        width,
        initial_indent=indent,
        subsequent_indent=indent,
        break_on_hyphens=False,
        break_long_words=False,
    )

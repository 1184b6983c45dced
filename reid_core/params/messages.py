"""Validate an object with a pydantic model and word every problem for a person."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import ValidationError

from reid_core.catalog import Catalog
from reid_core.component import Params, is_params
from reid_core.errors import ReidError, did_you_mean, shortened
from reid_core.params.entries import NamedParams
from reid_core.params.examples import example_text

Model = TypeVar("Model", bound=Params)
Place = tuple[str | int, ...]


@dataclass(frozen=True)
class _Problem:
    """What is wrong at one place: the text, the user's value and a hint."""

    text: str
    got: str = ""
    hint: str = ""

    @property
    def is_other_type(self) -> bool:
        """Whether an object or a list stands where something else is expected."""
        return self.text.startswith("expected ") and self.got.startswith(("{", "["))


def dotted(place: Place) -> str:
    """Write a place as ``loss.0.params.margin``."""
    return ".".join(str(part) for part in place)


def read_params(model: type[Model], given: Any, catalog: Catalog | None = None) -> Model:
    """Make an instance from an object as read from JSON; a list may stand for a tuple or a set.

    Args:
        model: The pydantic model.
        given: The object as read from JSON.
        catalog: Whose components the entries in it name; without one, only their form counts.

    Raises:
        ValidationError: Something is wrong; ``validate`` words it.
    """
    return model.model_validate_json(json.dumps(given), context=catalog)


def validate(
    model: type[Model],
    given: Any,
    problems: list[str],
    catalog: Catalog | None = None,
    shown: Catalog | None = None,
) -> Model | None:
    """Validate one object.

    Args:
        model: The pydantic model.
        given: The object as read from JSON.
        problems: Receives one line per place that is wrong.
        catalog: Whose components the entries in it name.
        shown: Whose components stand in examples; by default the same.

    Returns:
        The instance, or None when there are problems.
    """
    try:
        return read_params(model, given, catalog)
    except ValidationError as error:
        found: dict[Place, list[_Problem]] = {}
        for item in error.errors(include_url=False):
            if item["type"] == "too_short" and len(item["input"]) >= item["ctx"]["min_length"]:
                continue  # pydantic did not count the items that are wrong themselves
            path, known, owner = _walk(model, given, item["loc"], catalog)
            found.setdefault(path, []).append(_problem(item, known, owner, shown or catalog))
        for path, items in found.items():
            deeper = any(len(other) > len(path) and other[: len(path)] == path for other in found)
            # A union reports each of its branches; only the one that the value is meant
            # for has problems further down.
            if not (deeper and any(item.is_other_type for item in items)):
                problems.append(_line(path, items))
        return None


def _line(place: Place, items: list[_Problem]) -> str:
    """Join the problems of one place, which are the branches of a union, into one line."""
    first, *others = dict.fromkeys(item.text for item in items)
    text = " or ".join([first, *(other.removeprefix("expected ") for other in others)])
    got = f", got {items[0].got}" if items[0].got else ""
    hint = next((item.hint for item in items if item.hint), "")
    return f"{dotted(place)}: {text}{got}{hint}" if place else f"{text}{got}{hint}"


def _walk(
    model: type[Params], given: Any, loc: tuple[Any, ...], catalog: Catalog | None
) -> tuple[Place, list[str], Any]:
    """Follow an error's location through the data; return the path, the known keys, their owner.

    pydantic adds the branches of a union to the location; they are no keys of the data.
    """
    path: list[str | int] = []
    node, annotation = given, model
    owner: Any = model
    fields = _fields(annotation)
    for key in loc:
        in_list = isinstance(node, list) and isinstance(key, int) and key < len(node)
        in_data = in_list or (isinstance(node, dict) and key in node)
        if in_data or (isinstance(node, dict) and key in _fields(annotation)):
            fields, owner = _fields(annotation), annotation
            annotation = _inner(annotation, key, node, catalog)
            node = node[key] if in_data else {}  # a key that is missing, or at its default
            path.append(key)
    return tuple(path), fields, owner


def _fields(annotation: Any) -> list[str]:
    """Return the keys that a model accepts, or those of all models in a union."""
    if is_params(annotation):
        return list(annotation.model_fields)
    return [name for inner in getattr(annotation, "__args__", ()) for name in _fields(inner)]


def _inner(annotation: Any, key: Any, node: Any, catalog: Catalog | None) -> Any:
    """Return the annotation of what lies under a key of some data."""
    if is_params(annotation):
        if key == "params" and issubclass(annotation, NamedParams) and catalog is not None:
            return _params_model(annotation, node.get("name"), catalog)
        field = annotation.model_fields.get(key)
        return field.annotation if field else None
    arguments = [a for a in getattr(annotation, "__args__", ()) if a is not type(None)]
    models = [inner for inner in arguments if key in _fields(inner)]
    return (
        _inner(models[0], key, node, catalog) if models else (arguments[-1] if arguments else None)
    )


def _params_model(entry: type[NamedParams], name: Any, catalog: Catalog) -> type[Params] | None:
    """Return the model of an entry's params; None for a name that is wrong itself."""
    with suppress(ReidError, KeyError):
        return entry.params_model(name, catalog) if isinstance(name, str) else None
    return None


def _like(key: str, owner: Any, catalog: Catalog | None) -> str:
    """Return an example of a missing key as the end of a message; empty if there is none."""
    texts = (example_text(model, key, catalog) for model in _models_in(owner))
    return next((f"; such as {text}" for text in texts if text), "")


def _models_in(annotation: Any) -> Iterator[type[Params]]:
    """Yield a model, or those within a type such as a union of them."""
    if is_params(annotation):
        yield annotation
    for inner in getattr(annotation, "__args__", ()):
        yield from _models_in(inner)


_LIMITS = {
    "greater_than_equal": "must be >= {ge}",
    "greater_than": "must be > {gt}",
    "less_than_equal": "must be <= {le}",
    "less_than": "must be < {lt}",
    "literal_error": "expected {expected}",
    "too_short": "needs {min_length} or more",
    "too_long": "takes {max_length} or fewer",
    "string_pattern_mismatch": "must match {pattern}",
    "finite_number": "expected a finite number",
}
_TYPES = {
    "float_type": "a number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "bool_type": "true or false",
    "string_type": "a string",
    "list_type": "a list",
    "tuple_type": "a list",
    "set_type": "a list",
    "frozen_set_type": "a list",
    "dict_type": "an object",
    "model_type": "an object",
    "none_required": "null",
}


def _problem(item: Any, known: list[str], owner: Any, catalog: Catalog | None) -> _Problem:
    """Say in our words what pydantic found."""
    kind, given, context = item["type"], item["input"], item.get("ctx", {})
    if kind == "extra_forbidden":
        return _Problem("unknown key", hint=did_you_mean(str(item["loc"][-1]), known))
    if kind == "missing" and isinstance(item["loc"][-1], str):
        return _Problem(f"required, but missing{_like(item['loc'][-1], owner, catalog)}")
    if kind == "value_error":
        return _Problem(str(context["error"]))
    if kind == "json_invalid":  # it was read as JSON before, so it is one of these
        return _Problem("nested too deep, or text that is not Unicode")
    got = shortened(json.dumps(given, default=str))
    if kind == "missing":  # one of the items of a tuple
        return _Problem("too few items", got)
    if kind in _TYPES:
        return _Problem(f"expected {_TYPES[kind]}", got)
    if kind not in _LIMITS:
        return _Problem(item["msg"][0].lower() + item["msg"][1:], got)
    hint = ""
    if kind == "literal_error" and isinstance(given, str):
        hint = did_you_mean(given, context["expected"].replace("'", " ").split())
    return _Problem(_LIMITS[kind].format(**context), got, hint)

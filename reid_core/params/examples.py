"""An example of what a key expects, for the message that it is missing."""

from __future__ import annotations

import json
from contextlib import suppress
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from reid_core.catalog import Catalog
from reid_core.component import Params, is_params, is_path
from reid_core.errors import ReidError
from reid_core.params.entries import Entry

_OF_TYPES: tuple[tuple[type, Any], ...] = (
    (bool, True),
    (int, 1),
    (float, 0.1),
    (str, "name"),
    (list, []),
    (tuple, []),
    (dict, {}),
)


def example_text(owner: type[Params], key: str, catalog: Catalog | None) -> str:
    """Return ``"key": value`` as it could stand in the file; empty if there is nothing to show.

    Args:
        owner: The model that lacks the key; ``Field(examples=[...])`` says best what to write.
        key: The key.
        catalog: Whose components are named.
    """
    if key not in owner.model_fields:
        return ""
    value: Any = None
    if key == "name" and issubclass(owner, Entry):
        value = _name(owner, catalog)
    else:
        value = _of_field(owner.model_fields[key], catalog)
    return "" if value in (None, [], {}) else f'"{key}": {json.dumps(value)}'


def _of_field(field: FieldInfo, catalog: Catalog | None) -> Any:
    if field.examples:
        return field.examples[0]
    return "path/to/it" if is_path(field) else _of_type(field.annotation, catalog)


def _of_type(annotation: Any, catalog: Catalog | None) -> Any:
    """Return a value of a type; None if it has none that says something."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if is_params(annotation):
        return _of_model(annotation, catalog)
    if origin is Literal:
        return arguments[0]
    if origin in (Union, UnionType):
        found = (_of_type(argument, catalog) for argument in arguments)
        return next((value for value in found if value is not None), None)
    if origin in (list, tuple, set, frozenset):
        inner = _of_type(arguments[0], catalog) if arguments else None
        return [] if inner is None else [inner]
    if not isinstance(annotation, type):
        return _of_type(arguments[0], catalog) if arguments else None
    return next((value for kind, value in _OF_TYPES if issubclass(annotation, kind)), None)


def _of_model(model: type[Params], catalog: Catalog | None) -> dict[str, Any]:
    """Return the keys that an object must have; of a component those of its params, too."""
    fields = model.model_fields.items()
    found = {key: _of_field(field, catalog) for key, field in fields if field.is_required()}
    if not issubclass(model, Entry) or (name := _name(model, catalog)) is None:
        return found
    with suppress(ReidError):
        of_component = _of_model(model.params_model(name, catalog), catalog) if catalog else {}
        return {**found, "name": name, **({"params": of_component} if of_component else {})}
    return found


def _name(entry: type[Entry[Any]], catalog: Catalog | None) -> str | None:
    """Return a component that an entry may name."""
    names = catalog.names(entry.kind) if catalog is not None else []
    return names[0] if names else None

"""What is said of a params field beside it, in its ``json_schema_extra``, and who asks for it.

``"in_weights": False`` marks what a weights file leaves out, because it changes no weight, as it
leaves out every ``PathText``; ``"resume": "free"`` what may differ when a run is continued, and
``"until_scored"`` what may until the first evaluation.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, get_args

from pydantic.fields import FieldInfo

from reid_core.component import Params, is_params, is_path


def fact(field: FieldInfo, name: str) -> Any:
    """Return what is said of a field; None when nothing is."""
    facts = field.json_schema_extra
    return facts.get(name) if isinstance(facts, dict) else None


def path_names(model: type[Params]) -> set[str]:
    """Return which fields of a model are names of files or folders."""
    return {n for n, field in model.model_fields.items() if is_path(field)}


def path_places(value: Any, place: str) -> Iterator[str]:
    """Yield where some params name files or folders.

    Args:
        value: Params, or a list or an object of them.
        place: Where they stand.
    """
    if isinstance(value, Params):
        for name, field in type(value).model_fields.items():
            if is_path(field):
                yield f"{place}.{name}"
            else:
                yield from path_places(getattr(value, name), f"{place}.{name}")
    elif isinstance(value, list | tuple | dict):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in items:
            yield from path_places(inner, f"{place}.{key}")


def kept_in_weights(params: Params) -> dict[str, Any]:
    """Return what a weights file keeps of params, as JSON has it.

    File names are back at their default, or gone without one: the file's bytes do not depend on
    where it was made.
    """
    kept: dict[str, Any] = _kept(params, params.model_dump(mode="json"))
    return kept


def _kept(value: Any, dumped: Any) -> Any:
    """Return a dump without what is not kept; the value tells the fields, the dump the words.

    A model may write itself in a form of its own: what is not of the value's form stays as it is.
    """
    if isinstance(value, Params) and isinstance(dumped, dict):
        return dict(_kept_fields(value, dumped))
    if isinstance(value, list | tuple) and isinstance(dumped, list) and len(value) == len(dumped):
        return [_kept(*pair) for pair in zip(value, dumped, strict=True)]
    if isinstance(value, dict) and isinstance(dumped, dict) and len(value) == len(dumped):
        pairs = zip(value.values(), dumped.items(), strict=True)
        return {key: _kept(inner, inner_dumped) for inner, (key, inner_dumped) in pairs}
    return dumped


def _kept_fields(params: Params, dumped: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the written fields of some params that are kept."""
    for name, inner in dumped.items():
        field = type(params).model_fields.get(name)
        if field is None:
            yield name, inner
        elif fact(field, "in_weights") is False or (is_path(field) and field.is_required()):
            continue
        elif is_path(field):
            yield name, field.get_default(call_default_factory=True)
        else:
            yield name, _kept(getattr(params, name), inner)


def resumable(
    annotation: Any, resume: Literal["free", "until_scored"], place: str = ""
) -> Iterator[str]:
    """Yield the places in params that carry a fact about resuming, as globs.

    Args:
        annotation: A model, or the type of one of its fields.
        resume: The fact.
        place: Where the annotation stands; ``*`` is any item of a list or an object.
    """
    if is_params(annotation):
        for name, field in annotation.model_fields.items():
            inner = f"{place}.{name}" if place else name
            if fact(field, "resume") == resume:
                yield inner
            else:
                yield from resumable(field.annotation, resume, inner)
    elif arguments := get_args(annotation):
        of_items = getattr(annotation, "__origin__", None) in (list, dict, tuple)
        for argument in arguments:
            yield from resumable(argument, resume, f"{place}.*" if of_items else place)

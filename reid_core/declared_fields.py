"""Whether the fields of a record that a plugin declares have the types that the record names."""

from __future__ import annotations

from collections.abc import Callable
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from reid_core.errors import did_you_mean


def field_fault(record: type, value: object) -> str:
    """Say which field of a dataclass is not of its type, the first one; empty: none.

    Literals and sets of them, words, whole numbers, bools, tuples of names and functions are
    looked at; a field of another type is left alone.

    Args:
        record: The dataclass whose fields are looked at.
        value: An instance of it, or of a subclass.

    Returns:
        ``"<field> must be <what>, got <value>"``.
    """
    for name, annotation in get_type_hints(record).items():
        given = getattr(value, name)
        if not _is(given, annotation):
            text = " ".join(repr(given).split())
            return f"{name} must be {_words(annotation)}, got {text}{_hint(given, annotation)}"
    return ""


def _is(value: object, annotation: Any) -> bool:
    """Return whether a value has a type; what cannot be told is taken for right."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return isinstance(value, str) and value in inner
    if origin in (Union, UnionType):
        return any(_is(value, part) for part in inner)
    if origin is frozenset:
        # A plain set is as good to read; a word would be taken for the set of its letters.
        return isinstance(value, set | frozenset) and all(_is(item, inner[0]) for item in value)
    if origin is tuple:
        return isinstance(value, tuple) and all(_is(item, inner[0]) and item for item in value)
    if origin is Callable or annotation is Callable:
        return callable(value)
    if annotation is type(None):
        return value is None
    if annotation is str:
        return isinstance(value, str)
    return type(value) is annotation if annotation in (bool, int) else True


def _words(annotation: Any) -> str:
    """Write a type as a message names it."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " or ".join(map(repr, inner))
    if origin in (Union, UnionType):
        return " or ".join(map(_words, inner))
    if origin is frozenset:
        return f"a set of {', '.join(map(repr, get_args(inner[0])))}"
    if origin is tuple:
        return "a tuple of names"
    if annotation is type(None):
        return "None"
    return _PLAIN.get(annotation, "a function")


_PLAIN: dict[Any, str] = {bool: "True or False", int: "a whole number", str: "a string"}


def _hint(value: object, annotation: Any) -> str:
    """Return the word that a misspelt one is nearest to."""
    known = [word for part in get_args(annotation) for word in (part, *get_args(part))]
    given = value if isinstance(value, set | frozenset) else [value]
    wrong = sorted(w for w in given if isinstance(w, str) and w not in known)
    return did_you_mean(wrong[0], [k for k in known if isinstance(k, str)]) if wrong else ""

"""What every component owes its users: words, described and checked params, one calling form."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError

from reid_core.hookspecs import build_keywords
from reid_core.testing.subject import Subject, expect


def the_name_is_a_word_of_the_params_file(subject: Subject) -> None:
    """A colon would be read as ``distribution:name``."""
    name = subject.component.name
    expect(re.fullmatch(r"[A-Za-z][A-Za-z0-9_.-]*", name), f"{name!r} is no word")


def the_summary_is_one_short_line(subject: Subject) -> None:
    """``reid plugins`` shows it in a table."""
    summary = subject.component.summary
    expect(summary == summary.strip() and "\n" not in summary, f"{summary!r} is not one line")
    expect(10 <= len(summary) <= 80, f"it has {len(summary)} characters; use 10 to 80")


def every_param_has_a_description(subject: Subject) -> None:
    """``reid plugins NAME`` and ``reid schema`` print them."""
    schema = subject.component.params.model_json_schema()
    bare = [place for place, text in _described(schema) if len(text) < 8]
    expect(not bare, f"no description: {', '.join(bare)}")


def the_params_refuse_unknown_keys_and_cannot_be_changed(subject: Subject) -> None:
    """A misspelt key must not be ignored."""
    model = subject.component.params
    expect(model.model_config.get("extra") == "forbid", "unknown keys are not forbidden")
    expect(model.model_config.get("frozen"), "instances can be changed")
    try:
        model.model_validate({"no_such_param": 1, **subject.given})
    except ValidationError:
        return
    raise AssertionError("'no_such_param' is accepted")


def the_params_survive_json(subject: Subject) -> None:
    """The resolved params of a run are read again."""
    params = subject.params
    dumped = json.loads(json.dumps(params.model_dump(mode="json"), allow_nan=False))
    again = type(params).model_validate_json(json.dumps(dumped))
    expect(again == params, f"{dumped} is read as {again}")


def build_takes_params_and_keywords_of_its_kind(subject: Subject) -> None:
    """A keyword that the kind does not have can never be given."""
    first, *context = inspect.signature(subject.component.build).parameters.values()
    expect(first.kind is not first.KEYWORD_ONLY, "the first parameter is not the params")
    offered = build_keywords(subject.offer.kind)
    strange = [
        p.name
        for p in context
        if p.name not in offered and p.default is p.empty and p.kind is not p.VAR_KEYWORD
    ]
    expect(
        not strange,
        f"build asks for {', '.join(strange)}; the kind offers {', '.join(sorted(offered))}",
    )


def _described(schema: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield (place, description) of everything that a user can write."""
    for model, part in {"params": schema, **schema.get("$defs", {})}.items():
        for key, value in part.get("properties", {}).items():
            yield f"{model}.{key}", value.get("description", "")


CHECKS = (
    the_name_is_a_word_of_the_params_file,
    the_summary_is_one_short_line,
    every_param_has_a_description,
    the_params_refuse_unknown_keys_and_cannot_be_changed,
    the_params_survive_json,
    build_takes_params_and_keywords_of_its_kind,
)

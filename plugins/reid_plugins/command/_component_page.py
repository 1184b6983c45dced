"""Everything that is known of one component, as lines for a terminal."""

from __future__ import annotations

import dataclasses
import json
import re
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import PydanticUndefinedAnnotation, PydanticUserError, ValidationError

from reid_core import Component
from reid_core.catalog import Offer
from reid_core.hookspecs import build_keywords, contract_of
from reid_plugins.command._params_example import example_of
from reid_plugins.command._params_table import params_lines, unfolded

SECTIONS = {
    **dict.fromkeys(("backbone", "sampler", "schedule"), "{entry}"),
    **dict.fromkeys(("head", "loss", "objective", "augmentation"), "[{entry}]"),
    **dict.fromkeys(("callback", "logger"), "[{entry}]"),
    "evaluator": "[{entry}]",
    "dataset": '{{"train": [{entry}]}}',
    "distance": '[{{"name": "market_evaluate", "distance": {entry}}}]',
    "postprocess": '[{{"name": "market_evaluate", "postprocess": [{entry}]}}]',
}
"""What stands in a section of params.json around an entry of a kind."""

KEYS = {"evaluator": "evaluation", "distance": "evaluation", "postprocess": "evaluation"}
KEYS |= {"dataset": "data"}
"""The section of a kind, where it is not called after it."""


def page(offer: Offer) -> Iterator[str]:
    """Yield what a component is, takes, gives and declares, and how params.json names it."""
    component = offer.component
    yield f"{offer.kind} '{component.name}' of {offer.distribution} {offer.version}"
    yield f"  {component.summary}"
    if component.reference:
        yield f"  Reference: {component.reference}"
    yield ""
    schema = schema_of(component)
    if schema is None:
        yield "params: its model cannot be described; the plugin must be corrected"
    else:
        yield "params:" if schema.get("properties") else "params: none"
        yield from params_lines(schema)
    yield ""
    yield from _building(offer)
    yield from _declarations(component)
    if offer.kind in SECTIONS and schema is not None:
        yield ""
        yield "in params.json:"
        yield from textwrap.indent(_printed(example_section(offer, schema)), "  ").splitlines()


def example_section(offer: Offer, schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a section of params.json that names a component with all of its params."""
    params = example_of(schema)
    try:
        offer.component.params.model_validate(params)
    except ValidationError:  # what it requires stands in no field by itself
        params = example_of(schema, fuller=True)
    entry = json.dumps({"name": offer.component.name, **({"params": params} if params else {})})
    section = json.loads(SECTIONS[offer.kind].format(entry=entry))
    return {KEYS.get(offer.kind, offer.kind): section}


def schema_of(component: Component) -> dict[str, Any] | None:
    """Return the schema of the params; None if the plugin's model has none."""
    try:
        return unfolded(component.params)
    except (PydanticUserError, PydanticUndefinedAnnotation):
        return None


def _building(offer: Offer) -> Iterator[str]:
    """Yield what ``build`` may ask for and must return."""
    keywords = ", ".join(sorted(build_keywords(offer.kind)))
    yield f"build(params{', *, ' if keywords else ''}{keywords}), as far as it asks for them"
    contract = contract_of(offer.kind)
    home = "reid_core.contracts"
    if offer.kind in ("distance", "postprocess"):
        home = "reid_evaluate.distances.comparison"
    yield f"  returns: {contract} ({home})"


def _declarations(component: Component) -> Iterator[str]:
    """Yield what the component declares beyond name, params and words."""
    common = {field.name for field in dataclasses.fields(Component)}
    own = [f.name for f in dataclasses.fields(component) if f.name not in common]
    if own:
        yield "declares:"
    for name in own:
        yield f"  {name}: {_declared(getattr(component, name))}"


def _declared(value: Any) -> str:
    if callable(value):
        return "depends on its params"
    if isinstance(value, frozenset | tuple):
        words = sorted(value) if isinstance(value, frozenset) else value
        return ", ".join(map(str, words)) or "nothing"
    return str(value) if isinstance(value, str) else json.dumps(value)


def _printed(section: Mapping[str, Any]) -> str:
    """Return JSON in which what is short stands on one line."""
    flat = json.dumps(section)
    if len(flat) <= 90:
        return flat
    lists_on_one_line = re.sub(
        r"\[\s+([^\[\]{}]*?)\s+\]",
        lambda found: f"[{' '.join(found[1].split())}]",
        json.dumps(section, indent=2),
    )
    return lists_on_one_line

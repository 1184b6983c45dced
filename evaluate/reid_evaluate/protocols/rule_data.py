"""Junk rules as data, by a name or by columns, and what they do in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

NamedRule = Literal["cross_camera", "exclude_self", "none"]

CAMID = "camid"
"""The column that all images have; a negative camera is unknown."""


@dataclass(frozen=True)
class ColumnRule:
    """A junk rule by columns: it removes images of the query's pid.

    Such an image is removed if in one of the columns ``same`` it has the query's value, or in one
    of ``different`` it has another one; and if its value or the query's is unknown in any column
    of either.

    Attributes:
        same: Columns that must differ between a query and its matches, e.g. ``("camid",)``.
        different: Columns that must agree.
    """

    same: tuple[str, ...] = ()
    different: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """Return the columns that it looks at, each once."""
        return tuple(dict.fromkeys((*self.same, *self.different)))


JunkRule = NamedRule | ColumnRule

JUNK_RULES: dict[str, NamedRule] = {
    "market1501": "cross_camera",
    "cuhk03": "cross_camera",
    "no_camera": "exclude_self",
}
"""The junk rule of each protocol."""

WORDS: dict[NamedRule, str] = {
    "cross_camera": "images of the query's pid are removed unless both cameras are known and "
    "differ; images flagged junk are removed",
    "exclude_self": "the image with the query's name is removed, a copy under another name is "
    "not; images flagged junk are removed",
    "none": "only images flagged junk are removed",
}
"""What each rule with a name does, for people."""


def rule_of(data: str | Mapping[str, Any]) -> JunkRule:
    """Return a rule from what a protocol has of it; the inverse of ``data_of``.

    Raises:
        ValueError: No rule has this name.
    """
    if isinstance(data, Mapping):
        return ColumnRule(tuple(data["same"]), tuple(data["different"]))
    for name in get_args(NamedRule):
        if name == data:
            found: NamedRule = name
            return found
    raise ValueError(f"unknown junk rule '{data}' (known: {', '.join(get_args(NamedRule))})")


def data_of(rule: JunkRule) -> str | dict[str, list[str]]:
    """Return a rule as JSON values: its name, or its columns."""
    if isinstance(rule, ColumnRule):
        return {"same": list(rule.same), "different": list(rule.different)}
    return rule


def name_of(rule: JunkRule) -> str:
    """Return a rule in a few words: its name, or ``same camid, clothes``."""
    if not isinstance(rule, ColumnRule):
        return rule
    parts = ("same", rule.same), ("different", rule.different)
    return " and ".join(f"{word} {', '.join(names)}" for word, names in parts if names)


def words_of(rule: JunkRule) -> str:
    """Return what a rule does in words."""
    if not isinstance(rule, ColumnRule):
        return WORDS[rule]
    parts = (rule.same, "differ", "differs"), (rule.different, "agree", "agrees")
    needed = [
        f"{_listed(names)} {'are' if len(names) > 1 else 'is'} known on both sides and "
        f"{'all ' + many if len(names) > 1 else one}"
        for names, many, one in parts
        if names
    ]
    return (
        f"images of the query's pid are removed unless {' and '.join(needed)}; images flagged "
        "junk are removed"
    )


def columns_of(rule: JunkRule) -> tuple[str, ...]:
    """Return the columns that a rule looks at beside camera and name."""
    return tuple(c for c in rule.columns if c != CAMID) if isinstance(rule, ColumnRule) else ()


def by_camera(rule: JunkRule) -> bool:
    """Tell whether a rule removes images whose camera, or the query's, is unknown."""
    return CAMID in rule.columns if isinstance(rule, ColumnRule) else rule == "cross_camera"


def _listed(names: tuple[str, ...]) -> str:
    """Join names as in a sentence."""
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last

"""Read a file in the predecessor's vocabulary against a table of its keys."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reid_core.contracts import Translation
from reid_core.errors import ParamsError, did_you_mean

Json = dict[str, Any]


# ---- what a value may be ----------------------------------------------------------------


@dataclass(frozen=True)
class Kind:
    """A sort of value: its words in messages, its test, and a value to go on with.

    Attributes:
        text: What a message says was expected.
        fits: Whether a JSON value is of this sort.
        stand_in: Used in place of a wrong value, so that the rest of the file is checked too.
    """

    text: str
    fits: Callable[[Any], bool]
    stand_in: Any


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_margin_list(value: Any) -> bool:
    if not isinstance(value, list) or not value:
        return False
    return all(_is_number(item) and 0 <= item <= 2 for item in value)


FLAG = Kind("true or false", lambda v: isinstance(v, bool), False)
TEXT = Kind("a string", lambda v: isinstance(v, str), "")
OPTIONAL_TEXT = Kind("a string or null", lambda v: v is None or isinstance(v, str), None)
COUNT = Kind("a whole number >= 0", lambda v: _is_int(v) and v >= 0, 0)
OPTIONAL_COUNT = Kind(
    "a whole number >= 0 or null", lambda v: v is None or (_is_int(v) and v >= 0), None
)
POSITIVE = Kind("a whole number >= 1", lambda v: _is_int(v) and v >= 1, 1)
NUMBER = Kind("a number >= 0", lambda v: _is_number(v) and v >= 0, 0)
FACTOR = Kind("a number above 0, at most 1", lambda v: _is_number(v) and 0 < v <= 1, 1)
COUNTS = Kind(
    "a list of whole numbers >= 0",
    lambda v: isinstance(v, list) and all(_is_int(item) and item >= 0 for item in v),
    [0],
)
MARGINS = Kind(
    "0 or a list of margins from 0 to 2 such as [0.35]",
    lambda v: (_is_number(v) and v == 0) or _is_margin_list(v),
    0,
)
TRIPLET_MARGIN = Kind(
    'a number >= 0 or "soft_margin"',
    lambda v: v == "soft_margin" or (_is_number(v) and v >= 0),
    0,
)
OBJECT = Kind("an object", lambda v: isinstance(v, dict), {})
ANYTHING = Kind("a value", lambda v: True, None)


# ---- keys -------------------------------------------------------------------------------

REQUIRED = object()
"""Default of a key without which the predecessor could not run, or whose default is unknown."""


@dataclass(frozen=True)
class Key:
    """One key.

    Attributes:
        kind: What its value may be.
        default: What the predecessor took when the key was absent.
        only: The values that can be translated; empty: all.
        otherwise: What to do about another value than those.
        dead: Why the value has no effect; every given value is named in a note.
    """

    kind: Kind
    default: Any = REQUIRED
    only: tuple[Any, ...] = ()
    otherwise: str = ""
    dead: str = ""


def dead(kind: Kind, why: str) -> Key:
    """Return a key whose value has no effect."""
    return Key(kind, None, dead=why)


class Reading:
    """The values of one file by dotted key, and everything there is to say about them.

    Attributes:
        notes: ``"key: what happened"`` lines: one for every key that has no effect or another
            meaning, or that says what the predecessor had in its source.
        problems: ``"key: what is wrong; what to do"`` lines.
    """

    def __init__(
        self,
        raw: Mapping[str, Any],
        keys: Mapping[str, Key],
        notes: Sequence[str] = (),
        problems: Sequence[str] = (),
    ) -> None:
        """Read a file.

        Args:
            raw: The JSON object; it is not changed.
            keys: The table of all keys, dotted.
            notes: What there is to say already.
            problems: What is known to be wrong already.
        """
        self.notes = list(notes)
        self.problems = list(problems)
        self._wrong: set[str] = set()
        self._given = dict(self._flat(raw, keys))
        self._values = {name: self._value(name, key) for name, key in keys.items()}

    def __getitem__(self, name: str) -> Any:
        """Return a key's value, or the predecessor's default."""
        return self._values[name]

    def is_given(self, name: str) -> bool:
        """Return whether the file has the key."""
        return name in self._given

    def note(self, name: str, text: str) -> None:
        """Say what became of a key."""
        self.notes.append(f"{name}: {text}")

    def drop(self, name: str, why: str) -> None:
        """Say that a key of the file has no effect, unless the file does not have it."""
        if name in self._given:
            self.note(name, f"{json.dumps(self._given[name])} dropped; {why}")

    def refuse(self, name: str, text: str, *others: str) -> None:
        """Report a problem, unless it may only follow from one that is reported already.

        Args:
            name: The key that the message begins with.
            text: What is wrong and what to do.
            *others: Further keys that the problem follows from.
        """
        if not self._wrong & {name, *others}:
            self._problem(name, text)

    def translation(self, params: Callable[[Reading], Json], source: str) -> Translation:
        """Return what ``params`` makes of the values.

        Raises:
            ParamsError: With all problems of the file.
        """
        translated = params(self)
        if self.problems:
            raise ParamsError(source, self.problems)
        # A copy, because it holds parts of the file and of our tables.
        return Translation(copy.deepcopy(translated), tuple(self.notes))

    def _problem(self, name: str, text: str) -> None:
        self._wrong.add(name)
        self.problems.append(f"{name}: {text}")

    def _flat(
        self,
        raw: Mapping[str, Any],
        keys: Mapping[str, Key],
        section: str = "",
    ) -> Iterator[tuple[str, Any]]:
        """Yield the known keys of an object with their values; report the others."""
        siblings = {name.removeprefix(section).split(".")[0] for name in _below(keys, section)}
        for word, value in raw.items():
            name = section + word
            if name in keys:
                yield name, value
            elif word not in siblings:
                self._problem(name, f"unknown key{did_you_mean(word, siblings)}")
            elif isinstance(value, dict):
                yield from self._flat(value, keys, f"{name}.")
            else:
                self._problem(name, f"expected an object, got {json.dumps(value)}")
                # What is missing below follows from this.
                self._wrong.update(_below(keys, f"{name}."))

    def _value(self, name: str, key: Key) -> Any:
        """Check one key and return its value, or a stand-in when it is wrong."""
        stand_in = key.only[0] if key.only else key.kind.stand_in
        if name not in self._given:
            if key.default is REQUIRED:
                self.refuse(name, f"required, but missing; expected {key.kind.text}")
                return stand_in
            value = key.default
        elif not key.kind.fits(self._given[name]):
            got = json.dumps(self._given[name])
            self.refuse(name, f"expected {key.kind.text}, got {got}")
            return stand_in
        else:
            value = self._given[name]
        if key.dead:
            self.drop(name, key.dead)
        elif key.only and value not in key.only:
            self._refuse_other(name, key, value)
            return stand_in
        return value

    def _refuse_other(self, name: str, key: Key, value: Any) -> None:
        """Report a value of the right kind that cannot be translated."""
        choices = " or ".join(json.dumps(choice) for choice in key.only)
        got = "no value, which counts as " if name not in self._given else ""
        text = f"expected {choices}, got {got}{json.dumps(value)}; {key.otherwise}"
        self.refuse(name, text)


def _below(keys: Mapping[str, Key], section: str) -> list[str]:
    return [name for name in keys if name.startswith(section)]

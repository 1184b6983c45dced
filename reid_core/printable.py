"""Text from anywhere as one line that a terminal shows and does not obey.

Names of images, columns, plugins and paths, and messages of plugins, come from strangers: an escape
sequence in one of them would recolour or rewrite the screen, a line break forge a line of ours, an
override of the writing direction show a name backwards.
"""

from __future__ import annotations

import re

LONGEST_WORD = 500
"""Characters of a word (a name, a path) that a line shows."""

LONGEST_LINE = 20_000
"""Characters of a line."""

_OBEYED = re.compile(
    "[\x00-\x08\x0a-\x1f\x7f-\x9f"  # control characters, line breaks and escapes among them
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # marks and overrides of the direction
    "\u2028\u2029"  # line and paragraph separators
    "\ud800-\udfff]"  # bytes of file names that are no text
)
_LONG_WORD = re.compile(rf"\S{{{LONGEST_WORD + 1},}}")


def one_line(text: str) -> str:
    r"""Return the text with ``\x1b``, ``\n`` and the like spelt out, and long words shortened."""
    text = _OBEYED.sub(_spelt, text)
    if len(text) > LONGEST_WORD:
        text = _LONG_WORD.sub(lambda found: _shortened(found.group(), LONGEST_WORD), text)
    return _shortened(text, LONGEST_LINE) if len(text) > LONGEST_LINE else text


def lines(text: str) -> str:
    """Return text that has several lines by intent; each of them is made one line."""
    return "\n".join(map(one_line, text.split("\n")))


def encodable(text: str, encoding: str | None) -> str:
    r"""Return the text with ``\u`` escapes for what an encoding lacks; None: UTF-8."""
    encoding = encoding or "utf-8"
    try:
        return text.encode(encoding, "backslashreplace").decode(encoding)
    except LookupError:
        return text.encode("ascii", "backslashreplace").decode("ascii")


def _spelt(found: re.Match[str]) -> str:
    return found.group().encode("unicode_escape").decode("ascii")


def _shortened(text: str, length: int) -> str:
    """Return beginning and end of a text, with its length between them."""
    return f"{text[: length // 2]}...({len(text)} characters)...{text[-length // 4 :]}"

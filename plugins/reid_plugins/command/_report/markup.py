"""HTML from Python values: whatever is not marked as HTML is escaped."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable

_VOID = frozenset({"img", "input", "meta"})
"""Elements without an end tag."""

_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
"""Characters that a file name may have and an HTML file may not."""


class Markup(str):
    """Text that is HTML already. Adding to it gives an ordinary string, which is escaped."""

    __slots__ = ()


def escaped(text: str) -> Markup:
    """Return a text as HTML, also fit for an attribute; HTML is returned as it is.

    >>> escaped("<b> & 'c'")
    '&lt;b&gt; &amp; &#x27;c&#x27;'
    """
    if isinstance(text, Markup):
        return text
    return Markup(html.escape(_UNPRINTABLE.sub("\ufffd", text)))


def join(parts: Iterable[str], between: str = "") -> Markup:
    """Return the parts as one piece of HTML, each escaped unless it is HTML."""
    return Markup(escaped(between).join(escaped(part) for part in parts))


def element(name: str, /, *children: str, **attributes: object) -> Markup:
    """Return an HTML or SVG element.

    Args:
        name: Of the element; it is not escaped.
        children: What it contains; escaped unless it is ``Markup``.
        attributes: By name; ``_`` stands for ``-`` and is dropped at the end, so that ``class_``
            and ``aria_label`` can be given; an attribute that is None is left out.

    >>> element("a", "x < y", href="#top", class_="far", title=None)
    '<a href="#top" class="far">x &lt; y</a>'
    """
    given = join(
        Markup(f' {key.rstrip("_").replace("_", "-")}="{escaped(str(value))}"')
        for key, value in attributes.items()
        if value is not None
    )
    start = f"<{name}{given}>"
    return Markup(start if name in _VOID else f"{start}{join(children)}</{name}>")

"""What can be said of a dataset's listing before its images are read."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from reid_core.boundary import Origin
from reid_core.contracts import SPLITS, ImageRecord, Listing
from reid_core.errors import ReidError, counted, shortened
from reid_core.problems import raise_problems
from reid_core.storage.extras import KINDS
from reid_core.storage.links import LinkRule
from reid_core.storage.store import FACTS

NOT_UTF8 = "is no UTF-8 text, and weights are to hold it; rename the folder, or correct the list"
"""What is wrong with a name of another encoding, after what it is."""

ONE_PROBLEM = "image cannot be used"
"""What a single problem of a listing is."""

LONGEST_VALUE = 200
"""Characters of a text in a column."""

NAME = re.compile("[A-Za-z_][A-Za-z0-9_]{0,63}")
"""What a column or an extra may be called."""

TAKEN = {*FACTS, "source", "columns", "extras"}
"""What no column may be called, because there is another thing of that name."""


def check_form(listing: Listing, origin: Origin) -> None:
    """Check that everything in a listing is of its type, as all that is done with it expects.

    Raises:
        ReidError: Something is not, or a name leads out of the folder; with all such images.
    """
    root: Any = listing.root
    if root is not None and not isinstance(root, Path):
        raise origin.fault(f"returned a Listing: its root is {root!r}; expected a Path or None")
    for what in ("published", "extras"):
        if not isinstance(found := getattr(listing, what), Mapping):
            raise origin.fault(f"returned a Listing: its {what} is {found!r}; expected a dict")
    for what in ("skipped", "warnings"):
        found = getattr(listing, what)
        if not isinstance(found, list | tuple) or not all(isinstance(t, str) for t in found):
            raise origin.fault(
                f"returned a Listing: its {what} is {shortened(repr(found))}; expected a list of "
                "strings"
            )
    for split, numbers in listing.published.items():
        is_pair = isinstance(numbers, tuple | list) and [type(n) for n in numbers] == [int, int]
        if not is_pair:
            raise origin.fault(
                f"returned a Listing: its published[{split!r}] is {numbers!r}; expected "
                "(identities, images)"
            )
    problems = [f"{r.name}: {text}" for r in listing.records for text in _form_problems(r)]
    raise_problems(problems, "images cannot be used", f"{origin}: ", one=ONE_PROBLEM)


def check_listing(
    listing: Listing, origin: Origin | None = None, *, follow_links: bool = False
) -> None:
    """Check what can be checked without reading an image, of a listing of the right form.

    Args:
        listing: The images.
        origin: Where the dataset comes from, for the message.
        follow_links: Whether links of the root's owner may lead out of it; see ``links``.

    Raises:
        ReidError: With all problems: no images, an unknown split, a repeated name, an empty
            identity, a negative camera other than -1, a column that cannot be kept, an extra
            that is not declared, or a file outside the root.
    """
    whose = f"{origin}: " if origin else ""
    if not listing.records:
        raise ReidError(f"{whose}the dataset has no images")
    problems = [*_name_problems(listing)]
    seen: set[tuple[str, str]] = set()
    types: dict[str, tuple[type, str]] = {}
    rule = LinkRule(listing.root, follow_links=follow_links) if listing.root else None
    for record in listing.records:
        found = [*_fact_problems(record), *_column_problems(record.columns, record.name, types)]
        if (record.split, record.name) in seen:
            found.append(f"twice in split '{record.split}'")
        seen.add((record.split, record.name))
        found += _file_problems(record, listing, rule)
        problems += [f"{record.name}: {text}" for text in found]
    raise_problems(problems, "images cannot be used", whose, one=ONE_PROBLEM)


def published_differences(listing: Listing) -> list[str]:
    """Compare the listing with the dataset's published numbers; one line per difference."""
    differences = []
    for split, expected in listing.published.items():
        records = [r for r in listing.records if r.split == split]
        real = {r.pid for r in records if not (r.junk or r.distractor or r.pid is None)}
        if (len(real), len(records)) != tuple(expected):
            differences.append(
                f"{split}: {counted(len(real), 'identity', 'identities')} in "
                f"{counted(len(records), 'image')}; "
                f"published are {expected[0]} in {expected[1]}"
            )
    return differences


def _name_problems(listing: Listing) -> Iterator[str]:
    """Yield what is wrong with the names of columns and extras, each once."""
    columns = dict.fromkeys(name for record in listing.records for name in record.columns)
    for what, names in (("column", columns), ("extra", listing.extras)):
        for name in names:
            if not isinstance(name, str) or not NAME.fullmatch(name):
                yield (
                    f"{what} {shortened(repr(name))}: a name has letters, digits and '_', no digit "
                    "first, at most 64 in all"
                )
    for name in sorted(TAKEN & columns.keys()):
        yield f"column '{name}': there is another thing of that name; call it otherwise"
    for name, kind in listing.extras.items():
        if kind not in KINDS:
            yield f"extra '{name}': {kind!r} is none of {', '.join(KINDS)}"


def _form_problems(record: ImageRecord) -> Iterator[str]:
    """Yield what of a record is not even of its type."""
    name: Any = record.name
    if not isinstance(name, str) or not name or "\0" in name:
        yield f"name is {shortened(repr(name))}; expected a string, not empty"
    elif name.startswith("/") or ".." in name.split("/"):
        yield "name leads out of the data folder; expected a path relative to it, without '..'"
    if not isinstance(record.split, str):
        yield f"split is {shortened(repr(record.split))}; expected a string"
    for what in ("junk", "distractor"):
        if type(value := getattr(record, what)) is not bool:
            yield f"{what} is {shortened(repr(value))}; expected True or False"
    for what in ("columns", "extras"):
        if not isinstance(value := getattr(record, what), Mapping):
            yield f"{what} is a {type(value).__name__}; expected values by name"
    extras = record.extras if isinstance(record.extras, Mapping) else {}
    for what, source in {"source": record.source, **extras}.items():
        if not isinstance(source, Path) and not callable(source):
            yield (
                f"{what} is {shortened(repr(source))}; expected a Path or a function that returns "
                "bytes"
            )


def _fact_problems(record: ImageRecord) -> Iterator[str]:
    if record.split not in SPLITS:
        yield f"unknown split '{record.split}' (known: {', '.join(SPLITS)})"
    if record.pid == "":
        yield "pid is empty; write None for an image whose identity is not known"
    elif record.pid is not None and not isinstance(record.pid, str):
        yield f"pid is {shortened(repr(record.pid))}; expected a string or None"
    elif record.pid is not None and "\0" in record.pid:
        yield "pid has a character of number 0"
    elif record.pid is not None and not _is_utf8(record.pid):
        yield f"the pid {NOT_UTF8}"
    if type(record.camid) is not int:
        yield f"camid is {shortened(repr(record.camid))}; expected a whole number (int)"
    elif record.camid < -1:
        yield f"camid {record.camid}; cameras count from 0, -1 is unknown"


def _is_utf8(text: str) -> bool:
    """Tell whether a text can stand in a file; a file's name of another encoding cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _column_problems(
    columns: Mapping[str, object], image: str, types: dict[str, tuple[type, str]]
) -> Iterator[str]:
    """Yield what is wrong with an image's values.

    Args:
        columns: By name.
        image: Its name.
        types: Of the columns so far, with the image that had the first value; it is added to.
    """
    for name, value in columns.items():
        given = type(value)
        if given not in (int, str):
            yield (
                f"column '{name}' is {shortened(repr(value))}, a {given.__name__}; expected a "
                "whole number (int) or a str"
            )
            continue
        expected, first = types.setdefault(name, (given, image))
        if given is not expected:
            yield (
                f"column '{name}' is {shortened(repr(value))}, and that of '{first}' is of type "
                f"{expected.__name__}; a column has one type in a dataset"
            )
        elif isinstance(value, int) and not -(2**63) <= value < 2**63:
            yield f"column '{name}' is {shortened(str(value))}; it must fit into 64 bits"
        elif isinstance(value, str) and len(value) > LONGEST_VALUE:
            yield (
                f"column '{name}' has {len(value)} characters; at most {LONGEST_VALUE} are kept "
                "(longer texts are extras)"
            )
        elif isinstance(value, str) and "\0" in value:
            yield f"column '{name}' has a character of number 0"
        elif isinstance(value, str) and not _is_utf8(value):
            yield f"column '{name}' {NOT_UTF8}"


def _file_problems(record: ImageRecord, listing: Listing, rule: LinkRule | None) -> Iterator[str]:
    if rule and isinstance(record.source, Path) and (problem := rule.problem(record.source)):
        yield problem
    for name, source in record.extras.items():
        if name not in listing.extras:
            yield f"its '{name}' is not among the listing's extras; say there what it is"
        if rule and isinstance(source, Path) and (problem := rule.problem(source)):
            yield f"its '{name}' {problem}"

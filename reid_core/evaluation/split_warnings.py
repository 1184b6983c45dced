"""What contradicts itself in the labels of the splits that an evaluator reads."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from reid_core.contracts import Features, Scores
from reid_core.errors import counted
from reid_core.printable import one_line

SHOWN = 3
"""Names that a warning shows."""

WARNING = "warning"
"""The card's entry, of one line for each warning."""


def split_warnings(splits: Mapping[str, Features]) -> list[str]:
    """Return a line for each kind of contradiction between query and gallery.

    Args:
        splits: Labels of the splits by name; their values are not looked at.

    Returns:
        Nothing where there is no ``query`` or no ``gallery``.
    """
    if not splits.keys() >= {"query", "gallery"}:
        return []
    query, gallery = (_persons(splits[name]) for name in ("query", "gallery"))
    wanted = np.asarray(query.pids, dtype=np.str_)
    there = np.unique(np.asarray(gallery.pids, dtype=np.str_))
    unmatched = (wanted == "") | ~np.isin(wanted, there)
    lines = []
    if unmatched.any():
        lines.append(_without_match(query.rows(np.flatnonzero(unmatched)), len(wanted), there))
    alike = spelt_twice([*np.unique(wanted[~unmatched]), *there])
    if alike:
        lines.append(f"query and gallery spell {alike}")
    return lines + _one_camera(query, gallery)


def camera_warnings(splits: Mapping[str, Features], needing: Iterable[str]) -> list[str]:
    """Return a line if images have no camera in splits where a match needs one.

    Args:
        splits: Labels of the splits by name; their values are not looked at.
        needing: Names of those splits.
    """
    parts = []
    for name in needing:
        persons = _persons(splits[name])
        without = np.flatnonzero(np.asarray(persons.camids) < 0)
        if len(without):
            names = such_as(np.asarray(persons.names)[without])
            parts.append(f"{share(len(without), len(persons))} images of {name} {names}")
    if not parts:
        return []
    return [
        f"no camera is known of {' and '.join(parts)}: the junk rule removes their matches, "
        "because their cameras are not known to differ; give the cameras, or score without them "
        "(protocol 'no_camera' of market_evaluate)"
    ]


def with_warnings(scores: Scores, lines: Iterable[str]) -> Scores:
    """Return scores whose card has further warnings, each on a line of its own.

    A line has names of strangers: what would break it, or command a terminal, is spelt out.
    """
    own, further = scores.card.get(WARNING), dict.fromkeys(map(one_line, lines))
    every = [*([str(own)] if own else []), *further]
    return replace(scores, card={**scores.card, WARNING: "\n".join(every)}) if further else scores


def spelt_twice(pids: Iterable[str]) -> str:
    """Say which identities seem to be spelt in several ways; empty: none.

    Only numbers are: the case of letters and zeros within names may be what tells them apart.
    """
    groups: dict[str, set[str]] = {}
    for pid in pids:
        if bare(pid).isdecimal():
            groups.setdefault(bare(pid), set()).add(str(pid))
    several = [sorted(group) for group in groups.values() if len(group) > 1]
    if not several:
        return ""
    shown = ", ".join(" and ".join(f"'{pid}'" for pid in group) for group in several[:SHOWN])
    what = "one identity" if len(several) == 1 else f"{len(several)} identities"
    more = ", ..." if len(several) > SHOWN else ""
    return (
        f"{what} in several ways, it seems: {shown}{more}; each spelling counts as a person of its "
        "own"
    )


def bare(pid: str) -> str:
    """Return an identity without what spreadsheets change: zeros before a number, blanks, case.

    >>> bare("0007") == bare(" 7") == bare("7.0")
    True
    """
    text = "".join(unicodedata.normalize("NFKC", str(pid)).casefold().split())
    text = re.sub(r"(?<=[0-9])\.0+$", "", text)
    return re.sub(r"(?<![0-9])0+(?=[0-9])", "", text)


def share(count: int, of: int) -> str:
    """Return ``3 of 4 (75 %)``."""
    return f"{count} of {of} ({100 * count / of:.3g} %)"


def such_as(names: Sequence[str] | np.ndarray) -> str:
    """Return the first of some names for a message, in brackets."""
    shown = ", ".join(f"'{name}'" for name in names[:SHOWN])
    return f"({shown}{', ...' if len(names) > SHOWN else ''})"


def _persons(features: Features) -> Features:
    """Return the images that are persons to be found: neither junk nor distractor."""
    return features.rows(
        np.flatnonzero(~(np.asarray(features.junk) | np.asarray(features.distractor)))
    )


def _without_match(queries: Features, of: int, gallery: np.ndarray) -> str:
    """Say how many queries have nobody to find, and why, as far as their spelling tells."""
    spellings = {bare(pid): pid for pid in gallery}
    pids = [str(pid) for pid in queries.pids]
    respelt = [pid for pid in pids if pid and bare(pid) in spellings]
    text = (
        f"{share(len(pids), of)} queries have no image of their person in the gallery "
        f"{such_as(queries.names)}"
    )
    if respelt:
        first = respelt[0]
        text += (
            f"; {len(respelt)} of them would, were pids compared without leading zeros, blanks and "
            f"case: '{first}' in query and '{spellings[bare(first)]}' in gallery; spell them alike"
        )
    if nameless := pids.count(""):
        text += f"; {counted(nameless, 'has', 'have')} no identity"
    return text


def _one_camera(query: Features, gallery: Features) -> list[str]:
    """Say that all images are of one camera, where they are."""
    camids = np.unique(np.concatenate([query.camids, gallery.camids]))
    if len(camids) != 1 or camids[0] < 0:
        return []
    return [
        f"all of {counted(len(query), 'query', 'queries')} and {counted(len(gallery), 'image')} of "
        f"persons in the gallery are of camera {camids[0]}: nobody is looked for under another "
        "camera"
    ]

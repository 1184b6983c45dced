"""Which gallery images a query is scored on: the junk rules of published protocols.

An image of the gallery is a match, wrong or junk for a query. Junk is removed before ranks are
counted. Every rule is a function of what is known of the images, not of their features.

Shapes: Q queries, G gallery images, N images of a set, n pairs.
"""

from __future__ import annotations

from typing import Any, Literal, Protocol, get_args

import numpy as np
import numpy.typing as npt

JunkRule = Literal["cross_camera", "exclude_self", "none"]

JUNK_RULES: dict[str, JunkRule] = {
    "market1501": "cross_camera",
    "cuhk03": "cross_camera",
    "no_camera": "exclude_self",
}
"""The junk rule of each protocol."""

WORDS: dict[JunkRule, str] = {
    "cross_camera": "images of the query's pid are removed unless both cameras are known and "
    "differ; images flagged junk are removed",
    "exclude_self": "the image with the query's name is removed, a copy under another name is "
    "not; images flagged junk are removed",
    "none": "only images flagged junk are removed",
}
"""What each rule does, for people."""

WRONG, MATCH, JUNK = 0, 1, 2
"""Flags of a gallery image with respect to one query."""

Flags = npt.NDArray[np.int8]
Integers = npt.NDArray[np.int64]


class Labelled(Protocol):
    """What the rules look at: ``ImageSet``, or anything else with these arrays of N images."""

    @property
    def pids(self) -> npt.NDArray[Any]:
        """``(N,)`` strings."""

    @property
    def camids(self) -> npt.NDArray[Any]:
        """``(N,)`` integers, negative for an unknown camera."""

    @property
    def names(self) -> npt.NDArray[Any]:
        """``(N,)`` strings; an image has the same name in both sets."""

    @property
    def junk(self) -> npt.NDArray[Any]:
        """``(N,)`` bool; in the gallery: removed for every query."""

    @property
    def distractor(self) -> npt.NDArray[Any]:
        """``(N,)`` bool; in the gallery: wrong for every query."""


class Pairing:
    """Says which gallery images are wrong, matches or junk for which query.

    Rules for junk, which is removed before ranks are counted:
    ``"cross_camera"``: images of the query's pid unless both cameras are known and differ;
    ``"exclude_self"``: images with the query's name, which may be of any pid; a copy under
    another name stays;
    ``"none"``: nothing. Under every rule, gallery images flagged junk are removed, and
    those flagged distractor are wrong even if their pid is the query's.
    """

    def __init__(self, query: Labelled, gallery: Labelled, rule: JunkRule) -> None:
        """Find who is like whom.

        Raises:
            ValueError: The rule is unknown.
        """
        if rule not in get_args(JunkRule):
            raise ValueError(f"unknown junk rule '{rule}' (known: {', '.join(get_args(JunkRule))})")
        self._rule = rule
        self._camids = query.camids, gallery.camids
        self._distractor, self._junk = gallery.distractor, gallery.junk
        self._pids = _SameString(query.pids, gallery.pids)
        self._names = _SameString(query.names, gallery.names) if rule == "exclude_self" else None

    def flags(self, query: Integers, image: Integers) -> Flags:
        """Return the flag of each pair; the two arrays broadcast."""
        same = self._pids.equal(query, image) & ~self._distractor[image]
        junk = self._junk[image] | np.zeros_like(same)
        if self._rule == "cross_camera":
            first, second = self._camids[0][query], self._camids[1][image]
            junk = junk | (same & ((first < 0) | (second < 0) | (first == second)))
        elif self._names is not None:
            junk = junk | self._names.equal(query, image)
        return np.where(junk, JUNK, np.where(same, MATCH, WRONG)).astype(np.int8)

    def special(self, start: int, stop: int) -> tuple[Integers, Integers, Flags]:
        """Return the pairs of queries start to stop that are matches or a query's own junk.

        Returns:
            Query, gallery image and flag of each pair ``(n,)``, by ascending query among the
            matches; pairs that are junk may appear twice.
        """
        query, image = self._pids.pairs(start, stop)
        if self._names is not None:
            more = self._names.pairs(start, stop)
            others = ~self._pids.equal(*more)  # the others are there already
            query = np.concatenate([query, more[0][others]])
            image = np.concatenate([image, more[1][others]])
        flags = self.flags(query, image)
        kept = flags != WRONG
        return query[kept], image[kept], flags[kept]


class _SameString:
    """Which gallery images share a string with a query."""

    def __init__(self, query: npt.NDArray[Any], gallery: npt.NDArray[Any]) -> None:
        codes: dict[str, int] = {}
        self._of_query, self._of_gallery = (
            np.array([codes.setdefault(text, len(codes)) for text in side.tolist()], dtype=np.int64)
            for side in (query, gallery)
        )
        self._positions = np.argsort(self._of_gallery, kind="stable")
        counts = np.bincount(self._of_gallery, minlength=len(codes))
        self._counts = counts[self._of_query]
        self._starts = (np.cumsum(counts) - counts)[self._of_query]

    def equal(self, query: Integers, image: Integers) -> npt.NDArray[np.bool_]:
        equal: npt.NDArray[np.bool_] = self._of_query[query] == self._of_gallery[image]
        return equal

    def pairs(self, start: int, stop: int) -> tuple[Integers, Integers]:
        """Return all pairs of queries start to stop with the images that share the string."""
        starts, counts = self._starts[start:stop], self._counts[start:stop]
        query = np.repeat(np.arange(start, stop), counts)
        before = np.cumsum(counts) - counts
        inside = np.arange(len(query)) - np.repeat(before, counts)
        return query, self._positions[np.repeat(starts, counts) + inside]

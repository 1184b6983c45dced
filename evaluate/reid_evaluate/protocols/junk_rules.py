"""Which gallery images a query is scored on: the junk rules of published protocols.

An image of the gallery is a match, wrong or junk for a query. Junk is removed before ranks are
counted. Every rule is a function of what is known of the images, not of their features.

Shapes: Q queries, G gallery images, N images of a set, n pairs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from reid_evaluate.protocols.rule_data import CAMID, ColumnRule, JunkRule, rule_of

WRONG, MATCH, JUNK = 0, 1, 2
"""Flags of a gallery image with respect to one query."""

_BY_COLUMNS = {"cross_camera": ColumnRule(same=(CAMID,))}
"""What rules with a name are as rules by columns."""

Flags = npt.NDArray[np.int8]
Integers = npt.NDArray[np.int64]


class Labelled(Protocol):
    """What the rules look at: ``ImageSet``, or anything else with these arrays of N images."""

    @property
    def pids(self) -> npt.NDArray[Any]:
        """``(N,)`` strings; ``""`` for an unknown identity, which is nobody's match."""

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

    @property
    def columns(self) -> Mapping[str, npt.NDArray[Any]]:
        """``(N,)`` whole numbers or strings by name; -1 and ``""`` unknown."""


class Pairing:
    """Says which gallery images are wrong, matches or junk for which query.

    Rules for junk, which is removed before ranks are counted:
    ``"cross_camera"``: images of the query's pid unless both cameras are known and differ;
    ``"exclude_self"``: images with the query's name, which may be of any pid; a copy under
    another name stays;
    ``"none"``: nothing; a ``ColumnRule``: as it says. Under every rule, gallery images flagged
    junk are removed, and those flagged distractor are wrong even if their pid is the query's.
    Images of the pid ``""``, which says that it is not known, are not of one person.
    """

    def __init__(self, query: Labelled, gallery: Labelled, rule: JunkRule) -> None:
        """Find who is like whom.

        Raises:
            ValueError: The rule is unknown, or looks at a column that is not there or has not
                one type.
        """
        if not isinstance(rule, ColumnRule):
            rule = rule_of(rule)
        columns = _BY_COLUMNS.get(rule) if isinstance(rule, str) else rule
        same, different = (columns.same, columns.different) if columns else ((), ())
        self._same = [_Column(name, query, gallery) for name in same]
        self._different = [_Column(name, query, gallery) for name in different]
        self._distractor, self._junk = gallery.distractor, gallery.junk
        self._pids = _SameString(query.pids, gallery.pids, unknown="")
        self._names = _SameString(query.names, gallery.names) if rule == "exclude_self" else None

    def flags(self, query: Integers, image: Integers) -> Flags:
        """Return the flag of each pair; the two arrays broadcast."""
        same = self._pids.equal(query, image) & ~self._distractor[image]
        junk = self._junk[image] | np.zeros_like(same)
        for column in self._same:
            unknown, equal = column.compared(query, image)
            junk = junk | (same & (unknown | equal))
        for column in self._different:
            unknown, equal = column.compared(query, image)
            junk = junk | (same & (unknown | ~equal))
        if self._names is not None:
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


class _Column:
    """A column of queries and gallery, as numbers that are negative where it is unknown."""

    def __init__(self, name: str, query: Labelled, gallery: Labelled) -> None:
        if name == CAMID:
            self._of_query, self._of_gallery = query.camids, gallery.camids
            return
        sides = {"query": query.columns, "gallery": gallery.columns}
        for split, columns in sides.items():
            if name not in columns:
                raise ValueError(
                    f"the junk rule looks at the column '{name}', which the {split} has not (it "
                    f"has: {', '.join(sorted((CAMID, *columns)))})"
                )
        values = np.asarray(query.columns[name]), np.asarray(gallery.columns[name])
        kinds = ["strings" if side.dtype.kind == "U" else "whole numbers" for side in values]
        if kinds[0] != kinds[1]:
            raise ValueError(
                f"the column '{name}' has {kinds[0]} in the query and {kinds[1]} in the gallery"
            )
        found, codes = np.unique(np.concatenate(values), return_inverse=True)
        codes = np.where(found == ("" if kinds[0] == "strings" else -1), -1, np.arange(len(found)))[
            codes
        ]
        self._of_query, self._of_gallery = codes[: len(values[0])], codes[len(values[0]) :]

    def compared(
        self, query: Integers, image: Integers
    ) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        """Return for each pair whether a value is unknown, and whether both are equal."""
        first, second = self._of_query[query], self._of_gallery[image]
        return (first < 0) | (second < 0), first == second


class _SameString:
    """Which gallery images share a string with a query; one that is unknown is shared by nobody."""

    def __init__(
        self, query: npt.NDArray[Any], gallery: npt.NDArray[Any], unknown: str | None = None
    ) -> None:
        codes: dict[object, int] = {}
        sides = [query.tolist(), [None if text == unknown else text for text in gallery.tolist()]]
        self._of_query, self._of_gallery = (
            np.array([codes.setdefault(text, len(codes)) for text in side], dtype=np.int64)
            for side in sides
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

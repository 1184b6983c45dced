"""Rank a gallery for every query and score the ranking: AP, mINP, CMC.

Only the ranks of the matches are needed, so distances are made for one block of queries at
a time and never stored as a whole. A match's rank is 1 + the matches before it + the kept
wrong images at its distance or nearer. The tie rule follows from "or nearer": a wrong image
at exactly the distance of a match ranks before it. That does not depend on the order of the
gallery, and a model that maps all images to one point scores as badly as it deserves.

Shapes: Q queries, G gallery images, D size of a feature, n matches of one query.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from reid_evaluate.distances import Distance, Floats, distance_blocks, finite_rows, zero_distances
from reid_evaluate.measures import (
    JUNK,
    MATCH,
    WRONG,
    Integers,
    average_precision,
    average_precision_trapezoid,
    inverse_negative_penalty,
    match_ranks,
)

JunkRule = Literal["cross_camera", "exclude_self", "none"]

Flags = npt.NDArray[np.int8]


@dataclass(frozen=True)
class ImageSet:
    """Features of a query or gallery split and what is known of each image.

    Attributes:
        features: ``(N, D)``, finite; used as float32, not normalised.
        pids: ``(N,)`` strings.
        camids: ``(N,)`` integers, negative for an unknown camera.
        names: ``(N,)`` strings; an image has the same name in both splits.
        junk: ``(N,)`` bool; in the gallery: removed for every query.
        distractor: ``(N,)`` bool; in the gallery: wrong for every query.
    """

    features: npt.NDArray[Any]
    pids: npt.NDArray[Any]
    camids: npt.NDArray[Any]
    names: npt.NDArray[Any]
    junk: npt.NDArray[Any]
    distractor: npt.NDArray[Any]


@dataclass(frozen=True)
class Ranking:
    """The scores of every query; a query without a match has zeros in the first six.

    Attributes:
        ap: ``(Q,)`` float64, standard average precision, 0 to 1.
        ap_trapezoid: ``(Q,)`` float64, the trapezoid form, 0 to 1.
        inp: ``(Q,)`` float64, inverse negative penalty, 0 to 1.
        first_rank: ``(Q,)`` int64, 1-based rank of the first match.
        num_matches: ``(Q,)`` int64, matches that the junk rule leaves.
        num_identical: ``(Q,)`` int64, those of them at distance 0 but for rounding.
        top_indices: ``(Q, k)`` int64, the nearest gallery images, junk included.
        top_flags: ``(Q, k)`` int8, ``WRONG``, ``MATCH`` or ``JUNK``.
        top_distances: ``(Q, k)`` float32, ascending.
    """

    ap: npt.NDArray[np.float64]
    ap_trapezoid: npt.NDArray[np.float64]
    inp: npt.NDArray[np.float64]
    first_rank: Integers
    num_matches: Integers
    num_identical: Integers
    top_indices: Integers
    top_flags: Flags
    top_distances: Floats


# ---- scores of one query ----------------------------------------------------------------


def top_of_ranking(distances: npt.NDArray[Any], flags: npt.NDArray[Any], k: int) -> Integers:
    """Return the nearest gallery images of one query, junk included.

    Args:
        distances: ``(G,)`` distances to the gallery.
        flags: ``(G,)`` of ``WRONG``, ``MATCH`` and ``JUNK``.
        k: How many, 0 to G.

    Returns:
        ``(k,)`` positions in the gallery by distance; at one distance matches come last
        and earlier positions first.
    """
    if k == 0:
        return np.zeros(0, dtype=np.int64)
    threshold = np.partition(distances, k - 1)[k - 1]
    nearest = np.flatnonzero(distances <= threshold)
    order = np.lexsort((nearest, flags[nearest] == MATCH, distances[nearest]))
    return nearest[order[:k]]


# ---- all queries ------------------------------------------------------------------------


def rank_queries(
    query: ImageSet,
    gallery: ImageSet,
    *,
    junk_rule: JunkRule = "cross_camera",
    distance: Distance = "cosine",
    top_k: int = 10,
    block_size: int = 128,
) -> Ranking:
    """Rank the gallery for every query.

    Distances are float32. ``"cosine"`` is 1 - the dot product of the L2-normalised rows, a
    zero vector stays zero. The other two take the rows as they come; they are made of dot
    products, so differences below about 0.1 % of the vectors' length drown in rounding.

    Rules for junk, which is removed before ranks are counted:
    ``"cross_camera"``: images of the query's pid unless both cameras are known and differ;
    ``"exclude_self"``: images with the query's name, which may be of any pid; a copy under
    another name stays;
    ``"none"``: nothing. Under every rule, gallery images flagged junk are removed, and
    those flagged distractor are wrong even if their pid is the query's.

    Args:
        query: Q images.
        gallery: G images.
        junk_rule: Which gallery images a query is not scored on.
        distance: What the ranking is by.
        top_k: How many images of each ranking to keep for pictures, at most G of them.
        block_size: Queries at a time; memory is about ``8 * block_size * G`` bytes.

    Returns:
        The scores of each query, in the order of ``query``.

    Raises:
        ValueError: A split is empty, has rows that are not finite or too large, arrays of
            different lengths or features of another size than the other split's; or an
            option is unknown or out of range.
    """
    _check_options(junk_rule, distance, top_k, block_size)
    query, gallery = _checked("query", query), _checked("gallery", gallery)
    if query.features.shape[1] != gallery.features.shape[1]:
        raise ValueError(
            f"query features have {query.features.shape[1]} columns, "
            f"gallery features {gallery.features.shape[1]}"
        )
    flagger = _Flagger(query, gallery, junk_rule)
    k = min(top_k, len(gallery.features))
    zeros = zero_distances(query.features, distance)
    rows = []
    blocks = distance_blocks(query.features, gallery.features, distance, block_size)
    for i, distances in enumerate(row for block in blocks for row in block):
        rows.append(_scores_of_query(distances, flagger.flags(i), k, zeros[i]))
    columns = zip(*rows, strict=True)
    return Ranking(*(np.array(c) for c in columns))


def _scores_of_query(distances: Floats, flags: Flags, k: int, zero: float) -> tuple[Any, ...]:
    """Return one query's row of ``Ranking``, in the order of its fields."""
    ranks = match_ranks(distances, flags)
    top = top_of_ranking(distances, flags, k)
    return (
        average_precision(ranks),
        average_precision_trapezoid(ranks),
        inverse_negative_penalty(ranks),
        int(ranks[0]) if len(ranks) else 0,
        len(ranks),
        int(np.count_nonzero(distances[flags == MATCH] <= zero)),
        top,
        flags[top],
        distances[top],
    )


# ---- which images count -----------------------------------------------------------------


class _Groups:
    """Positions of the gallery images that share a string with a query."""

    def __init__(self, query_keys: npt.NDArray[Any], gallery_keys: npt.NDArray[Any]) -> None:
        _, codes = np.unique(np.concatenate([query_keys, gallery_keys]), return_inverse=True)
        of_query, of_gallery = codes[: len(query_keys)], codes[len(query_keys) :]
        self._positions = np.argsort(of_gallery)
        in_order = of_gallery[self._positions]
        self._starts = np.searchsorted(in_order, of_query, side="left")
        self._stops = np.searchsorted(in_order, of_query, side="right")

    def of(self, i: int) -> Integers:
        """Return the positions for query i, in no order."""
        return self._positions[self._starts[i] : self._stops[i]]


class _Flagger:
    """Says for each query which gallery images are wrong, matches or junk."""

    def __init__(self, query: ImageSet, gallery: ImageSet, junk_rule: JunkRule) -> None:
        self._rule = junk_rule
        self._camids = query.camids, gallery.camids
        self._fixed = np.where(gallery.junk, JUNK, WRONG).astype(np.int8)
        self._can_match = ~(gallery.junk | gallery.distractor)
        self._same_pid = _Groups(query.pids, gallery.pids)
        if junk_rule == "exclude_self":
            self._same_name = _Groups(query.names, gallery.names)

    def flags(self, i: int) -> Flags:
        """Return the ``(G,)`` flags for query i."""
        flags = self._fixed.copy()
        own = self._same_pid.of(i)
        own = own[self._can_match[own]]
        flags[own] = MATCH
        if self._rule == "cross_camera":
            of_query, of_gallery = self._camids[0][i], self._camids[1][own]
            unknown = (of_query < 0) | (of_gallery < 0)
            flags[own[unknown | (of_gallery == of_query)]] = JUNK
        elif self._rule == "exclude_self":
            flags[self._same_name.of(i)] = JUNK
        return flags


# ---- checks -----------------------------------------------------------------------------


def _check_options(junk_rule: str, distance: str, top_k: int, block_size: int) -> None:
    """Raise ValueError for an option that is unknown or out of range."""
    for word, value, known in (
        ("junk rule", junk_rule, get_args(JunkRule)),
        ("distance", distance, get_args(Distance)),
    ):
        if value not in known:
            raise ValueError(f"unknown {word} '{value}' (known: {', '.join(known)})")
    if top_k < 0:
        raise ValueError(f"top_k must be 0 or larger, got {top_k}")
    if block_size < 1:
        raise ValueError(f"block_size must be 1 or larger, got {block_size}")


def _checked(split: str, images: ImageSet) -> ImageSet:
    """Return the images as arrays of the declared types; raise ValueError if they cannot be."""
    features = finite_rows(split, images.features)
    for field in fields(ImageSet):
        length = len(getattr(images, field.name))
        if length != len(features):
            raise ValueError(
                f"{split} {field.name} has {length} entries for {len(features)} images"
            )
    return ImageSet(
        features=features,
        pids=np.asarray(images.pids, dtype=np.str_),
        camids=np.asarray(images.camids, dtype=np.int64),
        names=np.asarray(images.names, dtype=np.str_),
        junk=np.asarray(images.junk, dtype=np.bool_),
        distractor=np.asarray(images.distractor, dtype=np.bool_),
    )

"""Rank a gallery for every query and score the ranking: AP, mINP, CMC.

Only the ranks of the matches are needed, so distances are made for one block of queries at
a time and never stored as a whole. A match's rank is 1 + the matches before it + the kept
wrong images at its distance or nearer. The tie rule follows from "or nearer": a wrong image
at exactly the distance of a match ranks before it. That does not depend on the order of the
gallery, and a model that maps all images to one point scores as badly as it deserves.

Shapes: Q queries, G gallery images, D size of a feature, n matches of one query.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

JunkRule = Literal["cross_camera", "exclude_self", "none"]
Distance = Literal["cosine", "euclidean", "squared_euclidean"]

WRONG, MATCH, JUNK = 0, 1, 2
"""Flags of a gallery image with respect to one query."""

TIE_RULE = "pessimistic: a wrong image at the same float32 distance ranks before the match"

ROUNDING = 1e-5
"""Distances up to this are 0 but for the rounding of float32 dot products. Of Euclidean ones it
is a fraction: of the square of the vector's length where they are squared."""

_NORMALIZED_ROWS_AT_ONCE = 1024

Floats = npt.NDArray[np.float32]
Flags = npt.NDArray[np.int8]
Integers = npt.NDArray[np.int64]


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


def average_precision(ranks: npt.ArrayLike) -> float:
    """Return the mean of the precision at each match.

    Args:
        ranks: ``(n,)`` 1-based ranks of the matches, ascending.

    Returns:
        Fraction from 0 to 1; 0 when there is no match.

    >>> average_precision([1, 3])
    0.8333333333333333
    """
    rank = np.asarray(ranks, dtype=np.float64)
    return float(np.mean(np.arange(1, len(rank) + 1) / rank)) if len(rank) else 0.0


def average_precision_trapezoid(ranks: npt.ArrayLike) -> float:
    """Return the area under the precision-recall curve by the trapezoid rule.

    The definition of the Oxford buildings and the Market-1501 evaluation code: each match
    counts the mean of the precision just before it and at it. Never above
    ``average_precision``.

    Args:
        ranks: ``(n,)`` 1-based ranks of the matches, ascending.

    Returns:
        Fraction from 0 to 1; 0 when there is no match.

    >>> average_precision_trapezoid([2])
    0.25
    """
    rank = np.asarray(ranks, dtype=np.float64)
    if not len(rank):
        return 0.0
    count = np.arange(1, len(rank) + 1)
    # Before rank 1 nothing has been returned yet; the original code takes precision 1.
    before = np.where(rank > 1, (count - 1) / np.maximum(rank - 1, 1), 1.0)
    return float(np.mean((before + count / rank) / 2))


def inverse_negative_penalty(ranks: npt.ArrayLike) -> float:
    """Return the number of matches over the rank of the last one.

    Its mean over queries is mINP (Ye et al., "Deep Learning for Person Re-identification:
    A Survey and Outlook", arXiv:2001.04193, section 4.1).

    Args:
        ranks: ``(n,)`` 1-based ranks of the matches, ascending.

    Returns:
        Fraction from 0 to 1; 0 when there is no match.

    >>> inverse_negative_penalty([1, 4])
    0.5
    """
    rank = np.asarray(ranks, dtype=np.float64)
    return float(len(rank) / rank[-1]) if len(rank) else 0.0


def cmc(first_rank: npt.ArrayLike, max_rank: int) -> npt.NDArray[np.float64]:
    """Return the cumulative matching characteristic.

    Args:
        first_rank: ``(Q,)`` 1-based rank of each query's first match; 0 for no match.
        max_rank: Length of the curve, 1 or larger.

    Returns:
        ``(max_rank,)`` fractions of the queries with a match at that rank or before.

    Raises:
        ValueError: There is no query, or ``max_rank`` is below 1.

    >>> cmc([1, 3, 0, 2], 3).tolist()
    [0.25, 0.5, 0.75]
    """
    ranks = np.asarray(first_rank, dtype=np.int64)
    if not len(ranks):
        raise ValueError("there is no query to take the CMC of")
    if max_rank < 1:
        raise ValueError(f"max_rank must be 1 or larger, got {max_rank}")
    within = ranks[(ranks >= 1) & (ranks <= max_rank)]
    first_here = np.bincount(within - 1, minlength=max_rank)
    curve: npt.NDArray[np.float64] = np.cumsum(first_here) / len(ranks)
    return curve


def match_ranks(distances: npt.NDArray[Any], flags: npt.NDArray[Any]) -> Integers:
    """Return the ranks of one query's matches under the tie rule.

    Args:
        distances: ``(G,)`` distances to the gallery.
        flags: ``(G,)`` of ``WRONG``, ``MATCH`` and ``JUNK``.

    Returns:
        ``(n,)`` 1-based ranks, ascending.

    >>> match_ranks(np.array([0.1, 0.2, 0.2, 0.0]), np.array([MATCH, MATCH, WRONG, JUNK]))
    array([1, 3])
    """
    matches = np.sort(distances[flags == MATCH])
    if not len(matches):
        return np.zeros(0, dtype=np.int64)
    wrong = np.sort(distances[flags == WRONG])
    return np.searchsorted(wrong, matches, side="right") + np.arange(1, len(matches) + 1)


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


def distance_blocks(
    query: Floats, gallery: Floats, distance: Distance, block_size: int
) -> Iterator[Floats]:
    """Yield the distance matrix in blocks of queries.

    Args:
        query: ``(Q, D)`` float32, finite.
        gallery: ``(G, D)`` float32, finite.
        distance: What to compute, see ``rank_queries``.
        block_size: Queries at a time, 1 or larger.

    Yields:
        ``(b, G)`` float32 with b of at most ``block_size``.

    Raises:
        ValueError: A squared Euclidean distance does not fit into float32.
    """
    if distance == "cosine":
        query, gallery = l2_normalized(query), l2_normalized(gallery)
    gallery, column = _distinct_rows(gallery)
    squares = [np.einsum("nd,nd->n", x, x, dtype=np.float64) for x in (query, gallery)]
    if distance != "cosine" and sum(s.max() for s in squares) > np.finfo(np.float32).max / 4:
        raise ValueError("features are too large for float32 Euclidean distances")
    of_query, of_gallery = (s.astype(np.float32) for s in squares)
    for start in range(0, len(query), block_size):
        block = slice(start, start + block_size)
        found = query[block] @ gallery.T
        if distance == "cosine":
            np.subtract(1, found, out=found)
        else:
            found *= -2
            found += of_query[block, None]
            found += of_gallery
            np.maximum(found, 0, out=found)  # rounding may leave -0.0001 for equal rows
        if distance == "euclidean":
            np.sqrt(found, out=found)
        yield np.take(found, column, axis=1)


def zero_distances(query: Floats, distance: Distance) -> npt.NDArray[np.float64]:
    """Return up to which distance an image counts as identical to each query.

    Dot products in float32 seldom give the distance of a vector to itself as exactly 0.

    Args:
        query: ``(Q, D)`` float32, finite.
        distance: What is compared, see ``rank_queries``.

    Returns:
        ``(Q,)`` limits, see ``ROUNDING``.

    >>> zero_distances(np.array([[0.0, 2.0]]), "squared_euclidean").tolist()
    [4e-05]
    """
    if distance == "cosine":
        return np.full(len(query), ROUNDING)
    squares: npt.NDArray[np.float64] = ROUNDING * np.einsum(
        "nd,nd->n", query, query, dtype=np.float64
    )
    return squares if distance == "squared_euclidean" else np.sqrt(squares)


def l2_normalized(features: npt.NDArray[Any]) -> Floats:
    """Return the rows divided by their L2 norm; rows of zeros stay zero.

    Args:
        features: ``(N, D)``, finite.

    Returns:
        ``(N, D)`` float32. Norm and quotient are float64, so that a feature and its
        multiples give the same row, however large or small they are.
    """
    result = np.empty(features.shape, dtype=np.float32)
    for start in range(0, len(features), _NORMALIZED_ROWS_AT_ONCE):
        part = slice(start, start + _NORMALIZED_ROWS_AT_ONCE)
        wide = features[part].astype(np.float64)
        norms = np.sqrt(np.einsum("nd,nd->n", wide, wide))
        result[part] = wide / np.where(norms > 0, norms, 1)[:, None]
    return result


def _distinct_rows(features: Floats) -> tuple[Floats, Integers]:
    """Return the different rows in an order of their own, and where each row is in them.

    BLAS adds the products of a column in an order that depends on where the column stands.
    Multiplying the same matrix whatever the order of the gallery, with every row once,
    gives the same distances bit by bit, and equal rows tie.
    """
    rows = features + np.float32(0)  # -0 becomes 0: equal numbers have equal bytes
    as_bytes = np.ascontiguousarray(rows).view(np.dtype((np.void, rows.itemsize * rows.shape[1])))
    _, first, inverse = np.unique(as_bytes[:, 0], return_index=True, return_inverse=True)
    return rows[first], inverse


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


def finite_rows(what: str, values: npt.ArrayLike) -> Floats:
    """Return an array as float32 after checking that it has rows and all are finite.

    Args:
        what: Name of the split for the message.
        values: ``(N, D)`` with N and D of at least 1.

    Returns:
        ``(N, D)`` float32.

    Raises:
        ValueError: It has another shape, no rows, or rows with NaN or values beyond float32.
    """
    with np.errstate(over="ignore"):  # what overflows becomes infinite and is reported below
        array = np.asarray(values).astype(np.float32, copy=False)
    if len(array.shape) and array.shape[0] == 0:
        raise ValueError(f"the {what} split has no images")
    if array.ndim != 2 or array.shape[1] == 0:
        raise ValueError(f"{what} features must be (N, D) with D >= 1, got {array.shape}")
    bad = np.flatnonzero(~np.isfinite(array).all(axis=1))
    if len(bad):
        raise ValueError(
            f"{what} features: {len(bad)} of {len(array)} rows are NaN or infinite in "
            f"float32; the first is row {bad[0]} (counted from 0)"
        )
    return array

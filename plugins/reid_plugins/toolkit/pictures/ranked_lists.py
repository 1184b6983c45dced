"""Draw what a model returns for some queries: the query, then its nearest gallery images."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from reid_core.files import atomic_path
from reid_evaluate.protocols.junk_rules import JUNK, MATCH, WRONG
from reid_plugins.toolkit.pictures.sheet import FRAME, GREY, Kind, Sheet

MAX_SHOWN = 10
"""Gallery images of a query, unless more are asked for, and those that stand side by side."""

Reader = Callable[[int], Image.Image]

# Pixels. Ten images in a row make the picture 1400 wide.
_MARGIN, _TEXT_WIDTH, _BOX, _AFTER_QUERY, _GAP = 24, 146, 98, 28, 11
_HEADING, _CAPTION, _BETWEEN_ROWS, _LEGEND = 90, 22, 24, 92
_NARROWEST = 760  # what the legend takes

_OF_LIST = ("top_indices", "top_flags", "top_distances")

_KINDS: dict[int, Kind] = {WRONG: "wrong", MATCH: "match", JUNK: "junk"}


def draw_ranked_lists(
    per_query: Mapping[str, np.ndarray],
    read_query: Reader,
    read_gallery: Reader,
    picture: Path,
    *,
    rows: int = 8,
    shown: int = MAX_SHOWN,
    queries: Sequence[int] | None = None,
    title: str = "",
) -> None:
    """Draw the ranked lists of queries spread evenly from the worst to the best AP as a PNG.

    The rank under an image counts as the scores do: junk has none. Queries without a match
    have no AP and are left out, unless they are named.

    Args:
        per_query: ``ap (Q,)`` 0 to 1, ``first_rank (Q,)`` 1-based, ``num_matches (Q,)``,
            ``pid (Q,)``, ``camid (Q,)`` with -1 unknown, and by ascending distance
            ``top_indices (Q, k)`` positions in the gallery with -1 for none,
            ``top_flags (Q, k)`` of ``WRONG``, ``MATCH``, ``JUNK``, ``top_distances (Q, k)``.
        read_query: Returns the image of a query by its row in these arrays.
        read_gallery: Returns a gallery image by its position.
        picture: The file to write, at most 1400 pixels wide.
        rows: Queries to draw, 1 or more; all of them when there are fewer.
        shown: Gallery images of each query, 1 or more, as far as the arrays have them; further
            ones than ``MAX_SHOWN`` stand below.
        queries: The queries to draw, by row in the arrays, in this order; None: spread evenly.
        title: First line of the picture.

    Raises:
        ValueError: ``rows`` or ``shown`` is below 1.
    """
    for name, value in (("rows", rows), ("shown", shown)):
        if value < 1:
            raise ValueError(f"{name} must be 1 or larger, got {value}")
    if queries is None:
        valid = np.flatnonzero(np.asarray(per_query["num_matches"]) > 0)
        at = valid[choose_queries(np.asarray(per_query["ap"])[valid], rows)]
        note = _describe(len(at), len(valid), len(per_query["ap"]))
    else:
        at = np.array(queries, dtype=np.int64)
        note = f"{len(at)} of {len(per_query['ap'])} queries, those that were asked for"
    cut = {name: values[:, :shown] for name, values in per_query.items() if name in _OF_LIST}
    arrays = {**per_query, **cut}
    sheet = _draw(arrays, [int(i) for i in at], read_query, read_gallery, (title, note))
    with atomic_path(picture) as unfinished:
        sheet.image.save(unfinished, format="PNG", optimize=True)


def choose_queries(ap: np.ndarray, count: int) -> np.ndarray:
    """Choose queries evenly from the worst to the best.

    Args:
        ap: ``(Q,)`` average precision.
        count: How many to choose at most, 1 or more; a single one is the median.

    Returns:
        Positions by ascending AP, at one AP the earlier ones first.

    >>> choose_queries(np.array([0.9, 0.1, 0.5, 0.3, 0.7]), 3).tolist()
    [1, 2, 0]
    """
    order = np.argsort(ap, kind="stable")
    if count == 1:
        return order[len(order) // 2 :][:1]
    places = np.linspace(0, len(order) - 1, min(count, len(order)))
    return order[np.round(places).astype(np.int64)]


def _describe(drawn: int, valid: int, queries: int) -> str:
    if not drawn:
        reason = "none of them has a match" if queries else "there is no query"
        return f"0 of {queries} queries: {reason}, so there is nothing to rank"
    order = (
        "spread evenly from the worst to the best AP" if drawn > 1 else "the one with the median AP"
    )
    noun = "query" if queries == 1 else "queries"
    text = f"{drawn} of {queries} {noun}" + (f", {order}" if valid > 1 else "")
    return text + (f" ({queries - valid} without a match left out)" if valid < queries else "")


# ---- layout -----------------------------------------------------------------------------


def _draw(
    per_query: Mapping[str, np.ndarray],
    queries: list[int],
    read_query: Reader,
    read_gallery: Reader,
    heading: tuple[str, str],
) -> Sheet:
    images = [read_query(i) for i in queries]
    longest = max((int((per_query["top_indices"][i] >= 0).sum()) for i in queries), default=0)
    # A list that ends early leaves its place empty, as beside others that do not.
    shown = min(MAX_SHOWN, per_query["top_indices"].shape[1]) if queries else 0
    box = _BOX, _box_height(images)
    lines = max(1, -(-longest // MAX_SHOWN))
    row_height = max(lines * (box[1] + _CAPTION), 5 * 20) + _BETWEEN_ROWS
    lists = _MARGIN + _TEXT_WIDTH + _BOX + _AFTER_QUERY
    width = max(_NARROWEST, lists + shown * (_BOX + _GAP) - _GAP + _MARGIN)
    top = _HEADING if heading[0] else _HEADING - 30
    sheet = Sheet(width, top + len(queries) * row_height + (_LEGEND if queries else 0))
    inner = width - 2 * _MARGIN
    sheet.write((_MARGIN, top - 54), heading[0], 22, bold=True, width=inner)
    sheet.write((_MARGIN, top - 26), heading[1], 15, colour=GREY, width=inner)
    for i, image in zip(queries, images, strict=True):
        row = {name: values[i] for name, values in per_query.items()}
        _describe_query(sheet, top, row)
        query = _MARGIN + _TEXT_WIDTH
        sheet.put(image, (query, top), box, "query")
        sheet.write((query + _BOX // 2, top + box[1] + 16), "query", 13, anchor="ms")
        _draw_list(sheet, (lists, top), box, row, read_gallery)
        top += row_height
    if queries:
        _draw_legend(sheet, top)
    return sheet


def _box_height(images: list[Image.Image]) -> int:
    """Return the height for the median proportions, within what a row can show well."""
    ratios = [image.height / image.width for image in images] or [1.0]
    inner = (_BOX - 2 * FRAME) * min(max(float(np.median(ratios)), 0.5), 2.5)
    return round(inner) + 2 * FRAME


def _describe_query(sheet: Sheet, top: int, row: Mapping[str, Any]) -> None:
    width = _TEXT_WIDTH - 12
    matches, camera = int(row["num_matches"]), int(row["camid"])
    precision = f"AP {float(row['ap']):.3f}" if matches else "no AP"
    sheet.write((_MARGIN, top + 18), precision, 21, bold=True, width=width)
    lines = (
        f"identity {row['pid']}",
        f"camera {camera}" if camera >= 0 else "camera unknown",
        f"{matches} match" + ("" if matches == 1 else "es"),
        f"first at rank {int(row['first_rank'])}" if matches else "nothing to find",
    )
    for n, line in enumerate(lines):
        sheet.write((_MARGIN, top + 42 + 19 * n), line, 13, colour=GREY, width=width)


def _draw_list(
    sheet: Sheet,
    place: tuple[int, int],
    box: tuple[int, int],
    row: Mapping[str, Any],
    read_gallery: Reader,
) -> None:
    """Draw the gallery images of one row from ``place`` to the right, the next ten below."""
    rank = 0
    ranking = zip(*(row[name] for name in _OF_LIST), strict=True)
    for n, (index, flag, distance) in enumerate(one for one in ranking if one[0] >= 0):
        left = place[0] + n % MAX_SHOWN * (_BOX + _GAP)
        top = place[1] + n // MAX_SHOWN * (box[1] + _CAPTION)
        kind = _KINDS[int(flag)]
        rank += kind != "junk"
        sheet.put(read_gallery(int(index)), (left, top), box, kind)
        baseline = top + box[1] + 16
        if kind != "junk":
            sheet.write((left, baseline), str(rank), 14, bold=True)
        right = left + _BOX - 1, baseline
        sheet.write(right, _number(float(distance)), 13, colour=GREY, anchor="rs")


def _number(distance: float) -> str:
    """Write a distance in at most eight characters."""
    return f"{distance:.3f}" if abs(distance) < 100 else f"{distance:.4g}"


def _draw_legend(sheet: Sheet, top: int) -> None:
    left, side = _MARGIN, 34
    meanings: tuple[tuple[Kind, str], ...] = (
        ("query", "query"),
        ("match", "the query's identity"),
        ("wrong", "another identity"),
        ("junk", "junk: not counted"),
    )
    for kind, text in meanings:
        sheet.put(Image.new("RGB", (1, 1), "#DDDDDD"), (left, top), (side, side), kind)
        left += side + 12
        left += sheet.write((left, top + side // 2), text, 14, anchor="lm") + 28
    note = "Under each image: its rank, which skips junk, and its distance to the query."
    sheet.write((_MARGIN, top + side + 28), note, 13, colour=GREY)

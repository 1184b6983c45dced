"""The queries that a model ranked best and worst, each with its nearest gallery images."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from reid_evaluate.protocols.junk_rules import JUNK, MATCH, WRONG
from reid_plugins.command._report.album import Thumbnail
from reid_plugins.command._report.collect import Evaluation, LeftOut
from reid_plugins.command._report.markup import Markup, element
from reid_plugins.command._report.tables import MISSING, number
from reid_plugins.toolkit.pictures.ranked_lists import MAX_SHOWN

SHOWN = 20
"""Queries in each direction."""

Pictures = Callable[[str, int], Thumbnail] | None
"""``pictures(split, row)``; None when there are no images."""

_VERDICTS = {MATCH: "match", WRONG: "wrong", JUNK: "junk"}
_MEANINGS = {
    "match": "match: the person of the query",
    "wrong": "wrong: another person",
    "junk": "junk: not counted, has no rank",
}
_SIGNS = {
    "match": "M5.5 10.5L8.7 13.7L14.7 6.7",
    "wrong": "M6.3 6.3L13.7 13.7M13.7 6.3L6.3 13.7",
    "junk": "M5.5 10H14.5",
}


def best_and_worst(found: Evaluation) -> tuple[list[int], list[int]]:
    """Choose queries by AP; at one AP by the rank of the first match, then by name.

    Returns:
        Rows of the best queries, best first, and of the worst ones that are not among them,
        worst first. Queries without a match are in neither.
    """
    arrays = found.arrays
    rows = np.flatnonzero(found.has_match)
    ap, rank = found.precision[rows], arrays["first_rank"][rows]
    name = arrays["name"][rows]
    best = rows[np.lexsort((name, rank, -ap))][:SHOWN]
    worst = rows[np.lexsort((name, -rank, ap))]
    rest = worst[~np.isin(worst, best)][:SHOWN]
    return [int(i) for i in best], [int(i) for i in rest]


def without_match(found: Evaluation) -> str:
    """Return how many queries are ranked, and how many cannot be."""
    ranked, rest = int(found.has_match.sum()), int((~found.has_match).sum())
    return f"{ranked} queries by average precision" + (
        f"; {rest} without a match are not ranked." if rest else "."
    )


def check_rankings(found: Evaluation) -> None:
    """Find out whether ranked lists were saved.

    Raises:
        LeftOut: They were not, or are none of market_evaluate.
    """
    arrays = found.arrays
    if not {"top_indices", "top_flags", "top_distances"} <= arrays.keys():
        raise LeftOut("no ranked lists were saved")
    shapes = {arrays[name].shape for name in ("top_indices", "top_flags", "top_distances")}
    if len(shapes) > 1 or len(arrays["top_flags"].shape) != 2:
        raise LeftOut("the saved ranked lists do not fit together")
    if not arrays["top_flags"].size:
        raise LeftOut("no ranked lists were saved (market_evaluate: top_k)")
    if not np.isin(arrays["top_flags"], list(_VERDICTS)).all():
        raise LeftOut("the saved ranked lists have flags that market_evaluate does not give")


def signs() -> Markup:
    """Return the signs that the page's badges refer to; one copy for the whole page."""
    symbols = [
        element("symbol", element("path", d=d), id=f"sign-{verdict}", viewBox="0 0 20 20")
        for verdict, d in _SIGNS.items()
    ]
    return element("svg", *symbols, class_="signs", aria_hidden="true")


def legend() -> Markup:
    """Return what border and sign of an image mean."""
    items = [
        element("li", element("span", badge(verdict), class_=f"frame {verdict}"), f" {meaning}")
        for verdict, meaning in _MEANINGS.items()
    ]
    return element("ul", *items, class_="verdicts")


def badge(verdict: str) -> Markup:
    """Return the sign of a verdict; its meaning is told by the text beside it."""
    use = element("use", href=f"#sign-{verdict}")
    return element("svg", use, class_="badge", viewBox="0 0 20 20", aria_hidden="true")


def strips(found: Evaluation, rows: list[int], pictures: Pictures) -> Markup:
    """Return a list of queries, each with its nearest images."""
    return element("ol", *(_strip(found, row, pictures) for row in rows), class_="strips")


def _strip(found: Evaluation, row: int, pictures: Pictures) -> Markup:
    arrays = found.arrays
    name = str(arrays["name"][row])
    facts = [
        ("pid", str(arrays["pid"][row])),
        ("camera", _camera(int(arrays["camid"][row]))),
        ("first match", f"rank {int(arrays['first_rank'][row])}"),
    ]
    if "num_matches" in arrays:
        facts.append(("matches", str(int(arrays["num_matches"][row]))))
    terms = [element("div", element("dt", term), element("dd", text)) for term, text in facts]
    about = element(
        "div",
        element("p", "AP ", element("strong", number(float(found.precision[row]))), class_="ap"),
        element("dl", *terms),
        element("p", name, class_="name"),
        class_="about",
    )
    images = [_query(found, row, pictures), *_gallery(found, row, pictures)]
    box = element(
        "div",
        element("ol", *images, class_="images" if pictures else "images bare"),
        class_="scroll",
        role="region",
        tabindex=0,
        aria_label=f"Images nearest to the query {name}",
    )
    return element("li", about, box)


def _query(found: Evaluation, row: int, pictures: Pictures) -> Markup:
    camera = _camera(int(found.arrays["camid"][row]))
    text = f"query: pid {found.arrays['pid'][row]}, camera {camera}"
    image = _image(pictures("query", row) if pictures else None, text)
    return element(
        "li", element("span", image, class_="frame"), element("b", "query"), class_="query"
    )


def _gallery(found: Evaluation, row: int, pictures: Pictures) -> list[Markup]:
    """Return the nearest images of one query; junk has no rank of its own."""
    lists = (found.arrays[f"top_{part}"][row] for part in ("indices", "flags", "distances"))
    rank, items = 0, []
    for index, flag, distance in list(zip(*lists, strict=True))[:MAX_SHOWN]:
        if index < 0:
            continue
        verdict = _VERDICTS[int(flag)]
        rank += verdict != "junk"
        place = MISSING if verdict == "junk" else str(rank)
        value = _distance(float(distance))
        picture = pictures("gallery", int(index)) if pictures else None
        who = f"pid {picture.pid}, camera {_camera(picture.camid)}, " if picture else ""
        where = "no rank" if verdict == "junk" else f"rank {rank}"
        image = _image(picture, f"{who}{where}, distance {value}, {verdict}")
        items.append(
            element(
                "li",
                element("span", image, badge(verdict), class_=f"frame {verdict}"),
                element("b", place),
                element("span", value, class_="distance"),
            )
        )
    return items


def _image(picture: Thumbnail | None, text: str) -> Markup:
    """Return the picture, or without one its text for readers who listen."""
    if picture is None:
        return element("span", text, class_="spoken")
    return element(
        "img",
        src=picture.source,
        alt=text,
        title=text,
        width=picture.width,
        height=picture.height,
        loading="lazy",
        decoding="async",
    )


def _camera(camid: int) -> str:
    return str(camid) if camid >= 0 else "unknown"


def _distance(distance: float) -> str:
    return f"{distance:.3f}" if abs(distance) < 100 else f"{distance:.4g}"

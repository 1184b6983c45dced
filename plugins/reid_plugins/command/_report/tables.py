"""The parts of a report that are tables: metrics, protocol card, pairs of cameras."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from reid_plugins.command._report.collect import Evaluation, LeftOut
from reid_plugins.command._report.markup import Markup, element, join

MISSING = "–"
"""Stands for a number that there is none of."""


def number(value: float) -> str:
    """Write a score as every other place of this project does."""
    return f"{value:.4f}" if np.isfinite(value) else MISSING


def metrics_table(found: Evaluation) -> Markup:
    """Return the metrics, each with its 95 % interval where there is one."""
    metrics, primary = found.facts.get("metrics", {}), found.facts["primary"]
    intervals = found.facts.get("intervals", {})
    head = ["metric", "value", "95 % interval", "from 0 to 1"]
    rows = []
    for name, value in metrics.items():
        ends = intervals.get(name)
        row = [
            element("th", name, scope="row"),
            element("td", number(value), class_="number"),
            element("td", _interval(ends) if ends else MISSING, class_="number"),
            element("td", _bar(float(value), ends), class_="picture"),
        ]
        rows.append(element("tr", *row, class_="primary" if name == primary else None))
    return element(
        "table",
        element("caption", "Bold: the primary metric."),
        element("thead", element("tr", *(element("th", h, scope="col") for h in head))),
        element("tbody", *rows),
        class_="metrics",
    )


def _interval(ends: list[float]) -> str:
    return f"[{number(ends[0])}, {number(ends[1])}]"


def _bar(value: float, ends: list[float] | None) -> Markup:
    """Return a picture of a value between 0 and 1 and of its interval; none of others."""
    low, high = ends or (value, value)
    if not 0 <= low <= value <= high <= 1:
        return Markup("")
    parts = [
        element("path", d="M0 8H100", class_="track"),
        element("path", d=f"M0 8H{100 * value:.1f}", class_="value"),
        element("path", d=f"M{100 * low:.1f} 8H{100 * high:.1f}", class_="range"),
    ]
    return element(
        "svg", *parts, viewBox="0 0 100 16", preserveAspectRatio="none", aria_hidden="true"
    )


# ---- protocol card ----------------------------------------------------------------------


def protocol_card(found: Evaluation) -> Markup:
    """Return every choice behind the numbers; a warning comes first and stands out."""
    card = dict(found.facts.get("card", {}))
    warning = card.pop("warning", None)
    parts = []
    if warning is not None:
        lines = _text(warning).splitlines()
        texts = [element("p", element("strong", "Warning: "), line) for line in lines]
        parts.append(element("div", *texts, class_="warning", role="note"))
    if card:
        parts.append(element("dl", *_entries(card), class_="card"))
    return join(parts or [element("p", "The evaluator gave no card.")])


def _entries(card: Mapping[str, Any]) -> list[Markup]:
    """Return terms and definitions; those of an inner object are a list in the list."""
    found = []
    for key, value in card.items():
        inner = isinstance(value, Mapping) and value
        definition = element("dl", *_entries(value)) if inner else _value(value)
        found.append(
            element("div", element("dt", key.replace("_", " ")), element("dd", definition))
        )
    return found


def _value(value: Any) -> Markup:
    """Return a value with the word before its explanation set off."""
    word, colon, explanation = _text(value).partition(": ")
    if colon and " " not in word:
        return join([element("strong", word), f": {explanation}"])
    return join([_text(value)])


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


# ---- cameras ----------------------------------------------------------------------------


def camera_matrix(found: Evaluation) -> Markup:
    """Return the mean AP of queries of one camera on the images of another one.

    Raises:
        LeftOut: It was not saved.
    """
    reason = "no scores by pair of cameras were saved (market_evaluate: camera_pairs)"
    rows = found.table("camera_pairs.query_cameras", 1, reason)
    columns = found.table("camera_pairs.gallery_cameras", 1, reason)
    values = found.table("camera_pairs.map", 2, reason)
    counts = found.table("camera_pairs.queries", 2, reason)
    if not values.shape == counts.shape == (len(rows), len(columns)):
        raise LeftOut("the saved scores by pair of cameras do not fit together")
    if not np.isfinite(values).any():
        raise LeftOut("no query has a match under any camera")
    ends = float(np.nanmin(values)), float(np.nanmax(values))
    head = [element("td"), *(element("th", _camera(c), scope="col") for c in columns)]
    body = []
    for camera, of_row, queries in zip(rows, values, counts, strict=True):
        cells = [_cell(*pair, ends) for pair in zip(of_row, queries, strict=True)]
        body.append(element("tr", element("th", _camera(camera), scope="row"), *cells))
    table = element("table", element("thead", element("tr", *head)), element("tbody", *body))
    about = {"role": "region", "tabindex": 0, "aria_label": "mAP by pair of cameras"}
    ramp = element("span", class_="ramp")
    return join(
        [
            element("div", table, class_="cameras scroll", **about),
            element("p", number(ends[0]), ramp, number(ends[1]), class_="scale"),
            element(
                "p",
                "Rows: camera of the query. Columns: camera of the gallery. Point at a "
                "cell for its number of queries.",
                class_="remark",
            ),
        ]
    )


def _cell(value: float, queries: float, ends: tuple[float, float]) -> Markup:
    """Return a cell: its number, coloured by where it lies between the ends."""
    title = f"{queries:.0f} {'query' if queries == 1 else 'queries'}"
    if not np.isfinite(value):
        return element("td", MISSING, title=title, class_="empty")
    share = (value - ends[0]) / (ends[1] - ends[0]) if ends[1] > ends[0] else 1.0
    hidden = element("span", f", {title}", class_="spoken")
    return element("td", f"{value:.3f}", hidden, title=title, style=f"--share:{100 * share:.0f}%")


def _camera(camera: float) -> str:
    return f"{camera:.0f}" if camera >= 0 else "unknown"

"""The course of the training: losses, learning rates and scores over the epochs."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from reid_plugins.command._report.axis import Axis
from reid_plugins.command._report.charts import Chart
from reid_plugins.command._report.curves import figure
from reid_plugins.command._report.markup import Markup, element
from reid_plugins.toolkit.pictures.curves import read_panels
from reid_plugins.toolkit.pictures.panels import PALETTE, Line

_MOST_POINTS = 300
"""Points of a line; of more, neighbours are averaged."""

_MOST_DOTS = 30

_STYLES = {"-": "solid", "--": "dashed", "-.": "dashdot", ":": "dotted"}


def training_charts(metrics_file: Path) -> dict[str, Markup]:
    """Return a chart of each kind that a run has recorded, by its heading.

    Args:
        metrics_file: ``metrics.jsonl`` of a run; one that is not there has no charts.

    Raises:
        ReidError: The file is damaged.
    """
    if not metrics_file.is_file():
        return {}
    panels = read_panels(metrics_file)
    return {heading: _chart(heading, lines) for heading, lines in panels.items() if lines}


def _chart(heading: str, lines: list[Line]) -> Markup:
    """Return lines over the epochs, with a legend that gives their last values."""
    lasts = [f"{line.name} {_last(heading, line)}" for line in lines]
    chart = Chart(
        f"training-{heading.replace(' ', '-')}",
        f"{heading.capitalize()} over the epochs",
        f"Last values: {', '.join(lasts)}",
        Axis("epoch", 0, max([1.0, *(x for line in lines for x in line.x)])),
        _values_axis(heading, np.array([y for line in lines for y in line.y + line.raw])),
    )
    marks = [mark for line in lines for mark in _marks(chart, line)]
    items = [
        element("li", _swatch(_style(line)), f" {line.name} ", element("b", _last(heading, line)))
        for line in lines
    ]
    text = "Beside each name: its last value."
    if any(line.raw for line in lines):
        text = "Lines: running means over the values, which are the light points. " + text
    if any(len(line.x) > _MOST_POINTS for line in lines):
        text += " Neighbouring steps are averaged."
    return figure(chart.svg(*marks), element("ul", *items, class_="legend"), text)


def _values_axis(heading: str, values: np.ndarray) -> Axis:
    """Choose the range of the values that are drawn upwards."""
    low, high = float(values.min()), float(values.max())
    if heading == "learning rate" and low > 0 and high / low > 10.01:
        return Axis(f"{heading} (logarithmic axis)", low, high, "log")
    if heading == "score" and low >= 0 and high <= 1:
        return Axis(heading, 0, 1)
    low, high = min(0.0, low), max(0.0, high)
    return Axis(heading, low, low + 1.05 * (high - low or 1.0))


def _marks(chart: Chart, line: Line) -> list[Markup]:
    style = _style(line)
    if not line.x:
        ends = [chart.x.low, chart.x.high]
        return [chart.line(ends, [line.y[0], line.y[0]], f"line {style}")]
    x, y = _thinned(line.x), _thinned(line.y)
    if line.raw:
        dots = [chart.dots(x, _thinned(line.raw), f"raw {style}")]
    else:
        dots = [chart.dots(x, y, style)] if len(x) <= _MOST_DOTS else []
    return [*dots, chart.line(x, y, f"line {style}")]


def _thinned(values: list[float]) -> np.ndarray:
    """Return at most ``_MOST_POINTS`` means of neighbours."""
    parts = np.array_split(np.array(values), min(len(values), _MOST_POINTS))
    return np.array([part.mean() for part in parts])


def _style(line: Line) -> str:
    """Return the classes that give a line its colour and dashes in the style sheet."""
    colour = f"series-{PALETTE.index(line.colour) + 1}" if line.colour in PALETTE else "series-0"
    return f"{colour} {_STYLES[line.dashes]}"


def _swatch(style: str) -> Markup:
    path = element("path", d="M0 6H28", class_=f"line {style}")
    return element("svg", path, class_="swatch", viewBox="0 0 28 12", aria_hidden="true")


def _last(heading: str, line: Line) -> str:
    return format(line.y[-1], ".4f" if heading == "score" else ".3g")

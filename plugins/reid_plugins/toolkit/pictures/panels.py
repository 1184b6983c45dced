"""Draw curves in panels with a common x axis, each named beside its end."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from reid_plugins.toolkit.pictures.fonts import cut, pieces_of, width_of

# Okabe and Ito's palette without yellow, which is too light for lines on white.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
INK, GREY = "#222222", "#6B6B6B"

_WIDTH = 10.0
_DPI = 140
_LABEL_INCHES = 0.19
_BEFORE_LABEL, _AFTER_LABEL = 0.24, 0.12  # inches
_WIDEST = 3.2 * _DPI
"""Pixels that the name of a line may take."""
_LABEL_POINTS = 9
_LABEL_SIZE = _LABEL_POINTS * _DPI / 72


@dataclass
class Line:
    """A curve over epochs, or with ``x`` empty a level, such as that of a baseline.

    With ``raw``, ``y`` is the running mean of these values, which are drawn as light points.
    """

    name: str
    x: list[float] = field(default_factory=list)
    y: list[float] = field(default_factory=list)
    colour: str = INK
    dashes: str = "-"
    raw: list[float] = field(default_factory=list)


def render_panels(panels: Mapping[str, Sequence[Line]]) -> bytes:
    """Draw one panel per entry, from top to bottom.

    Args:
        panels: Lines by the name of the y axis. ``"learning rate"`` becomes logarithmic when
            it spans more than a factor of 10, ``"score"`` goes from 0 to 1 if its values do. No
            lines: the panel says so.

    Returns:
        PNG file, 1400 pixels wide; the same bytes for the same panels.
    """
    # The object interface: pyplot would keep the figure and choose a backend for everyone.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    inches = [max(2.2, _LABEL_INCHES * len(lines)) if lines else 0.5 for lines in panels.values()]
    height = sum(inches) + 0.2 * (len(panels) - 1) + 0.7
    figure = Figure(figsize=(_WIDTH, height), dpi=_DPI, facecolor="white")
    canvas: Any = FigureCanvasAgg(figure)
    ratios = {"height_ratios": inches}
    axes = figure.subplots(len(panels), sharex=True, squeeze=False, gridspec_kw=ratios)[:, 0]
    labels = {name: [_label(name, line) for line in lines] for name, lines in panels.items()}
    widths = [width_of(label, _LABEL_SIZE) for panel in labels.values() for label in panel]
    right = 1 - (_BEFORE_LABEL + max(widths, default=0) / _DPI + _AFTER_LABEL) / _WIDTH
    gap = 0.2 * len(panels) / sum(inches)
    figure.subplots_adjust(0.09, 0.55 / height, right, 1 - 0.15 / height, hspace=gap)
    last = max((x for lines in panels.values() for line in lines for x in line.x), default=0) or 1
    for panel, (name, lines), size in zip(axes, panels.items(), inches, strict=True):
        panel.set_xlim(-0.01 * last, 1.01 * last)
        _draw_panel(panel, name, lines)
        _write_labels(panel, lines, labels[name], _LABEL_INCHES / size)
    axes[-1].set_xlabel("epoch")
    png = io.BytesIO()
    # Without the name of the software, the bytes depend on the values alone.
    canvas.print_png(png, metadata={"Software": None})
    return png.getvalue()


def _draw_panel(panel: Any, name: str, lines: Sequence[Line]) -> None:
    panel.tick_params(which="both", color="#B0B0B0", labelsize=9)
    for side, spine in panel.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color("#B0B0B0")
    if not lines:
        panel.set_yticks([])
        middle = {"ha": "center", "va": "center", "transform": panel.transAxes}
        panel.text(0.5, 0.5, f"no {name} recorded", color=GREY, **middle)
        return
    panel.set_ylabel(name)
    panel.grid(color="#E4E4E4", linewidth=0.8)
    panel.set_axisbelow(True)
    for line in lines:
        _draw_line(panel, name, line)
    _scale(panel, name, np.array([value for line in lines for value in line.y + line.raw]))
    left = panel.transAxes.inverted().transform(panel.figure.transFigure.transform((0.02, 0)))[0]
    panel.yaxis.set_label_coords(left, 0.5)


def _draw_line(panel: Any, name: str, line: Line) -> None:
    style = {"color": line.colour, "linestyle": line.dashes}
    if not line.x:
        panel.axhline(line.y[0], linewidth=1.2, **style)
    else:
        few = len(line.x) <= (60 if name == "score" else 1)
        drawn = {"linewidth": 1.8, "marker": "o" if few else "", "markersize": 4}
        panel.plot(line.x, line.y, **drawn, **style)
    if line.raw:
        panel.plot(line.x, line.raw, "o", color=line.colour, markersize=2.5, alpha=0.35, mew=0)
        panel.set_ylabel(f"{name} and its running mean")


def _scale(panel: Any, name: str, values: Any) -> None:
    """Choose the scale, the limits and the ticks of the y axis."""
    from matplotlib.ticker import FuncFormatter, LogLocator

    positive = values[np.isfinite(values) & (values > 0)]
    span = positive.max() / positive.min() if len(positive) else 1
    if name == "learning rate" and span > 10.01:  # a step by 10 is not exact in floats
        panel.set_yscale("log")
        panel.yaxis.set_major_locator(LogLocator(subs=(1, 3) if span < 300 else (1,)))
    elif name == "score" and len(positive) and values.min() >= 0 and values.max() <= 1:
        panel.set_ylim(-0.02, 1.02)
    elif len(positive) and not (values < 0).any():
        panel.set_ylim(bottom=0)
    panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _label(name: str, line: Line) -> str:
    """Return the line's name, cut to a maximum, and its last value."""
    number = format(line.y[-1], {"loss": "#.3g", "score": ".3f"}.get(name, ".3g"))
    return f"{cut(line.name, _LABEL_SIZE, _WIDEST)}  {number}"


def _write_labels(panel: Any, lines: Sequence[Line], labels: Sequence[str], step: float) -> None:
    """Write the labels beside the ends of their lines, at least ``step`` apart.

    Args:
        panel: The matplotlib axes, its limits final.
        lines: What was drawn.
        labels: What to write, one per line.
        step: Height of a label as a fraction of the panel's.
    """
    from matplotlib.font_manager import FontProperties

    panel.get_ylim()  # matplotlib widens the limits to the data only when asked for them
    to_axes = panel.transData + panel.transAxes.inverted()
    ends = np.array([to_axes.transform((0, line.y[-1]))[1] for line in lines])
    ends = np.clip(np.nan_to_num(ends), 0, 1)
    inch = panel.figure.dpi / panel.bbox.width
    order = np.argsort(ends, kind="stable")
    for i, place in zip(order, _spread(ends[order], step), strict=True):
        colour, in_axes = lines[i].colour, {"transform": panel.transAxes, "clip_on": False}
        xs = [1 + 0.03 * inch, 1 + 0.12 * inch, 1 + 0.19 * inch]
        panel.plot(xs, [ends[i], place, place], color=colour, linewidth=0.8, **in_axes)
        style = {"color": colour, "va": "center_baseline", "parse_math": False, **in_axes}
        x = 1 + _BEFORE_LABEL * inch
        for piece in pieces_of(labels[i]):
            font = FontProperties(fname=piece.font, size=_LABEL_POINTS)
            panel.text(x, place, piece.text, font=font, **style)
            x += piece.width(_LABEL_SIZE) / panel.bbox.width


def _spread(places: Any, step: float) -> list[float]:
    """Move ascending places as little as possible until they are ``step`` apart.

    Args:
        places: ``(n,)`` fractions of the panel's height.
        step: The least distance between neighbours, same unit.

    Returns:
        n places from 0 to 1, or from 0 upwards when there is not room for all.
    """
    # Less i * step each, the places need only be ascending: groups that are not take
    # their mean (pool adjacent violators, the least-squares answer).
    groups: list[list[float]] = []
    for i, place in enumerate(places):
        groups.append([place - i * step])
        while len(groups) > 1 and np.mean(groups[-2]) >= np.mean(groups[-1]):
            groups[-2:] = [groups[-2] + groups[-1]]
    bases = [float(np.mean(group)) for group in groups for _ in group]
    room = max(0.0, 1 - (len(bases) - 1) * step)
    return [min(max(base, 0.0), room) + i * step for i, base in enumerate(bases)]

"""Small charts as SVG that takes its colours from the page's style sheet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from reid_plugins.command._report.axis import Axis, Floats, short
from reid_plugins.command._report.markup import Markup, element, join

# Units of the drawing; the style sheet scales it to the width of its column.
WIDTH, HEIGHT = 460, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 14, 16, 52
_PLOT_WIDTH, _PLOT_HEIGHT = WIDTH - _LEFT - _RIGHT, HEIGHT - _TOP - _BOTTOM


@dataclass(frozen=True)
class Chart:
    """Turns values into marks; ``svg`` puts these on axes.

    Attributes:
        name: Unique in the page.
        title: What is shown.
        description: What a person who does not see it should know.
        x: Axis to the right.
        y: Axis upwards.
    """

    name: str
    title: str
    description: str
    x: Axis
    y: Axis

    def svg(self, *marks: Markup) -> Markup:
        """Return the drawing: grid, axes and marks."""
        title, description = f"{self.name}-title", f"{self.name}-description"
        return element(
            "svg",
            element("title", self.title, id=title),
            element("desc", self.description, id=description),
            self._grid(),
            *marks,
            class_="chart",
            viewBox=f"0 0 {WIDTH} {HEIGHT}",
            role="img",
            aria_labelledby=title,
            aria_describedby=description,
        )

    def line(self, x: npt.ArrayLike, y: npt.ArrayLike, style: str) -> Markup:
        """Return a line through points."""
        return element("path", d="M" + "L".join(_pairs(*self._at(x, y))), class_=f"line {style}")

    def steps(self, edges: Floats, heights: Floats, style: str) -> Markup:
        """Return the outline of a histogram, filled down to the axis.

        Args:
            edges: ``(n + 1,)`` ascending.
            heights: ``(n,)``.
            style: Class for the style sheet.
        """
        x, y = np.repeat(edges, 2), np.pad(np.repeat(heights, 2), 1, constant_values=self.y.low)
        return element("path", d="M" + "L".join(_pairs(*self._at(x, y))) + "Z", class_=style)

    def bars(self, edges: Floats, heights: Floats, titles: Sequence[str]) -> Markup:
        """Return one bar per interval between edges, each with a title to point at."""
        left, top = self._at(edges[:-1], heights)
        right, bottom = self._at(edges[1:], np.full(len(heights), self.y.low))
        return join(
            element(
                "rect",
                element("title", titles[i]),
                x=_text(left[i] + 0.5),
                y=_text(top[i]),
                width=_text(right[i] - left[i] - 1),
                height=_text(bottom[i] - top[i]),
                class_="bar",
            )
            for i in range(len(heights))
        )

    def dots(self, x: npt.ArrayLike, y: npt.ArrayLike, style: str) -> Markup:
        """Return a dot per point."""
        at = zip(*self._at(x, y), strict=True)
        return join(element("circle", cx=_text(a), cy=_text(b), r=3.5, class_=style) for a, b in at)

    def note(self, x: float, y: float, text: str, style: str, *, down: float) -> Markup:
        """Write beside a point, so many units further down; the style chooses the side."""
        (left,), (top,) = self._at([x], [y])
        return element("text", text, x=_text(left), y=_text(top + down), class_=f"note {style}")

    def threshold(self, x: float, text: str) -> Markup:
        """Return a vertical line over the whole height with a text at its top."""
        style = "before" if self.x.places(x) > 0.5 else "after"
        line = self.line([x, x], [self.y.low, self.y.high], "threshold")
        return join([line, self.note(x, self.y.high, text, style, down=12)])

    def _at(self, x: npt.ArrayLike, y: npt.ArrayLike) -> tuple[Floats, Floats]:
        """Return the units of the drawing that values lie at."""
        right, up = self.x.places(x), self.y.places(y)
        return _LEFT + right * _PLOT_WIDTH, _TOP + (1 - up) * _PLOT_HEIGHT

    def _grid(self) -> Markup:
        x_ticks, y_ticks = self.x.ticks(), self.y.ticks()
        columns, _ = self._at(x_ticks, [self.y.low] * len(x_ticks))
        _, rows = self._at([self.x.low] * len(y_ticks), y_ticks)
        bottom, right, middle = HEIGHT - _BOTTOM, WIDTH - _RIGHT, _TOP + _PLOT_HEIGHT / 2
        lines = [f"M{_LEFT} {_text(row)}H{right}" for row in rows]
        return join(
            [
                element("path", d="".join(lines), class_="rules"),
                element("path", d=f"M{_LEFT} {bottom}H{right}", class_="axis"),
                *map(_tick_below, columns, x_ticks),
                *map(_tick_beside, rows, y_ticks),
                _label(_LEFT + _PLOT_WIDTH / 2, HEIGHT - 8, self.x.label),
                _label(12, middle, self.y.label, transform=f"rotate(-90 12 {_text(middle)})"),
            ]
        )


def _tick_below(column: float, value: float) -> Markup:
    return _label(column, HEIGHT - _BOTTOM + 19, short(value))


def _tick_beside(row: float, value: float) -> Markup:
    return _label(_LEFT - 8, row + 4, short(value), class_="beside")


def _label(x: float, y: float, text: str, **more: str) -> Markup:
    return element("text", text, x=_text(x), y=_text(y), **more)


def _pairs(x: Floats, y: Floats) -> list[str]:
    return [f"{_text(a)} {_text(b)}" for a, b in zip(x, y, strict=True)]


def _text(units: float) -> str:
    """Write a length as short as the eye allows."""
    return f"{units:.1f}".removesuffix(".0")

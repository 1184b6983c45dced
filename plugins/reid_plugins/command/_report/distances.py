"""The distances of pairs of images, and what a threshold on them does."""

from __future__ import annotations

import numpy as np

from reid_plugins.command._report.axis import Axis
from reid_plugins.command._report.charts import Chart
from reid_plugins.command._report.collect import Array, Evaluation, LeftOut
from reid_plugins.command._report.curves import figure
from reid_plugins.command._report.markup import Markup, element, join
from reid_plugins.command._report.tables import number

_MOST_BINS = 150


def distance_chart(found: Evaluation, name: str) -> Markup:
    """Return the distances of pairs, with a threshold for the chosen false match rate.

    Each rate is a radio button; the style sheet shows what belongs to the checked one.

    Raises:
        LeftOut: The distances were not saved.
    """
    edges, density, rates, thresholds = _distances(found)
    chart = Chart(
        name,
        "Distances of pairs",
        f"Histograms between {edges[0]:.4g} and {edges[-1]:.4g}, each of area 1: half of the pairs "
        f"of one person are nearer than {_median(edges, density[0]):.4g}, half of the pairs of "
        f"different persons are nearer than {_median(edges, density[1]):.4g}",
        Axis("distance", edges[0], edges[-1]),
        Axis("density (square-root axis)", 0, 1.35 * float(density.max()), "sqrt"),
    )
    shown = figure(
        chart.svg(
            chart.steps(edges, density[1], "different"),
            chart.steps(edges, density[0], "same"),
            *(_line(chart, i, threshold) for i, threshold in enumerate(thresholds, start=1)),
        ),
        element(
            "ul",
            _entry("same", "same person"),
            _entry("different", "different persons"),
            class_="legend",
        ),
        *(
            element("p", *_at_rate(found, *pair), class_=f"at at-{i}")
            for i, pair in enumerate(zip(rates, thresholds, strict=True), start=1)
        ),
    )
    if not len(rates):
        return shown
    title = element("legend", "False match rate")
    return element("fieldset", title, _buttons(name, rates), shown, class_="rates")


def _buttons(name: str, rates: Array) -> Markup:
    """Return a radio button for each rate; the first one is checked."""
    parts = []
    for i, rate in enumerate(rates, start=1):
        button, checked = f"{name}-rate-{i}", "" if i == 1 else None
        parts += [
            element("input", type="radio", name=name, id=button, checked=checked),
            element("label", f"{rate:g}", for_=button),
        ]
    return join(parts)


def _line(chart: Chart, i: int, threshold: float) -> Markup:
    """Return the line of a threshold; one that is beyond the axis has none."""
    if not chart.x.low <= threshold <= chart.x.high:
        return Markup("")
    return element("g", chart.threshold(threshold, f"{threshold:.4g}"), class_=f"at at-{i}")


def _entry(kind: str, text: str) -> Markup:
    return element("li", element("span", class_=f"swatch {kind}"), f" {text}")


def _distances(found: Evaluation) -> tuple[Array, Array, Array, Array]:
    """Return edges ``(E,)``, densities ``(2, E - 1)``, rates ``(F,)`` and thresholds ``(F,)``."""
    reason = "no distances of pairs were saved (market_evaluate: false_rates)"
    edges, counts = found.table("pairs.edges", 1, reason), found.table("pairs.counts", 2, reason)
    rates = found.table("pairs.false_rates", 1, reason)
    thresholds = found.table("pairs.thresholds", 1, reason)
    if counts.shape != (2, len(edges) - 1) or rates.shape != thresholds.shape:
        raise LeftOut("the saved distances of pairs do not fit together")
    if counts.shape[1] > _MOST_BINS and counts.shape[1] % 2 == 0:  # of few pairs, all noise
        edges, counts = edges[::2], counts[:, ::2] + counts[:, 1::2]
    totals, widths = counts.sum(axis=1, keepdims=True), np.diff(edges)
    if not (np.isfinite(edges).all() and (widths > 0).all() and (totals > 0).all()):
        raise LeftOut("the saved distances of pairs cannot be drawn: too few or equal values")
    return edges, counts / totals / widths, rates, thresholds


def _median(edges: Array, density: Array) -> float:
    below = np.cumsum(density * np.diff(edges))
    return float(edges[1:][np.searchsorted(below, 0.5)])


def _at_rate(found: Evaluation, rate: float, threshold: float) -> list[str]:
    """Return a sentence on one false match rate, and the metric that belongs to it."""
    metric = f"tpr@{rate:g}"
    accepted = "All pairs" if np.isinf(threshold) else f"Pairs nearer than {threshold:.4g}"
    text = f"{accepted} are taken for one person: at most {100 * rate:g} % of the pairs of "
    text += "different persons are."
    if metric not in found.facts.get("metrics", {}):
        return [text]
    share = number(found.facts["metrics"][metric])
    return [f"{text} Of the pairs of one person it is ", element("strong", share), f" ({metric})."]


def switching_rules(most: int) -> str:
    """Return the style rules that show what belongs to the checked one of some buttons."""
    return "".join(
        f".rates input:nth-of-type({i}):checked~figure .at-{i}{{display:revert}}"
        for i in range(1, most + 1)
    )


def most_rates(found: list[Evaluation]) -> int:
    """Return the number of buttons that some section has at most."""
    sizes = [e.tables["pairs.false_rates"].size for e in found if "pairs.false_rates" in e.tables]
    return max(sizes, default=0)

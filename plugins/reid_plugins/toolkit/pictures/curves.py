"""Draw the course of a run from its ``metrics.jsonl``: losses, learning rates, scores."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from reid_core.files import atomic_path
from reid_core.metrics_file import read_metrics
from reid_plugins.toolkit.pictures.panels import GREY, INK, PALETTE, Line, render_panels

_LEAST = 3
"""Values of a loss from which on its curve is a running mean."""


def draw_curves(metrics_file: Path, picture: Path) -> None:
    """Draw losses, learning rates and scores over the epochs into a PNG file.

    The curve of a loss is its running mean, over the values themselves as light points.

    Args:
        metrics_file: One JSON object per line with a ``kind``: ``"train"`` (epoch, total,
            losses, rates), ``"evaluation"`` (epoch, evaluation, target, primary, metrics)
            or ``"baseline"`` (name, evaluation, target, metrics). Other kinds are skipped.
        picture: The file to write, 1400 pixels wide.

    Raises:
        ReidError: There is no such file, or a line of it is damaged.
    """
    panels = read_panels(metrics_file)
    with atomic_path(picture) as unfinished:
        unfinished.write_bytes(render_panels(panels))


def read_panels(metrics_file: Path) -> dict[str, list[Line]]:
    """Return losses, learning rates and scores over the epochs; see ``draw_curves``."""
    lines = read_metrics(metrics_file)
    training = [line for line in lines if line.get("kind") == "train"]
    return {"loss": _losses(training), "learning rate": _rates(training), "score": _scores(lines)}


def _collect(rows: Iterable[tuple[float, Mapping[str, float]]]) -> list[Line]:
    """Turn rows of (epoch, values by name) into one curve per name."""
    curves: dict[str, Line] = {}
    for epoch, values in rows:
        for name, value in values.items():
            curve = curves.setdefault(name, Line(name))
            curve.x.append(float(epoch))
            curve.y.append(float(value))
    return _coloured(curves.values())


def _coloured(curves: Iterable[Line]) -> list[Line]:
    result = list(curves)
    for i, curve in enumerate(result):
        curve.colour = PALETTE[i % len(PALETTE)]
        curve.dashes = ("-", "-.", ":")[i // len(PALETTE) % 3]
    return result


def _losses(training: list[dict[str, Any]]) -> list[Line]:
    parts = _collect((line["epoch"], line.get("losses", {})) for line in training)
    total = _collect((line["epoch"], {"total": line["total"]}) for line in training)
    for curve in total:
        curve.colour = INK
    lines = parts if [part.y for part in parts] == [one.y for one in total] else total + parts
    for curve in lines:
        if len(curve.y) >= _LEAST:
            curve.raw, curve.y = curve.y, running_mean(curve.y)
    return lines


def running_mean(values: list[float]) -> list[float]:
    """Return the mean over a twentieth of a curve around each value, over 3 values at least.

    At the ends there are fewer. What is no number stays as it is, and has no part in others.

    >>> running_mean([4.0, 1.0, 1.0, 7.0])
    [2.5, 2.0, 3.0, 4.0]
    """
    window = np.ones(max(_LEAST, len(values) // 20 | 1))
    given = np.array(values, dtype=np.float64)
    counted = np.isfinite(given)
    sums = np.convolve(np.where(counted, given, 0), window, "same")
    counts = np.convolve(counted, window, "same")
    means = np.divide(sums, counts, out=given, where=counted)
    return [float(mean) for mean in means]


def _rates(training: list[dict[str, Any]]) -> list[Line]:
    distinct: list[Line] = []
    for curve in _collect((line["epoch"], line.get("rates", {})) for line in training):
        twins = [other for other in distinct if (other.x, other.y) == (curve.x, curve.y)]
        if twins:
            twins[0].name += f" = {curve.name}"
        else:
            distinct.append(curve)
    return _coloured(distinct)


def _scores(lines: list[dict[str, Any]]) -> list[Line]:
    """Return a curve per evaluation and metric, then the levels of the baselines."""
    values = _scored(lines)
    curves = _collect(
        (line["epoch"], {name: value})
        for line, name, value in values
        if line["kind"] == "evaluation"
    )
    colours = {curve.name: curve.colour for curve in curves}
    levels: dict[str, Line] = {}
    patterns: dict[str, str] = {}
    for line, name, value in values:
        if line["kind"] == "baseline":
            dashes = patterns.setdefault(line["name"], ("--", ":", "-.")[len(patterns) % 3])
            label = f"{line['name']} {name}"
            levels[label] = Line(label, [], [float(value)], colours.get(name, GREY), dashes)
    return curves + list(levels.values())


def _scored(lines: list[dict[str, Any]]) -> list[tuple[dict[str, Any], str, float]]:
    """Return (line, name, value) of the metrics to draw, the names as short as can be."""
    scored = [line for line in lines if line.get("kind") in ("evaluation", "baseline")]
    primary = {_place(line): line["primary"] for line in scored if "primary" in line}
    values = []
    evaluators: dict[tuple[str, str], set[str]] = {}
    for line in scored:
        target, evaluation = _place(line)
        retrieval = "mAP" in line["metrics"]
        for metric in ("mAP", "rank1") if retrieval else (primary.get(_place(line), "rank1"),):
            if metric in line["metrics"]:
                values.append((line, metric))
                evaluators.setdefault((target, metric), set()).add(evaluation)
    many_targets = len({_place(line)[0] for line in scored}) > 1

    def name(line: dict[str, Any], metric: str) -> str:
        target, evaluation = _place(line)
        many_evaluators = len(evaluators[target, metric]) > 1
        words = [target] * many_targets + [evaluation] * many_evaluators + [metric]
        return " ".join(words)

    return [(line, name(line, metric), line["metrics"][metric]) for line, metric in values]


def _place(line: dict[str, Any]) -> tuple[str, str]:
    return str(line["target"]), str(line["evaluation"])

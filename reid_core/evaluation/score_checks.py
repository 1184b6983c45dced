"""Look at what an evaluator returns before it is printed or written: the contract of ``Scores``."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from numbers import Real
from typing import Any

import numpy as np

from reid_core.boundary import Origin
from reid_core.contracts import Features, Scores
from reid_core.errors import name_list, shortened

KINDS = "biufUS"
"""Kinds of numpy arrays that can be written without pickle and read anywhere."""


def checked_scores(
    found: object, splits: Mapping[str, Features], origin: Origin, place: str = ""
) -> Scores:
    """Return the scores, their metrics as plain numbers.

    Args:
        found: What an evaluator has returned.
        splits: What it has scored.
        origin: Where it comes from.
        place: When, for the message, e.g. ``"on target 'market'"``.

    Raises:
        PluginError: It is no ``Scores``, or one that cannot be compared or written.
    """
    if not isinstance(found, Scores):
        raise origin.fault(f"returned {_spelt(found)}; expected Scores", place)
    faults = (
        *_metric_faults(found),
        *_interval_faults(found),
        *_protocol_faults(found),
        *_array_faults(found, len(splits["query"]) if "query" in splits else None),
    )
    if faults:
        raise origin.fault(f"returned Scores with {'; '.join(faults)}", place)
    metrics = {name: float(value) for name, value in found.metrics.items()}
    intervals = {name: (float(low), float(high)) for name, (low, high) in found.intervals.items()}
    return replace(found, metrics=metrics, intervals=intervals)


def _metric_faults(scores: Scores) -> Iterator[str]:
    """Yield what is wrong with the numbers."""
    metrics = scores.metrics
    if not isinstance(metrics, Mapping) or not metrics:
        yield f"metrics {_spelt(metrics)}; expected numbers by name"
        return
    for name, value in metrics.items():
        if not isinstance(name, str):
            yield f"a metric called {_spelt(name)}; expected a string"
        elif not _is_number(value):
            yield f"metric '{name}' {_spelt(value)}; expected a finite number"
    if scores.primary not in metrics:
        yield f"primary {_spelt(scores.primary)}; expected one of {name_list(map(str, metrics))}"


def _interval_faults(scores: Scores) -> Iterator[str]:
    """Yield what is wrong with the intervals."""
    if not isinstance(scores.intervals, Mapping):
        yield f"intervals {_spelt(scores.intervals)}; expected (low, high) by metric"
        return
    metrics = scores.metrics if isinstance(scores.metrics, Mapping) else {}
    for name, ends in scores.intervals.items():
        if name not in metrics:
            yield f"an interval of {_spelt(name)}, which is no metric"
        elif not isinstance(ends, tuple | list) or len(ends) != 2 or not all(map(_is_number, ends)):
            yield f"interval '{name}' {_spelt(ends)}; expected (low, high)"
        elif ends[0] > ends[1]:
            yield f"interval '{name}' {_spelt(ends)}; low is above high"


def _protocol_faults(scores: Scores) -> Iterator[str]:
    """Yield what is wrong with protocol and card."""
    if not isinstance(scores.protocol, Mapping) or not scores.protocol:
        yield f"protocol {_spelt(scores.protocol)}; expected every choice behind the numbers"
    if not isinstance(scores.card, Mapping):
        yield f"card {_spelt(scores.card)}; expected the protocol in words, by name"
    for name in ("protocol", "card"):
        fault = next(_json_faults(getattr(scores, name), name), None)
        if fault is not None:
            yield fault


def _json_faults(value: Any, place: str) -> Iterator[str]:
    """Yield what of a value JSON does not have, by its place."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if not isinstance(key, str):
                yield f"key {_spelt(key)} in {place}; expected a string"
            yield from _json_faults(inner, f"{place}.{key}")
    elif isinstance(value, list | tuple):
        for position, inner in enumerate(value):
            yield from _json_faults(inner, f"{place}.{position}")
    elif isinstance(value, float):
        if not math.isfinite(value):
            yield f"{place} {_spelt(value)}; expected a finite number"
    elif value is not None and not isinstance(value, str | int):
        yield f"{place} {_spelt(value)}; expected JSON values"


def _array_faults(scores: Scores, queries: int | None) -> Iterator[str]:
    """Yield what is wrong with the arrays; ``queries`` is how many rows those per query have."""
    for kind in ("per_query", "tables"):
        arrays = getattr(scores, kind)
        if not isinstance(arrays, Mapping):
            yield f"{kind} {_spelt(arrays)}; expected arrays by name"
            continue
        for name, array in arrays.items():
            if not isinstance(array, np.ndarray) or array.dtype.kind not in KINDS:
                yield f"{kind}['{name}'] {_spelt(array)}; expected an array of numbers or strings"
                continue
            if kind == "tables":
                continue
            rows = len(array) if array.ndim else 0
            queries = rows if queries is None else queries
            if rows != queries or not array.ndim:
                shape = tuple(array.shape)
                yield f"{kind}['{name}'] of shape {shape}; expected one row for each of {queries}"


def _is_number(value: object) -> bool:
    """Say whether a value is a real finite number, of numpy or not; True and False are none."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, Real):
        return False
    return math.isfinite(value)


def _spelt(value: object) -> str:
    """Return a value and its type for a message."""
    if isinstance(value, np.ndarray):
        return f"an array of {value.dtype}"
    return f"{shortened(repr(value))} ({type(value).__name__})"

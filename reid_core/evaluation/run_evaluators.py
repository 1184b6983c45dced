"""Run the evaluators of the params over their targets; print and keep what they say."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from reid_core.catalog import Catalog
from reid_core.console import say
from reid_core.contracts import Features, Scores
from reid_core.data.store import DAMAGED
from reid_core.errors import ReidError
from reid_core.evaluation.build_evaluator import build_evaluator
from reid_core.files import atomic_path, write_json
from reid_core.params.schema import EvaluationEntry, numbered_names

Extract = Callable[[str, str, frozenset[str]], Features]
"""``extract(target, split, outputs)`` gives the features of one split of a target."""


@dataclass(frozen=True)
class Evaluated:
    """The scores of one entry of the params' evaluation list."""

    name: str
    target: str
    scores: Scores

    @property
    def label(self) -> dict[str, str]:
        """Return evaluator and target, for records."""
        return {"evaluation": self.name, "target": self.target}

    @property
    def primary(self) -> float:
        """Return the number that chooses the best model."""
        return float(self.scores.metrics[self.scores.primary])


def evaluate(
    entries: Sequence[EvaluationEntry],
    catalog: Catalog,
    targets: Sequence[str],
    extract: Extract,
    device: str = "cpu",
) -> list[Evaluated]:
    """Run every evaluator; a split of a target is extracted once and shared.

    Args:
        entries: The params' evaluation list.
        catalog: Offers the evaluators.
        targets: Names of the targets; the first is the default.
        extract: Gives the features of a split.
        device: Where evaluators may work, e.g. ``"cuda:0"``.

    Returns:
        Scores in the order of the entries.
    """
    evaluators = [build_evaluator(entry, catalog, device) for entry in entries]
    chosen = [entry.target or targets[0] for entry in entries]
    wanted: dict[tuple[str, str], frozenset[str]] = {}
    for target, evaluator in zip(chosen, evaluators, strict=True):
        for split in evaluator.splits:
            outputs = wanted.get((target, split), frozenset())
            wanted[target, split] = outputs | evaluator.outputs
    features = {place: extract(*place, outputs) for place, outputs in wanted.items()}
    results = []
    for name, evaluator, target in zip(numbered_names(entries), evaluators, chosen, strict=True):
        splits = {split: features[target, split] for split in evaluator.splits}
        results.append(Evaluated(name, target, evaluator.score(splits)))
    return results


def features_from_files(files: Mapping[str, Features]) -> Extract:
    """Return an ``extract`` that takes saved features instead of running a model."""

    def extract(target: str, split: str, outputs: frozenset[str]) -> Features:
        if split not in files:
            raise ReidError(f"features: no file is given for split '{split}'")
        return files[split]

    return extract


def print_scores(result: Evaluated) -> None:
    """Print the metrics of one evaluation and the protocol card that they belong to."""
    say(f"{result.name} on {result.target}")
    for name, value in result.scores.metrics.items():
        low, high = result.scores.intervals.get(name, (None, None))
        say(f"  {name} {value:.4f}" + ("" if low is None else f"  [{low:.4f}, {high:.4f}]"))
    for key, value in result.scores.card.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        say(f"    {key}: {text}")


def print_briefly(result: Evaluated) -> None:
    """Print an evaluation on one line, and its protocol in short on a second."""
    metrics, primary = result.scores.metrics, result.scores.primary
    names = [primary, *(n for n in ("rank1", "top5", "mINP") if n in metrics)]
    numbers = ", ".join(f"{name} {metrics[name]:.4f}" for name in names)
    say(f"  {result.name} on {result.target}: {numbers}")
    say(f"    {protocol_line(result.scores)}")


def protocol_line(scores: Scores) -> str:
    """Return a protocol in short: every choice that is a word, and the sizes."""
    choices = [f"{key} {word}" for key, word in scores.protocol.items() if isinstance(word, str)]
    return ", ".join([*choices, json.dumps(scores.protocol.get("sizes", {}))])


def save_scores(folder: Path, result: Evaluated, kind: str, model: str) -> Path:
    """Write metrics, protocol and card as JSON, per-query arrays and tables as npz (no pickle).

    Args:
        folder: Where to write.
        result: The scores.
        kind: First part of the files' name: ``best``, ``last``, ``baseline-<name>``.
        model: What was scored, for people, e.g. ``"best model, epoch 10"``.

    Returns:
        The files' path without its ending; see ``read_scores``.
    """
    path = folder / f"{kind}-{result.name}-{result.target}"
    scores = result.scores
    arrays = {f"per_query.{name}": array for name, array in scores.per_query.items()}
    arrays |= {f"tables.{name}": array for name, array in scores.tables.items()}
    with atomic_path(path.with_name(f"{path.name}.npz")) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]
    facts = {
        **result.label,
        "model": model,
        "primary": scores.primary,
        "metrics": {name: float(value) for name, value in scores.metrics.items()},
        "intervals": {name: list(ends) for name, ends in scores.intervals.items()},
        "protocol": dict(scores.protocol),
        "card": dict(scores.card),
    }
    write_json(path.with_name(f"{path.name}.json"), facts)
    return path


def read_scores(
    path: Path, part: Literal["per_query", "tables"] = "per_query"
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return arrays and the facts that ``save_scores`` wrote.

    Args:
        path: The files' path without its ending.
        part: Which arrays.

    Raises:
        ReidError: The files are missing or damaged.
    """
    try:
        with np.load(path.with_name(f"{path.name}.npz"), allow_pickle=False) as file:
            prefix = f"{part}."
            arrays = {n[len(prefix) :]: file[n] for n in file.files if n.startswith(prefix)}
        text = path.with_name(f"{path.name}.json").read_text(encoding="utf-8")
        return arrays, dict(json.loads(text))
    except DAMAGED as error:
        raise ReidError(f"{path}: saved scores are missing or damaged: {error}") from None

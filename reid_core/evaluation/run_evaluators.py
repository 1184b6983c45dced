"""Run the evaluators of the params over their targets; print what they say."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from reid_core.console import say
from reid_core.contracts import CAMID, Features, Scores
from reid_core.errors import ReidError
from reid_core.evaluation.build_evaluator import BuiltEvaluator, build_evaluator
from reid_core.evaluation.split_warnings import WARNING, with_warnings
from reid_core.params.entries import numbered_names
from reid_core.params.schema import EvaluationEntry

Extract = Callable[[str, str, frozenset[str], frozenset[str]], Features]
"""``extract(target, split, outputs, columns)`` gives the features of one split of a target, with
the arrays and the columns of these names."""

Warnings = Callable[[str, BuiltEvaluator], Sequence[str]]
"""``warnings(target, evaluator)`` gives what should be known of the data, a line each."""


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
    targets: Sequence[str],
    extract: Extract,
    device: str = "cpu",
    warnings: Warnings = lambda target, evaluator: [],
) -> list[Evaluated]:
    """Run every evaluator; a split of a target is extracted once and shared.

    Args:
        entries: The params' evaluation list.
        targets: Names of the targets; the first is the default.
        extract: Gives the features of a split.
        device: Where evaluators may work, e.g. ``"cuda:0"``.
        warnings: Gives what the card says of a target's data to those who read an evaluator's
            scores.

    Returns:
        Scores in the order of the entries.

    Raises:
        ReidError: A split lacks what an evaluator reads or cannot be scored, or a plugin failed.
    """
    evaluators = [build_evaluator(entry, device) for entry in entries]
    chosen = [entry.target or targets[0] for entry in entries]
    wanted: dict[tuple[str, str], tuple[frozenset[str], frozenset[str]]] = {}
    for target, evaluator in zip(chosen, evaluators, strict=True):
        for split in evaluator.splits:
            outputs, columns = wanted.get((target, split), (frozenset(), frozenset()))
            wanted[target, split] = outputs | evaluator.outputs, columns | evaluator.columns
    features = {place: extract(*place, *names) for place, names in wanted.items()}
    results = []
    for name, evaluator, target in zip(numbered_names(entries), evaluators, chosen, strict=True):
        splits = {split: features[target, split] for split in evaluator.splits}
        scores = with_warnings(evaluator.score(splits, target), warnings(target, evaluator))
        results.append(Evaluated(name, target, scores))
    return results


def features_from_files(files: Mapping[str, Features]) -> Extract:
    """Return an ``extract`` that takes saved features instead of running a model."""

    def extract(
        target: str, split: str, outputs: frozenset[str], columns: frozenset[str]
    ) -> Features:
        if split not in files:
            raise ReidError(f"features: no file is given for split '{split}'")
        features = files[split]
        return replace(features, columns={**features.columns, CAMID: features.camids})

    return extract


def print_scores(result: Evaluated) -> None:
    """Print the metrics of one evaluation and the protocol card that they belong to."""
    say(f"{result.name} on {result.target}")
    for name, value in result.scores.metrics.items():
        low, high = result.scores.intervals.get(name, (None, None))
        say(f"  {name} {value:.4f}" + ("" if low is None else f"  [{low:.4f}, {high:.4f}]"))
    card = dict(result.scores.card)
    for line in str(card.pop(WARNING, "")).splitlines():
        say(f"    warning: {line}")
    for key, value in card.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        say(f"    {key}: {text}")


def print_briefly(result: Evaluated) -> None:
    """Print an evaluation on one line, and its card in short on a second."""
    metrics, primary = result.scores.metrics, result.scores.primary
    names = [primary, *(n for n in ("rank1", "top5", "mINP") if n in metrics)]
    numbers = ", ".join(f"{name} {metrics[name]:.4f}" for name in names)
    say(f"  {result.name} on {result.target}: {numbers}")
    say(f"    {card_line(result.scores)}")


def card_line(scores: Scores) -> str:
    """Return a protocol card in short: the first words of every choice, sizes and warnings."""
    texts = {k: v for k, v in scores.card.items() if isinstance(v, str)}
    warnings = texts.pop(WARNING, "").splitlines()
    choices = [f"{k} {_first_words(v)}" for k, v in texts.items()]
    count = [f"{len(warnings)} {WARNING}{'s' if len(warnings) > 1 else ''}"] if warnings else []
    return ", ".join([*choices, json.dumps(scores.card.get("sizes", {})), *count])


def _first_words(text: str) -> str:
    return text.partition(":")[0].partition(";")[0]

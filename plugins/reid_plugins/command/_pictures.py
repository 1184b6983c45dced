"""The pictures that ``reid train`` and ``reid evaluate`` leave: curves and ranked lists."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

from reid_core.console import say
from reid_core.evaluation.evaluate_command import Source
from reid_core.evaluation.run_evaluators import Evaluated
from reid_core.evaluation.saved_scores import read_scores, scores_path
from reid_core.params.entries import numbered_names
from reid_core.runs.run import Run
from reid_core.storage.store import Store
from reid_plugins.toolkit.pictures.curves import draw_curves
from reid_plugins.toolkit.pictures.ranked_lists import draw_ranked_lists


def draw_run(run: Run) -> None:
    """Draw a run's curves, and the ranked lists of its best model's saved scores."""
    directory, targets, entries = run.directory, run.scorer.targets, run.params.evaluation
    curves = directory.pictures / "curves.png"
    draw_curves(directory.metrics, curves)
    say(f"picture: {curves}")
    for name, entry in zip(numbered_names(entries), entries, strict=True):
        target = entry.target or next(iter(targets.entries))
        scores = scores_path(directory.evaluations, "best", name, target)
        draw_ranking(
            scores, targets.store(target), directory.pictures / f"ranked-{name}-{target}.png"
        )


def draw_evaluation(source: Source, result: Evaluated, scores: Path) -> None:
    """Draw the ranked lists of a score that is kept, if its images are at hand."""
    if result.target in source.stores:
        picture = scores.with_name(f"ranked-{result.name}-{result.target}.png")
        draw_ranking(scores, source.stores[result.target], picture)


def draw_ranking(scores: Path, store: Store, picture: Path, **choices: Any) -> None:
    """Draw the ranked lists of saved scores, if these scores are of a ranking; say where.

    Args:
        scores: Path of the saved scores without its ending.
        store: Where the images are.
        picture: PNG to write.
        **choices: Of queries and how much of their lists; see ``draw_ranked_lists``.
    """
    arrays, facts = read_scores(scores)
    if "top_indices" in arrays:
        title = f"{facts['evaluation']} on {facts['target']}, {facts['model']}"
        readers = _reader(store, "query"), _reader(store, "gallery")
        draw_ranked_lists(arrays, *readers, picture, title=title, **choices)
        say(f"picture: {picture}")


def _reader(store: Store, split: str) -> Callable[[int], Image.Image]:
    positions = store.index.positions(split)
    return lambda i: store.image(int(positions[i]))

"""The pictures that ``reid train`` and ``reid evaluate`` leave: curves and ranked lists."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from PIL import Image

from reid_core.catalog import Catalog
from reid_core.console import say
from reid_core.data.dataset_stores import Stores
from reid_core.data.store import Store
from reid_core.evaluation.evaluate_command import score, source_of
from reid_core.evaluation.saved_scores import read_scores
from reid_core.evaluation.targets import Targets, target_entries
from reid_core.files import user_path
from reid_core.params.entries import numbered_names
from reid_core.params.schema import EvalParams, RunParams
from reid_core.run_directory import RunDirectory
from reid_plugins.toolkit.pictures.curves import draw_curves
from reid_plugins.toolkit.pictures.ranked_lists import draw_ranked_lists


def draw_run(directory: RunDirectory, params: RunParams) -> None:
    """Draw a run's curves, and the ranked lists of its best model's saved scores."""
    curves = directory.pictures / "curves.png"
    draw_curves(directory.metrics, curves)
    say(f"picture: {curves}")
    targets = Targets(target_entries(params), Stores(user_path(params.working_dir)))
    for name, entry in zip(numbered_names(params.evaluation), params.evaluation, strict=True):
        target = entry.target or next(iter(targets.entries))
        scores = directory.evaluations / f"best-{name}-{target}"
        picture = directory.pictures / f"ranked-{name}-{target}.png"
        _say_all(draw_ranking(scores, targets.store(target), picture))


def score_and_draw(params: EvalParams, catalog: Catalog) -> None:
    """Score what the params name; draw the ranked lists of scores that are saved.

    Raises:
        ReidError: Run, weights, features or data are missing or do not fit together.
    """
    source = source_of(params, catalog)
    for result in score(source, params):
        if params.output_dir is not None and result.target in source.stores:
            folder = user_path(params.output_dir)
            scores = folder / f"scores-{result.name}-{result.target}"
            picture = folder / f"ranked-{result.name}-{result.target}.png"
            _say_all(draw_ranking(scores, source.stores[result.target], picture))


def draw_ranking(scores: Path, store: Store, picture: Path) -> Iterator[Path]:
    """Draw the ranked lists of saved scores, if these scores are of a ranking.

    Args:
        scores: Path of the saved scores without its ending.
        store: Where the images are.
        picture: PNG to write.

    Yields:
        The picture's path, when it was drawn.
    """
    arrays, facts = read_scores(scores)
    if "top_indices" in arrays:
        title = f"{facts['evaluation']} on {facts['target']}, {facts['model']}"
        draw_ranked_lists(
            arrays, _reader(store, "query"), _reader(store, "gallery"), picture, title=title
        )
        yield picture


def _reader(store: Store, split: str) -> Callable[[int], Image.Image]:
    positions = store.index.positions(split)
    return lambda i: store.image(int(positions[i]))


def _say_all(pictures: Iterable[Path]) -> None:
    for picture in pictures:
        say(f"picture: {picture}")

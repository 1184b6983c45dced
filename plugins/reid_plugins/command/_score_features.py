"""Score features of another system as a run's evaluations score the run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from reid_core.catalog import Catalog
from reid_core.errors import ReidError
from reid_core.evaluation.run_evaluators import evaluate, features_from_files
from reid_core.evaluation.saved_scores import save_scores
from reid_core.features.feature_files import load_features
from reid_core.files import user_path
from reid_core.params.json_file import read_json
from reid_core.params.validation import check_run_params
from reid_core.run_directory import RunDirectory


def score_features(run: Path, files: Sequence[str], catalog: Catalog, folder: Path) -> None:
    """Score saved features by the evaluations of a run that rank, and save the scores.

    Args:
        run: The directory of the run.
        files: Query and gallery, as ``reid evaluate`` reads them.
        catalog: Offers the evaluators.
        folder: Where scores are saved, as an output_dir.

    Raises:
        ReidError: There is no run, a file cannot be read, or the features cannot be scored so.
    """
    directory = RunDirectory.open(run)
    params = check_run_params(read_json(directory.params), catalog, str(directory.params))
    ranking = [entry for entry in params.evaluation if "output" in type(entry.params).model_fields]
    if not ranking:
        raise ReidError(f"--gallery: {run} has no evaluation of a ranking to score them by")
    features = {
        split: load_features(user_path(file), split)
        for split, file in zip(("query", "gallery"), files, strict=True)
    }
    entries = [entry.model_copy(update={"target": None}) for entry in ranking]
    for result in evaluate(entries, ["features"], features_from_files(features)):
        save_scores(folder, result, "scores", " and ".join(files))

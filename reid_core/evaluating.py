"""The evaluator program: score a run, a weights file alone, or saved features."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from reid_core.catalog import Catalog
from reid_core.console import say
from reid_core.contracts import Features
from reid_core.datasets import Stores
from reid_core.device import choose_device
from reid_core.errors import ReidError
from reid_core.evaluation import (
    Evaluated,
    Extract,
    evaluate,
    features_from_files,
    print_scores,
    save_scores,
)
from reid_core.feature_files import load_features, save_features
from reid_core.images import Pipeline
from reid_core.params import check_run_params
from reid_core.run_directory import RunDirectory, read_params_of
from reid_core.schema import DatasetEntry, EvalParams, EvaluationEntry
from reid_core.scoring import ModelUnderTest, Targets, check_targets, target_entries
from reid_core.weights import load_model, read_weights


def run_evaluation(params: EvalParams, catalog: Catalog) -> list[Evaluated]:
    """Score what the params name; print every score with its protocol card.

    Returns:
        The scores in the order of the evaluation list.

    Raises:
        ReidError: Run, weights, features or data are missing or do not fit together.
    """
    output = Path(params.output_dir) if params.output_dir else None
    if params.features is not None:
        files = {split: load_features(Path(file)) for split, file in params.features.items()}
        targets, entries = None, list(params.evaluation or [])
        extract, names = features_from_files(files), ["features"]
    else:
        targets, entries, weights = _what_to_score(params, catalog)
        check_targets(entries, catalog, targets)
        extract = targets.extractor(_model(weights, params, catalog))
        names = list(targets.entries)
    if output is not None and targets is not None:
        extract = _saving(extract, output / "features")
    results = evaluate(entries, catalog, names, extract)
    for result in results:
        print_scores(result)
        if output is not None:
            save_scores(output, result)
    if output is not None and targets is not None:
        for picture in targets.pictures(results, output):
            say(f"picture: {picture}")
    return results


def _what_to_score(
    params: EvalParams, catalog: Catalog
) -> tuple[Targets, list[EvaluationEntry], Path]:
    """Return targets, evaluators and the weights file, from the params or from the run."""
    working_dir = Path(params.working_dir)
    datasets: Mapping[str, DatasetEntry] = params.targets or {}
    entries = params.evaluation
    if params.run is not None:
        directory = RunDirectory.open(Path(params.run))
        run = check_run_params(read_params_of(directory), catalog, str(directory.params))
        datasets = datasets or target_entries(run)
        entries = run.evaluation if entries is None else entries
        working_dir = Path(run.working_dir)
        weights = directory.best_weights
        if not weights.is_file():
            raise ReidError(f"{directory.path}: no weights/best.safetensors; has it been trained?")
    else:
        weights = Path(str(params.weights))
    if not entries:
        raise ReidError("evaluation: no evaluator is named; add one to 'evaluation'")
    return Targets(dict(datasets), Stores(catalog, working_dir)), entries, weights


def _model(path: Path, params: EvalParams, catalog: Catalog) -> ModelUnderTest:
    """Load a weights file as a model on the device."""
    weights = read_weights(path)
    model, model_params = load_model(weights, catalog)
    device = choose_device(params.device)
    return ModelUnderTest(
        module=model.to(device),
        pipeline=Pipeline(catalog, model_params.augmentation, training=False),
        classes=weights.classes,
        device=device,
        batch_size=params.batch_size,
        workers=params.workers,
        name=f"{model_params.backbone.name} ({path.name})",
    )


def _saving(extract: Extract, folder: Path) -> Extract:
    """Wrap an ``extract`` so that the features of every split are also written to a file."""

    def run(target: str, split: str, outputs: frozenset[str]) -> Features:
        features = extract(target, split, outputs)
        path = folder / f"{target}-{split}.npz"
        save_features(path, features)
        say(f"features: {path}")
        return features

    return run

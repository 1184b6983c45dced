"""The evaluator program: score a run, a weights file alone, or saved features."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from reid_core.catalog import Catalog
from reid_core.compute.device import choose_device
from reid_core.console import say
from reid_core.contracts import Features
from reid_core.data.transforms import Pipeline
from reid_core.errors import ReidError, did_you_mean, name_list
from reid_core.evaluation.build_evaluator import build_evaluator
from reid_core.evaluation.data_warnings import DataWarnings
from reid_core.evaluation.rehearsal import check_targets
from reid_core.evaluation.run_evaluators import (
    Evaluated,
    Extract,
    Warnings,
    evaluate,
    features_from_files,
    print_scores,
)
from reid_core.evaluation.saved_scores import save_scores
from reid_core.evaluation.targets import Targets, target_entries
from reid_core.evaluation.trained_on import TrainedOn
from reid_core.evaluation.trials import try_evaluations
from reid_core.evaluation.unknown_side import unknown_side_lines
from reid_core.features.averaging import check_scales
from reid_core.features.extraction import ModelUnderTest, blank_values
from reid_core.features.feature_files import load_features, save_features
from reid_core.files import remove_leftovers, user_path
from reid_core.network.trained_model import weights_of
from reid_core.network.trial_runs import not_finite
from reid_core.network.weights import WeightsFile, load_model, read_weights
from reid_core.params.cross_checks import unscored_targets
from reid_core.params.json_file import read_json
from reid_core.params.schema import DatasetEntry, EvalParams, EvaluationEntry, ExtractionParams
from reid_core.params.validation import check_run_params
from reid_core.run_directory import STORES, RunDirectory
from reid_core.storage.dataset_stores import Stores
from reid_core.storage.packing import UNTOUCHED_FOR, remove_packing_leftovers
from reid_core.storage.recorded_data import RecordedData, working_dir_of
from reid_core.storage.store import Store


@dataclass(frozen=True)
class Source:
    """What is scored, and by what.

    Attributes:
        entries: The evaluators.
        targets: Names of what they may score; the first is the default.
        extract: Gives the features of a target's split.
        model: What the features come from, for people.
        stores: The images of the targets that are scored; empty where they are not at hand.
        device: Where evaluators may work.
        warnings: What the cards say of the data.
    """

    entries: Sequence[EvaluationEntry]
    targets: Sequence[str]
    extract: Extract
    model: str
    stores: Mapping[str, Store]
    device: torch.device
    warnings: Warnings = lambda target, evaluator: []


def run_evaluation(
    params: EvalParams,
    catalog: Catalog,
    afterwards: Callable[[Source, Evaluated, Path], None] = lambda *_: None,
) -> list[Evaluated]:
    """Score what the params name; print every score with its protocol card.

    Args:
        params: What is scored, by what, and where the scores are kept.
        catalog: Offers the components of the model that is scored.
        afterwards: Called for each score that is kept, with where it lies (without the ending).

    Returns:
        The scores in the order of the evaluation list.

    Raises:
        ReidError: Run, weights, features or data are missing or do not fit together.
    """
    _tidy(params)
    source = (
        source_of_files(params) if params.features is not None else source_of_model(params, catalog)
    )
    device = str(source.device)
    try_evaluations(source.entries)
    results = evaluate(source.entries, source.targets, source.extract, device, source.warnings)
    for result in results:
        print_scores(result)
        if params.output_dir is not None:
            saved = save_scores(user_path(params.output_dir), result, "scores", source.model)
            say(f"scores: {saved}.json")
            afterwards(source, result, saved)
    return results


def _tidy(params: EvalParams) -> None:
    """Remove the files that killed processes have left where this evaluation reads and writes."""
    for folder in (params.run, params.output_dir):
        if folder is not None:
            remove_leftovers(user_path(folder), UNTOUCHED_FOR)


def source_of_files(params: EvalParams) -> Source:
    """Return the features files of the params as what is scored.

    Raises:
        ReidError: A file cannot be read, or an evaluation names a target.
    """
    entries = params.evaluation or []
    _check_all_read(params.features or {}, entries)
    files = {s: load_features(user_path(f), s) for s, f in (params.features or {}).items()}
    if named := [entry.target for entry in entries if entry.target]:
        raise ReidError(
            f"evaluation: target '{named[0]}' is named, and saved features have no targets; "
            "leave 'target' out"
        )
    device = choose_device(params.device or params.compute.device, key="device")
    extract = features_from_files(files)
    return Source(entries, ["features"], extract, "saved features", stores={}, device=device)


def _check_all_read(files: Mapping[str, str], entries: Sequence[EvaluationEntry]) -> None:
    """Refuse a features file of a split that no evaluator reads."""
    read = {split for entry in entries for split in build_evaluator(entry).splits}
    if unread := [split for split in files if split not in read]:
        raise ReidError(
            f"features.{unread[0]}: no evaluator reads this split{did_you_mean(unread[0], read)} "
            f"(read: {name_list(read)}); leave it out"
        )


def source_of_model(params: EvalParams, catalog: Catalog) -> Source:
    """Return the run or the weights of the params, with their targets, as what is scored.

    Raises:
        ReidError: Run, weights or data are missing or do not fit together.
    """
    targets, entries, weights, extraction = what_to_score(params, catalog)
    model = model_under_test(weights, params, extraction, catalog)
    has_classifier = any(name.startswith("classifier.") for name in weights.tensors)
    blank = partial(blank_values, model)
    check_targets(entries, targets, model.classes, blank, has_classifier=has_classifier)
    for line in unknown_side_lines(entries, targets, model):
        say(line)
    trained = _trained_on(params, targets.stores, model, catalog)
    warnings = DataWarnings(targets, trained, targets.stores.recorded)
    warnings.announce(entries)
    check_scales(model.module, model.pipeline.input_size(), extraction, model.device)
    extract = targets.extractor(model)
    if params.output_dir is not None:
        folder = user_path(params.output_dir) / "features"
        extract = _saving(extract, folder, params.features_format)
    names = list(targets.entries)
    used = dict.fromkeys(entry.target or names[0] for entry in entries)
    stores = {name: targets.store(name) for name in used}
    of_scores = warnings.of_scores
    return Source(entries, names, extract, model.name, stores, model.device, of_scores)


def _trained_on(
    params: EvalParams, stores: Stores, model: ModelUnderTest, catalog: Catalog
) -> TrainedOn:
    """Return what a run was trained on; of weights alone, the persons that they tell apart."""
    if params.run is None:
        return TrainedOn(classes=model.classes)
    directory = RunDirectory.open(user_path(params.run))
    run = check_run_params(read_json(directory.params), catalog, str(directory.params))
    return TrainedOn.of(run, stores.at_hand, model.classes)


def what_to_score(
    params: EvalParams, catalog: Catalog
) -> tuple[Targets, list[EvaluationEntry], WeightsFile, ExtractionParams]:
    """Return targets, evaluators, weights and averaging, from the params or from the run."""
    working_dir, recorded = user_path(params.working_dir or "runs"), RecordedData()
    datasets: Mapping[str, DatasetEntry] = params.targets or {}
    entries, extraction = params.evaluation, params.extraction
    if params.run is not None:
        directory = RunDirectory.open(user_path(params.run))
        run = check_run_params(read_json(directory.params), catalog, str(directory.params))
        datasets = datasets or target_entries(run)
        entries = run.evaluation if entries is None else entries
        extraction = extraction or run.extraction
        if params.working_dir is None:
            working_dir = working_dir_of(directory, run.working_dir)
        recorded = RecordedData.of_run(directory, working_dir)
        weights = weights_of(directory)
        say(f"weights: {weights}")
    else:
        weights = user_path(str(params.weights))
    remove_packing_leftovers(working_dir / STORES)
    if not entries:
        raise ReidError("evaluation: no evaluator is named; add one to 'evaluation'")
    for problem in unscored_targets(params.targets or {}, entries, "targets"):
        raise ReidError(problem)
    targets = Targets(dict(datasets), Stores(working_dir, recorded))
    return targets, entries, read_weights(weights), extraction or ExtractionParams()


def model_under_test(
    weights: WeightsFile, params: EvalParams, extraction: ExtractionParams, catalog: Catalog
) -> ModelUnderTest:
    """Put the model of a weights file on the device."""
    network, model_params = load_model(weights, catalog)
    device = choose_device(params.device or params.compute.device, key="device")
    return ModelUnderTest(
        module=network.to(device),
        pipeline=Pipeline(model_params.augmentation, training=False),
        extraction=extraction,
        classes=weights.classes,
        device=device,
        batch_size=params.batch_size,
        workers=params.workers,
        name=f"{model_params.backbone.bare_name} ({weights.path.name})",
        side_values=network.side_values,
        not_finite=partial(not_finite, network),
    )


def _saving(extract: Extract, folder: Path, ending: str) -> Extract:
    """Wrap an ``extract`` so that the features of every split are also written to a file."""

    def run(target: str, split: str, outputs: frozenset[str], columns: frozenset[str]) -> Features:
        features = extract(target, split, outputs, columns)
        path = folder / f"{target}-{split}.{ending}"
        save_features(path, features)
        say(f"features: {path}")
        return features

    return run

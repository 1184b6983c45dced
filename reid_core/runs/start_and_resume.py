"""Start, resume and finish a training run: every part is built from params and handed on."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from reid_core.catalog import Catalog
from reid_core.compute.device import choose_device
from reid_core.console import say
from reid_core.contracts import Translation
from reid_core.data.training_images import TrainingImages
from reid_core.evaluation.during_training import Scorer
from reid_core.files import user_path
from reid_core.network.snapshot import load_snapshot
from reid_core.network.weights import read_weights
from reid_core.params.json_file import read_json
from reid_core.params.schema import RunParams
from reid_core.run_directory import RunDirectory, new_run_path
from reid_core.runs.callbacks import Callbacks
from reid_core.runs.checkpoint import read_checkpoint, restore
from reid_core.runs.checks import check_without_data
from reid_core.runs.resume_rules import check_same_past
from reid_core.runs.run import Run, open_run
from reid_core.runs.same_data import check_same_data
from reid_core.storage.dataset_stores import Stores
from reid_core.storage.recorded_data import RecordedData, working_dir_of
from reid_core.training.assembly import build_training, describe
from reid_core.training.state import Training

Afterwards = Callable[[Run], None]
"""Called with a run that has ended, while it is still locked: commands draw its pictures."""


def start_train(
    params: RunParams,
    catalog: Catalog,
    name: str = "",
    translation: Translation | None = None,
    afterwards: Afterwards = lambda run: None,
) -> RunDirectory:
    """Train from scratch in a new run directory.

    The directory is made when params, data and model are known to fit together, so that a
    mistake leaves nothing behind.

    Args:
        params: Resolved params.
        catalog: Offers the components of trained models that an objective opens.
        name: Sub-directory of the working directory; empty: the time.
        translation: Of a params file in another system's vocabulary.
        afterwards: Called when the run has ended.

    Raises:
        ReidError: The params do not fit the model or the data, or the directory exists.
    """
    path = new_run_path(params.working_dir, name)
    check_without_data(params, catalog)
    stores = Stores(user_path(params.working_dir))
    training, scorer, callbacks = _prepare(params, catalog, stores)
    _load_snapshot(training)
    directory = RunDirectory.create(path, params.model_dump(mode="json"), translation)
    say(f"run directory: {directory.path}")
    with directory.locked():
        with open_run(directory, training, scorer, callbacks) as run:
            _begin(run)
            _finish(run)
        afterwards(run)  # from here on Ctrl-C has its usual effect: everything is saved
    return directory


def resume_train(
    path: Path,
    catalog: Catalog,
    params: RunParams,
    afterwards: Afterwards = lambda run: None,
) -> RunDirectory:
    """Continue an interrupted run from its last checkpoint.

    A run that was stopped before its first checkpoint starts again from its beginning.

    Args:
        path: The run directory.
        catalog: Offers the components of the run as it was, and of trained models that an
            objective opens.
        params: The run's own params, or changed ones; a change must not alter the past.
        afterwards: Called when the run has ended.

    Raises:
        ReidError: There is no run, or the changes would alter what was trained already.
    """
    directory = RunDirectory.open(path)
    with directory.locked():
        directory.remove_leftovers()
        before = read_json(directory.params)
        check_same_past(directory, before, params, catalog)
        stores = _stores_of(directory, before, params)
        is_begun, log_bytes = directory.checkpoint.is_file(), 0
        training, scorer, callbacks = _prepare(params, catalog, stores, restored=is_begun)
        checkpoint = read_checkpoint(directory.checkpoint) if is_begun else None
        scored = checkpoint is not None and bool(checkpoint["state"]["history"])
        check_same_data(directory, params, stores, scorer.data_hashes(), scored=scored)
        if checkpoint is not None:
            restore(checkpoint, training, directory.checkpoint)
            callbacks.load_state_dict(checkpoint["callbacks"])
            log_bytes, state = checkpoint["log_bytes"], training.state
            say(f"resuming {directory.path} at epoch {state.epoch + 1}, step {state.step}")
        else:
            _load_snapshot(training)
        directory.write_params(params.model_dump(mode="json"))
        with open_run(directory, training, scorer, callbacks, log_bytes) as run:
            if not is_begun:
                _begin(run)
            _finish(run)
        afterwards(run)
    return directory


def _stores_of(directory: RunDirectory, before: dict[str, Any], params: RunParams) -> Stores:
    """Return the stores of a run that is continued, wherever it has been moved to."""
    if params.working_dir == before.get("working_dir"):
        working_dir = working_dir_of(directory, params.working_dir)
    else:
        working_dir = user_path(params.working_dir)
    return Stores(working_dir, RecordedData.of_run(directory, working_dir))


def _prepare(
    params: RunParams, catalog: Catalog, stores: Stores, *, restored: bool = False
) -> tuple[Training, Scorer, Callbacks]:
    """Open the data and build every part; no step is done and nothing is written but stores."""
    device = choose_device(
        params.device, "train.device" if params.train.device else "compute.device"
    )
    _seed(params.train.seed, deterministic=params.train.deterministic)
    images = TrainingImages.of([(entry.label, stores.open(entry)) for entry in params.data.train])
    training = build_training(params, catalog, images, stores, device, restored=restored)
    return training, Scorer(training, stores), Callbacks(params.callback, len(images))


def _load_snapshot(training: Training) -> None:
    """Start from the weights file of the params, if they name one."""
    if snapshot := training.params.train.pretrain_snapshot:
        model = training.module.model
        for line in load_snapshot(read_weights(user_path(snapshot)), model, training.classes):
            say(line)


def _begin(run: Run) -> None:
    """Say what is trained, and score what it starts from."""
    for line in describe(run.training):
        say(line)
    run.baselines()


def _finish(run: Run) -> None:
    """Train the epochs that are left, and leave weights and scores."""
    run.epochs()
    run.finish()


def _seed(seed: int, *, deterministic: bool) -> None:
    """Seed the global generators: initial weights and dropout draw from torch's."""
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)
    if deterministic:
        # Read when CUDA starts; without it cuBLAS is not deterministic.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.backends.cudnn.benchmark = False

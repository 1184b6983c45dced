"""Start, resume and finish a training run: every part is built from params and handed on."""

from __future__ import annotations

import os
import random
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from reid_core.catalog import Catalog
from reid_core.compute.device import choose_device
from reid_core.console import say
from reid_core.contracts import Translation
from reid_core.data.dataset_stores import Stores
from reid_core.data.images import TrainingImages
from reid_core.evaluation.during_training import Scorer
from reid_core.files import user_path
from reid_core.interrupt import Interrupt
from reid_core.network.weights import load_snapshot, read_weights
from reid_core.params.schema import RunParams
from reid_core.run_directory import (
    RunDirectory,
    new_run_path,
    read_params_of,
    write_environment,
)
from reid_core.runs.checkpoint import read_checkpoint, restore
from reid_core.runs.log import RunLog
from reid_core.runs.resume_rules import check_same_data, check_same_past
from reid_core.runs.run import Run
from reid_core.training.assembly import Parts, build_parts, check_on_meta, describe


@dataclass(frozen=True)
class Prepared:
    """Everything of a run that is read or built before its first step."""

    params: RunParams
    device: torch.device
    images: TrainingImages
    parts: Parts
    scorer: Scorer


def start_train(
    params: RunParams, catalog: Catalog, name: str = "", translation: Translation | None = None
) -> RunDirectory:
    """Train from scratch in a new run directory.

    The directory is made when params, data and model are known to fit together, so that a
    mistake leaves nothing behind.

    Args:
        params: Resolved params.
        catalog: Offers the components.
        name: Sub-directory of the working directory; empty: the time.
        translation: Of a params file in another system's vocabulary.

    Raises:
        ReidError: The params do not fit the model or the data, or the directory exists.
    """
    path = new_run_path(params, name)
    check_on_meta(params, catalog)
    prepared = _prepare(params, catalog)
    _load_snapshot(prepared)
    directory = RunDirectory.create(path, params, translation)
    say(f"run directory: {directory.path}")
    with directory.locked():
        _train(directory, prepared)
    return directory


def resume_train(path: Path, catalog: Catalog, params: RunParams) -> RunDirectory:
    """Continue an interrupted run from its last checkpoint.

    A run that was stopped before its first checkpoint starts again from its beginning.

    Args:
        path: The run directory.
        catalog: Offers the components.
        params: The run's own params, or changed ones; a change must not alter the past.

    Raises:
        ReidError: There is no run, or the changes would alter what was trained already.
    """
    directory = RunDirectory.open(path)
    with directory.locked():
        directory.remove_leftovers()
        check_same_past(directory, read_params_of(directory), params, catalog)
        prepared = _prepare(params, catalog)
        check_same_data(directory, prepared.images.content_hashes())
        log_bytes = None
        if directory.checkpoint.is_file():
            checkpoint = read_checkpoint(directory.checkpoint)
            restore(checkpoint, prepared.parts.training(), directory.checkpoint)
            log_bytes, state = checkpoint["log_bytes"], prepared.parts.state
            say(f"resuming {directory.path} at epoch {state.epoch + 1}, step {state.step}")
        else:
            _load_snapshot(prepared)
        directory.write_params(params)
        _train(directory, prepared, log_bytes)
    return directory


def _prepare(params: RunParams, catalog: Catalog) -> Prepared:
    """Open the data and build every part; no step is done and nothing is written but stores."""
    device = choose_device(params.train.device)
    _seed(params.train.seed, deterministic=params.train.deterministic)
    stores = Stores(catalog, user_path(params.working_dir))
    images = TrainingImages.of([(entry.label, stores.open(entry)) for entry in params.data.train])
    parts = build_parts(params, catalog, images, device)
    return Prepared(params, device, images, parts, Scorer(params, catalog, stores, parts, device))


def _load_snapshot(prepared: Prepared) -> None:
    """Start from the weights file of the params, if they name one."""
    snapshot = prepared.params.train.pretrain_snapshot
    if snapshot:
        model, classes = prepared.parts.module.model, prepared.images.classes
        for line in load_snapshot(read_weights(user_path(snapshot)), model, classes):
            say(line)


def _train(directory: RunDirectory, prepared: Prepared, log_bytes: int | None = None) -> None:
    """Train the epochs that are left, and leave weights and pictures.

    Args:
        directory: Where to write; it is locked.
        prepared: The parts, in the state to continue from.
        log_bytes: Length of the record to keep; None for a run that begins.
    """
    params, parts, scorer = prepared.params, prepared.parts, prepared.scorer
    with ExitStack() as stack:
        interrupt = stack.enter_context(Interrupt())
        log = RunLog(
            directory,
            keep_bytes=log_bytes or 0,
            step=parts.state.step,
            every=params.train.log_every,
        )
        stack.callback(log.close)
        run = Run(directory, params, parts, scorer, log, interrupt)
        if log_bytes is None:
            write_environment(directory, prepared.device, scorer.data_hashes())
            for line in describe(params, parts, prepared.images):
                say(line)
            run.baselines()
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

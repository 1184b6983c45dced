"""Start, resume and finish a training run: every part is built from params and handed on."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from reid_core.assembly import Parts, build_parts, check_on_meta, describe
from reid_core.catalog import Catalog
from reid_core.checkpoint import read_checkpoint, restore, save_checkpoint
from reid_core.console import progress_bar, say
from reid_core.datasets import Stores
from reid_core.device import choose_device
from reid_core.evaluation import Evaluated, print_scores, save_scores
from reid_core.images import TrainingImages
from reid_core.interrupt import Interrupt
from reid_core.legacy import Translation
from reid_core.resuming import check_same_past
from reid_core.run_directory import (
    RunDirectory,
    new_run_path,
    read_params_of,
    write_environment,
)
from reid_core.run_log import RunLog, summary_lines
from reid_core.schema import RunParams
from reid_core.scoring import Scorer
from reid_core.training import Training, check_weights, train_one_epoch
from reid_core.weights import load_snapshot, read_weights, save_weights


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
        translation: Of a params file in the predecessor's vocabulary.

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
    stores = Stores(catalog, Path(params.working_dir))
    images = TrainingImages.of([(entry.label, stores.open(entry)) for entry in params.data.train])
    parts = build_parts(params, catalog, images, device)
    return Prepared(params, device, images, parts, Scorer(params, catalog, stores, parts, device))


def _load_snapshot(prepared: Prepared) -> None:
    """Start from the weights file of the params, if they name one."""
    snapshot = prepared.params.train.pretrain_snapshot
    if snapshot:
        model, classes = prepared.parts.module.model, prepared.images.classes
        for line in load_snapshot(read_weights(Path(snapshot)), model, classes):
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
        run = _Run(directory, params, parts, scorer, log, interrupt)
        if log_bytes is None:
            write_environment(directory, prepared.device, scorer.data_hashes())
            for line in describe(params, parts, prepared.images):
                say(line)
            run.baselines()
        run.epochs()
        run.finish()


class _Run:
    """The parts of a run that write: scores, checkpoints, weights, pictures."""

    def __init__(
        self,
        directory: RunDirectory,
        params: RunParams,
        parts: Parts,
        scorer: Scorer,
        log: RunLog,
        interrupt: Interrupt,
    ) -> None:
        self.directory, self.params, self.parts = directory, params, parts
        self.scorer, self.log, self.interrupt = scorer, log, interrupt
        self.training: Training = parts.training(
            report=lambda progress, result, rates: log.step(
                progress, result, rates, parts.images_per_step
            ),
            after_step=self._after_step,
        )

    def baselines(self) -> None:
        """Score a colour histogram and the untrained network, if the params ask for it."""
        if self.params.train.baselines:
            for name, results in self.scorer.baselines():
                say(f"baseline: {name}")
                for result in results:
                    self.log.scores("baseline", {"name": name, **result.label}, 0, result.scores)
                    say("  " + _short(result))
        self.save()
        self.interrupt.check(self._how_to_resume())

    def epochs(self) -> None:
        """Train what is left; evaluate, keep the best and save after every epoch."""
        state, total = self.parts.state, self.params.train.epochs
        every = self.params.train.evaluate_every
        while state.epoch < total:
            with self._bar(f"epoch {state.epoch + 1}/{total}"):
                train_one_epoch(self.training)
            check_weights(self.parts.module, state.step)
            last = state.epoch == total
            if self.params.evaluation and (last or (every and state.epoch % every == 0)):
                self._evaluate(full=last)
            self.save()
            self.interrupt.check(self._how_to_resume())

    def finish(self) -> None:
        """Write the last weights and the pictures."""
        self._save_weights(self.directory.last_weights)
        if not self.params.evaluation:
            self._save_weights(self.directory.best_weights)
        for picture in self.scorer.pictures(self.directory):
            say(f"picture: {picture}")
        say(f"weights: {self.directory.best_weights}")
        for line in summary_lines(self.directory.metrics):
            say(line)

    def save(self) -> None:
        """Write the checkpoint together with the length of the record that belongs to it."""
        check_weights(self.parts.module, self.parts.state.step)
        save_checkpoint(self.directory.checkpoint, self.training, self.log.flushed_bytes())

    def _evaluate(self, *, full: bool) -> None:
        """Score the model; the first evaluator decides whether it is the best so far."""
        state = self.parts.state
        results = self.scorer.scores()
        for result in results:
            label = {**result.label, "epoch": state.epoch}
            self.log.scores("evaluation", label, state.step, result.scores)
            save_scores(self.directory.evaluations, result)
            if full:
                print_scores(result)
            else:
                say(f"  {_short(result)}")
        score = results[0].primary
        state.history.append((state.epoch, score))
        if state.best is None or score > state.best:
            state.best = score
            self._save_weights(self.directory.best_weights)

    def _save_weights(self, path: Path) -> None:
        save_weights(path, self.parts.module.model, self.scorer.weights_metadata())

    def _after_step(self) -> None:
        """Save when it is time or when a signal has come; then stop if it has."""
        every, state = self.params.train.checkpoint_every_steps, self.parts.state
        if self.interrupt.received or (every and state.step % every == 0):
            self.save()
        self.interrupt.check(self._how_to_resume())

    def _how_to_resume(self) -> str:
        return (
            f"stopped after step {self.parts.state.step}; everything is saved. Continue with: "
            f"python train.py --operation resume_train --sub_working_dir {self.directory.path}"
        )

    @contextmanager
    def _bar(self, label: str) -> Iterator[None]:
        with progress_bar(label) as tick:
            self.log.tick = tick
            yield
            self.log.tick = None


def _seed(seed: int, *, deterministic: bool) -> None:
    """Seed the global generators: initial weights and dropout draw from torch's."""
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)
    if deterministic:
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.backends.cudnn.benchmark = False


def _short(result: Evaluated) -> str:
    """Return the primary metric and two more on one line."""
    metrics = result.scores.metrics
    names = [result.scores.primary, *(n for n in ("rank1", "top5", "mINP") if n in metrics)]
    numbers = ", ".join(f"{name} {metrics[name]:.4f}" for name in names)
    return f"{result.name} on {result.target}: {numbers}"

"""A training in work: baselines, epochs, evaluations, and what each of them leaves on the disk."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

from reid_core.console import progress_bar, say
from reid_core.contracts import Progress
from reid_core.evaluation.during_training import Scorer
from reid_core.evaluation.run_evaluators import print_briefly, print_scores
from reid_core.evaluation.saved_scores import save_scores
from reid_core.interrupt import Interrupt
from reid_core.network.weights import save_weights, weights_metadata
from reid_core.run_directory import RunDirectory
from reid_core.runs.checkpoint import save_checkpoint
from reid_core.runs.metrics_log import RunLog
from reid_core.training.loop import StepResult, Training, check_weights, train_one_epoch


class Run:
    """A training in work: what it writes, and when; see ``open_run``."""

    def __init__(
        self,
        directory: RunDirectory,
        training: Training,
        scorer: Scorer,
        log: RunLog,
        interrupt: Interrupt,
    ) -> None:
        """Join what trains with what scores, records, and stops it."""
        self.directory, self.training, self.scorer = directory, training, scorer
        self.log, self.interrupt = log, interrupt
        self.params, self.state = training.params, training.state

    def baselines(self) -> None:
        """Score a colour histogram and the untrained network, if the params ask for it."""
        if self.params.train.baselines:
            for name, results in self.scorer.baselines():
                say(f"baseline: {name}")
                for result in results:
                    self.log.scores("baseline", {"name": name, **result.label}, 0, result.scores)
                    kind = f"baseline-{name.replace(' ', '-')}"
                    save_scores(self.directory.evaluations, result, kind, name)
                    print_briefly(result)
        self.save()
        self._stop_if_asked()

    def epochs(self) -> None:
        """Train and score what is left, saving after every epoch and every evaluation."""
        state, total = self.state, self.params.train.epochs
        while state.epoch < total or state.unscored:
            if not state.unscored:
                with self._bar(f"epoch {state.epoch + 1}/{total}"):
                    train_one_epoch(self.training, self._report, self._after_step)
                state.unscored = self._evaluation_is_due()
            # Before the evaluation: whatever goes wrong in it, what was trained is kept.
            self.save()
            if state.epoch == total:
                self._save_weights(self.directory.last_weights)
            self._stop_if_asked()
            if state.unscored:
                self._evaluate(full=state.epoch == total)
                state.unscored = False
                self.save()
                self._stop_if_asked()

    def finish(self) -> None:
        """Leave the best weights."""
        if not self.params.evaluation:
            self._save_weights(self.directory.best_weights)
        say(f"weights: {self.directory.best_weights}")

    def save(self) -> None:
        """Write the checkpoint together with the length of the record that belongs to it."""
        check_weights(self.training.module, self.state.step)
        save_checkpoint(self.directory.checkpoint, self.training, self.log.flushed_bytes())

    def _evaluation_is_due(self) -> bool:
        """Return whether the epoch that has just ended is to be scored."""
        epoch, every = self.state.epoch, self.params.train.evaluate_every
        last = epoch == self.params.train.epochs
        return bool(self.params.evaluation) and (last or (every > 0 and epoch % every == 0))

    def _evaluate(self, *, full: bool) -> None:
        """Score the model; the first evaluator decides whether it is the best so far."""
        state = self.state
        results = self.scorer.scores()
        score = results[0].primary
        is_best = state.best is None or score > state.best
        for result in results:
            label = {**result.label, "epoch": state.epoch}
            self.log.scores("evaluation", label, state.step, result.scores)
            for kind in ("last", "best") if is_best else ("last",):
                model = f"{kind} model, epoch {state.epoch}"
                save_scores(self.directory.evaluations, result, kind, model)
            if full:
                print_scores(result)
            else:
                print_briefly(result)
        state.history.append((state.epoch, score))
        if is_best:
            state.best = score
            self._save_weights(self.directory.best_weights)

    def _save_weights(self, path: Path) -> None:
        training = self.training
        model, size = training.module.model, self.scorer.model.pipeline.input_size()
        classes, hashes = training.classes, training.data_hashes
        metadata = weights_metadata(self.params, model, size, classes, hashes)
        save_weights(path, model, metadata)

    def _report(self, progress: Progress, result: StepResult, rates: Mapping[str, float]) -> None:
        self.log.step(progress, result, rates, self.training.images_per_step)

    def _after_step(self) -> None:
        """Save when it is time or when a signal has come; then stop if it has."""
        every, state = self.params.train.checkpoint_every_steps, self.state
        if self.interrupt.received or (every and state.step % every == 0):
            self.save()
        self._stop_if_asked()

    def _stop_if_asked(self) -> None:
        """Leave the training if a signal has come; everything is saved.

        Raises:
            Interrupted: The message says how to continue.
        """
        path = shlex.quote(str(self.directory.path))
        self.interrupt.check(
            f"stopped after step {self.state.step}; everything is saved. Continue with: "
            f"reid train --operation resume_train --sub_working_dir {path}"
        )

    @contextmanager
    def _bar(self, label: str) -> Iterator[None]:
        with progress_bar(label) as tick:
            self.log.tick = tick
            yield
            self.log.tick = None


@contextmanager
def open_run(
    directory: RunDirectory, training: Training, scorer: Scorer, log_bytes: int = 0
) -> Iterator[Run]:
    """Open the record and listen to signals while a run is in work.

    Args:
        directory: Where to write; it is locked.
        training: In the state to continue from.
        scorer: Of its model.
        log_bytes: Length of the record to keep; 0 for a run that begins.
    """
    step, every = training.state.step, training.params.train.log_every
    with (
        Interrupt() as interrupt,
        closing(RunLog(directory, keep_bytes=log_bytes, step=step, every=every)) as log,
    ):
        yield Run(directory, training, scorer, log, interrupt)

"""A training in work: baselines, epochs, evaluations, and what each of them leaves on the disk."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

from reid_core.boundary import Origin
from reid_core.console import duration, progress_bar, say
from reid_core.contracts import Progress
from reid_core.data.loader_troubles import LoadingStopped
from reid_core.errors import ReidError
from reid_core.evaluation.during_training import Scorer
from reid_core.evaluation.run_evaluators import Evaluated, print_briefly, print_scores
from reid_core.evaluation.saved_scores import save_scores
from reid_core.interrupt import Interrupt
from reid_core.network.weights import save_weights, weights_metadata
from reid_core.output import outlived
from reid_core.run_directory import RunDirectory
from reid_core.runs.callback_context import RunContext
from reid_core.runs.callbacks import Callbacks
from reid_core.runs.checkpoint import save_checkpoint
from reid_core.runs.environment import record_start
from reid_core.runs.metrics_log import RunLog
from reid_core.runs.text_log import NAME as TEXT_LOG
from reid_core.runs.text_log import logged
from reid_core.training.loop import check_weights, train_one_epoch
from reid_core.training.module import StepResult
from reid_core.training.state import Training


class Run:
    """A training in work: what it writes, and when; see ``open_run``."""

    def __init__(
        self,
        directory: RunDirectory,
        training: Training,
        scorer: Scorer,
        callbacks: Callbacks,
        log: RunLog,
        interrupt: Interrupt,
    ) -> None:
        """Join what trains with what scores, records, and stops it."""
        self.directory, self.training, self.scorer = directory, training, scorer
        self.callbacks, self.log, self.interrupt = callbacks, log, interrupt
        self.params, self.state = training.params, training.state
        self._clock, self._first_step = time.monotonic(), training.state.step

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
        while not self._is_over() or self.state.unscored:
            if not self.state.unscored:
                self._train()
            # Before the evaluation: whatever goes wrong in it, what was trained is kept.
            self.save()
            if self._is_over():
                self._save_weights(self.directory.last_weights)
            self._stop_if_asked()
            if self.state.unscored:
                self._score()
                self.save()
                self._stop_if_asked()

    def _train(self) -> None:
        """Train to the end of the epoch."""
        state = self.state
        if not state.position:
            self.callbacks.before_epoch(self._context)
        with self._bar(f"epoch {state.epoch + 1}/{self.params.train.epochs}"):
            try:
                train_one_epoch(self.training, self._report, self._after_step)
            except LoadingStopped:
                # Between two steps; at the first one nothing is new since the last checkpoint.
                if state.position:
                    self.save()
                raise
        self._end(self.callbacks.after_epoch(self._context))
        state.unscored = self._evaluation_is_due()

    def _score(self) -> None:
        """Evaluate, and let callbacks look at the scores."""
        results = self._evaluate()
        self.state.unscored = False
        scores = {f"{r.name}/{r.target}": r.scores for r in results}
        was_over = self._is_over()
        self._end(self.callbacks.after_evaluation(self._context, scores))
        if self._is_over() and not was_over:
            self._save_weights(self.directory.last_weights)
        for result in results:
            if self._is_over():
                print_scores(result)
            else:
                print_briefly(result)

    def _is_over(self) -> bool:
        """Return whether the last epoch is trained, or a callback has ended the training."""
        return self.state.epoch >= self.params.train.epochs or bool(self.state.ended_by)

    def _end(self, ended_by: str) -> None:
        """Remember that a callback ends the training, if one does."""
        if ended_by and not self.state.ended_by:
            self.state.ended_by = ended_by
            say(f"callback '{ended_by}' ends the training after epoch {self.state.epoch}")

    def _context(self, name: str, origin: Origin, may_relabel: bool) -> RunContext:
        return RunContext(self.training, self.scorer, self.log, name, origin, may_relabel)

    def finish(self) -> None:
        """Leave the best weights."""
        if not self.params.evaluation:
            self._save_weights(self.directory.best_weights)
        say(f"weights: {self.directory.best_weights}")

    def save(self) -> None:
        """Write the checkpoint together with the length of the record that belongs to it."""
        check_weights(self.training.module, self.state.step)
        length = self.log.flushed_bytes()
        states = self.callbacks.state_dict()
        save_checkpoint(self.directory.checkpoint, self.training, length, states)

    def _evaluation_is_due(self) -> bool:
        """Return whether the epoch that has just ended is to be scored."""
        epoch, every = self.state.epoch, self.params.train.evaluate_every
        due = self._is_over() or (every > 0 and epoch % every == 0)
        return bool(self.params.evaluation) and due

    def _evaluate(self) -> list[Evaluated]:
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
        state.history.append((state.epoch, score))
        if is_best:
            state.best = score
            self._save_weights(self.directory.best_weights)
        return results

    def _save_weights(self, path: Path) -> None:
        training = self.training
        model, size = training.module.model, self.scorer.model.pipeline.input_size()
        classes, hashes = training.classes, training.content_hashes()
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
        self.interrupt.check(
            f"stopped after step {self.state.step}; everything is saved. {self._how_to_continue()}"
        )

    def _how_to_continue(self) -> str:
        path = shlex.quote(str(self.directory.path))
        return f"Continue with: reid train --operation resume_train --sub_working_dir {path}"

    @contextmanager
    def told_how_to_continue(self) -> Iterator[None]:
        """Say what is saved, and how to go on, when no more images come.

        Raises:
            ReidError: They do not.
            Interrupted: They do not because a signal has ended everything.
        """
        try:
            yield
        except LoadingStopped as error:
            self._stop_if_asked()
            what, *more = error.args
            saved = f"All {self.state.step} steps so far are saved. {self._how_to_continue()}"
            raise ReidError(f"{what}. {saved}", *more) from error

    @contextmanager
    def _bar(self, label: str) -> Iterator[None]:
        with progress_bar(label) as tick:
            self.log.tick = lambda done, total, text="": tick(done, total, self._timed(text))
            yield
            self.log.tick = None

    def _timed(self, text: str) -> str:
        """Add the time that this start has taken so far, evaluations included, and what is left."""
        state, elapsed = self.state, time.monotonic() - self._clock
        done = state.step - self._first_step
        left = self.params.train.epochs * len(self.training.batches) - state.step
        estimate = elapsed / max(1, done) * max(0, left)
        return f"{text}, run {duration(elapsed)}, {duration(estimate)} left"


@contextmanager
def open_run(
    directory: RunDirectory,
    training: Training,
    scorer: Scorer,
    callbacks: Callbacks,
    log_bytes: int = 0,
) -> Iterator[Run]:
    """Open the records and listen to signals while a run is in work.

    An output that can no longer be written does not end the run; its log says so.

    Args:
        directory: Where to write; it is locked.
        training: In the state to continue from.
        scorer: Of its model.
        callbacks: Of its params.
        log_bytes: Length of the record to keep; 0 for a run that begins.
    """
    record_start(directory, training.device, scorer.data_hashes())
    step = training.state.step
    beginning = f"start at step {step}: {shlex.join(sys.argv)}"
    with outlived(), logged(directory.path / TEXT_LOG, beginning):
        log = RunLog(
            directory,
            keep_bytes=log_bytes,
            step=step,
            every=training.params.train.log_every,
            loggers=training.params.logger,
        )
        with Interrupt() as interrupt, closing(log):
            run = Run(directory, training, scorer, callbacks, log, interrupt)
            with run.told_how_to_continue():
                yield run

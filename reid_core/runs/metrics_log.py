"""The record of a run: metrics.jsonl, what loggers make of it, and the lines for a person."""

from __future__ import annotations

import json
import math
import os
import resource
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from reid_core.console import Ticker, warn
from reid_core.contracts import Progress, Scores
from reid_core.errors import name_list
from reid_core.files import saving
from reid_core.metrics_file import read_metrics
from reid_core.params.entries import LoggerEntry
from reid_core.run_directory import RunDirectory
from reid_core.runs.loggers import Loggers
from reid_core.runs.record_file import open_record
from reid_core.timestamps import timestamp
from reid_core.training.loop import check_accuracy, check_finite
from reid_core.training.module import StepResult


class RunLog:
    """Writes what happens; a resumed run cuts it back to its checkpoint first."""

    def __init__(
        self,
        directory: RunDirectory,
        *,
        keep_bytes: int,
        step: int,
        every: int,
        loggers: Sequence[LoggerEntry] = (),
    ) -> None:
        """Open the record.

        Args:
            directory: The run.
            keep_bytes: Length of metrics.jsonl that belongs to the checkpoint.
            step: Step of the checkpoint.
            every: Steps between training lines.
            loggers: Of the params; they receive every line.

        Raises:
            ReidError: Lines that belong to the checkpoint are lost, or it cannot be written.
        """
        self.directory, self.every = directory, every
        self._loggers = Loggers(loggers, directory.path, step)
        self._file = open_record(directory.metrics, keep_bytes)
        self._clock, self._images = time.monotonic(), 0
        self._left_out: set[str] = set()
        self.tick: Ticker | None = None

    def step(
        self, progress: Progress, result: StepResult, rates: Mapping[str, float], images: int
    ) -> None:
        """Record a training step, if it is its turn.

        Raises:
            ReidError: The loss is NaN or infinite, or an accuracy is none.
        """
        self._images += images
        done = progress.step + 1
        ends_epoch = done % progress.steps_per_epoch == 0
        if done % self.every and not ends_epoch:
            return
        check_finite(progress, result)
        if result.accuracy is not None:
            check_accuracy(progress, result, float(result.accuracy))
        line = {
            "kind": "train",
            "step": done,
            "epoch": round(done / progress.steps_per_epoch, 4),
            "total": float(result.total.detach()),
            "losses": {name: float(value) for name, value in result.losses.items()},
            "monitors": self._monitors(result, done),
            "rates": dict(rates),
            "images_per_second": self._speed(),
            "memory_mb": memory_mb(),
        }
        self._write(line)
        if self.tick is not None:
            self.tick(
                progress.step - progress.epoch * progress.steps_per_epoch + 1,
                progress.steps_per_epoch,
                _summary(line),
            )

    def _monitors(self, result: StepResult, step: int) -> dict[str, float]:
        """Return the monitors; those that are no numbers are named once and left out."""
        values = {name: float(value) for name, value in result.monitors.items()}
        for name, value in values.items():
            if not math.isfinite(value) and name not in self._left_out:
                self._left_out.add(name)
                origins = [o for n, o in result.origins.items() if name.startswith(f"{n}.")]
                warn(
                    f"{name_list(map(str, origins))} gave the monitor '{name}' {value:g} "
                    f"at step {step}; it is left out of the record wherever it is no number"
                )
        return {name: value for name, value in values.items() if math.isfinite(value)}

    def scores(self, kind: str, label: Mapping[str, Any], step: int, scores: Scores) -> None:
        """Record the scores of one evaluation or baseline."""
        metrics = {name: float(value) for name, value in scores.metrics.items()}
        facts = {"primary": scores.primary, "metrics": metrics, "card": dict(scores.card)}
        self._write({"kind": kind, "step": step, **label, **facts})
        # Evaluation is no training time.
        self._clock, self._images = time.monotonic(), 0

    def flushed_bytes(self) -> int:
        """Bring the record to the disk and return its length in bytes."""
        with saving(self.directory.metrics):
            self._file.flush()
            os.fsync(self._file.fileno())
        self._loggers.flush()
        return os.fstat(self._file.fileno()).st_size

    def close(self) -> None:
        """Close the files."""
        with saving(self.directory.metrics):
            self._file.close()
        self._loggers.close()

    def _write(self, line: Mapping[str, Any]) -> None:
        line = {**line, "time": timestamp()}
        with saving(self.directory.metrics):
            self._file.write(json.dumps(line) + "\n")
            self._file.flush()
        self._loggers.write(line)

    def values(self, name: str, step: int, epoch: int, values: Mapping[str, float]) -> None:
        """Record numbers of a callback."""
        self._write(
            {"kind": "callback", "step": step, "epoch": epoch, "name": name, "values": dict(values)}
        )

    def _speed(self) -> float:
        """Return images per second since the last line."""
        now = time.monotonic()
        speed = self._images / max(1e-9, now - self._clock)
        self._clock, self._images = now, 0
        return round(speed, 1)


def summary_lines(metrics: Path) -> list[str]:
    """Return what the run has reached: baselines and the best score of the first evaluation."""
    lines = read_metrics(metrics)
    scores = [line for line in lines if line["kind"] == "evaluation"]
    if not scores:
        return []
    label = (scores[0]["evaluation"], scores[0]["target"])
    primary = scores[0]["primary"]
    own = [line for line in lines if (line.get("evaluation"), line.get("target")) == label]
    best = max((e for e in own if e["kind"] == "evaluation"), key=lambda e: e["metrics"][primary])
    rows = [(line["name"], line) for line in own if line["kind"] == "baseline"]
    rows.append((f"trained network, epoch {best['epoch']}", best))
    width = max(len(name) for name, _ in rows)
    return [
        f"{label[0]} on {label[1]}, {primary}:",
        *(f"  {name:<{width}}  {line['metrics'][primary]:.4f}" for name, line in rows),
    ]


def memory_mb() -> float:
    """Return the peak memory in MB: of the GPU when there is one, else of the process."""
    if torch.cuda.is_available():
        return round(torch.cuda.max_memory_allocated() / 2**20, 1)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)


def _summary(line: Mapping[str, Any]) -> str:
    """Return the numbers of a training line for the progress bar."""
    parts = [f"loss {line['total']:.3f}"]
    parts += [
        f"{name} {value:.3f}" for name, value in line["losses"].items() if len(line["losses"]) > 1
    ]
    if "accuracy" in line["monitors"]:
        parts.append(f"accuracy {line['monitors']['accuracy']:.0%}")
    parts.append(f"{line['images_per_second']:.0f} img/s")
    parts.append(f"{line['memory_mb']:.0f} MB")
    return ", ".join(parts)

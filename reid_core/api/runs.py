"""A run directory and saved features as objects."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from reid_core.contracts import Features, Scores
from reid_core.errors import ReidError
from reid_core.evaluation.saved_scores import read_scores
from reid_core.features import feature_files
from reid_core.features.formats import format_of
from reid_core.files import DAMAGED, user_path
from reid_core.metrics_file import read_metrics
from reid_core.params.json_file import read_json
from reid_core.run_directory import RunDirectory


@dataclass(frozen=True)
class Run:
    """What a training has left; a part is read when it is asked for.

    Attributes:
        directory: Where everything lies.
    """

    directory: RunDirectory

    @property
    def path(self) -> Path:
        """Return the run directory."""
        return self.directory.path

    @cached_property
    def params(self) -> dict[str, Any]:
        """Return the resolved params as JSON has them; no plugin of theirs is needed."""
        return read_json(self.directory.params)

    @cached_property
    def metrics(self) -> list[dict[str, Any]]:
        """Return the lines of metrics.jsonl, each with ``kind`` and ``step``, in order.

        Raises:
            ReidError: There is no such file, or a line of it is damaged.
        """
        return read_metrics(self.directory.metrics)

    @property
    def best_weights(self) -> Path | None:
        """Return the weights of the best score; None as long as nothing has been scored."""
        return _if_there(self.directory.best_weights)

    @property
    def last_weights(self) -> Path | None:
        """Return the weights of the last epoch; None before its end."""
        return _if_there(self.directory.last_weights)

    @cached_property
    def scores(self) -> dict[str, Scores]:
        """Return the saved scores by ``<which>-<evaluation>-<target>``.

        ``which`` is ``best``, ``last`` or ``baseline-<name>``.

        Raises:
            ReidError: A file is damaged.
        """
        files = sorted(self.directory.evaluations.glob("*.json"))
        return {file.stem: _scores(file.with_suffix("")) for file in files}


def load_run(path: str | os.PathLike[str]) -> Run:
    """Open a run directory.

    Args:
        path: The directory that a training has written.

    Returns:
        The run: ``params``, ``metrics``, ``best_weights``, ``last_weights``, ``scores``.

    Raises:
        ReidError: There is no run directory at that place.
    """
    return Run(RunDirectory.open(user_path(os.fspath(path))))


def load_features(path: str | os.PathLike[str], split: str | None = None) -> Features:
    """Read saved features; docs/features.md says what a file may hold.

    Args:
        path: An npz, safetensors or MATLAB file.
        split: Which split of it; a file of one split needs none.

    Returns:
        Arrays of N images, raw: nothing is normalised.

    Raises:
        ReidError: The file is missing, damaged, or holds what features cannot be; or it holds
            several splits and none is named.
    """
    place = user_path(os.fspath(path))
    if split is None and format_of(place).many_splits:
        raise ReidError(f"{place}: a file of several splits; name one, e.g. split='query'")
    return feature_files.load_features(place, split or place.stem)


def _if_there(path: Path) -> Path | None:
    return path if path.is_file() else None


def _scores(path: Path) -> Scores:
    """Return saved scores as the evaluator gave them."""
    per_query, facts = read_scores(path)
    tables, _ = read_scores(path, "tables")
    try:
        return Scores(
            metrics=facts["metrics"],
            primary=facts["primary"],
            protocol=facts["protocol"],
            card=facts["card"],
            per_query=per_query,
            tables=tables,
            intervals={name: (low, high) for name, (low, high) in facts["intervals"].items()},
        )
    except DAMAGED as error:
        raise ReidError(f"{path}: saved scores are damaged: {error!r}") from None

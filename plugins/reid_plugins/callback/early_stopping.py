"""The callback `early_stopping`: end a training whose score no longer rises.

After each evaluation the score is compared with the best so far; after ``patience`` evaluations
in a row without a rise of more than ``min_delta`` the training ends, as it would at its last
epoch: with last weights, pictures and scores.

Reference: Prechelt, "Early Stopping - But When?", in: Neural Networks: Tricks of the Trade, 1998
(the criterion UP, on a score instead of an error).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from reid_core import Component, Params, ReidError, hookimpl
from reid_core.console import say
from reid_core.contracts import Callback, CallbackContext, Scores
from reid_core.errors import did_you_mean, name_list
from reid_core.limits import LARGEST_COUNT


class EarlyStoppingParams(Params):
    """Params of the callback `early_stopping`."""

    patience: int = Field(
        default=5,
        ge=1,
        le=LARGEST_COUNT,
        description="Evaluations in a row without a rise that end the training.",
    )
    min_delta: float = Field(
        default=0.0, ge=0.0, description="A rise counts if it is larger than this, 0 or more."
    )
    metric: str | None = Field(
        default=None,
        description="Metric of the first evaluation, larger is better; default: its primary one.",
    )


class EarlyStopping(Callback):
    """Counts evaluations since the best score."""

    def __init__(self, params: EarlyStoppingParams, name: str) -> None:
        """Begin without a score."""
        self.params, self.name = params, name
        self.best: float | None = None
        self.since_best = 0

    def after_evaluation(self, context: CallbackContext, results: Mapping[str, Scores]) -> bool:
        """Return whether the score has not risen for too long.

        Raises:
            ReidError: The first evaluation has no such metric.
        """
        scores = next(iter(results.values()))
        metric = self.params.metric or scores.primary
        if metric not in scores.metrics:
            raise ReidError(
                f"callback '{self.name}': 'metric': the first evaluation has no '{metric}'"
                f"{did_you_mean(metric, scores.metrics)} (it has {name_list(scores.metrics)})"
            )
        score = float(scores.metrics[metric])
        if self.best is None or score > self.best + self.params.min_delta:
            self.best, self.since_best = score, 0
            return False
        self.since_best += 1
        if self.since_best < self.params.patience:
            return False
        say(
            f"{self.name}: {metric} has not risen above {self.best:.4f} in {self.since_best} "
            "evaluations"
        )
        return True

    def state_dict(self) -> dict[str, Any]:
        """Return the best score and the evaluations since then."""
        return {"best": self.best, "since_best": self.since_best}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take them back."""
        self.best, self.since_best = state["best"], state["since_best"]


def build(params: EarlyStoppingParams, *, name: str) -> Callback:
    """Return the callback."""
    return EarlyStopping(params, name)


@hookimpl
def reid_callback() -> list[Component]:
    """Offer the callback."""
    return [
        Component(
            name="early_stopping",
            params=EarlyStoppingParams,
            build=build,
            summary="End the training when the score has not risen for some evaluations",
            reference="Prechelt, Early Stopping - But When?, 1998",
        )
    ]

"""What a callback may look at and do: the one door from plugins to a run in work."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from numbers import Real

import numpy as np

from reid_core.boundary import Origin
from reid_core.console import say
from reid_core.contracts import Features, Network, Progress
from reid_core.errors import ReidError, did_you_mean, name_list
from reid_core.evaluation.during_training import Scorer
from reid_core.runs.metrics_log import RunLog
from reid_core.training.relabelling import checked_labels, relabel
from reid_core.training.state import Training


class RunContext:
    """A ``CallbackContext`` of a run."""

    def __init__(
        self,
        training: Training,
        scorer: Scorer,
        log: RunLog,
        name: str,
        origin: Origin,
        may_relabel: bool,
    ) -> None:
        """Open the door for the callback of a name; ``origin`` says whose it is."""
        self._training, self._scorer, self._log = training, scorer, log
        self._name, self._origin, self._may_relabel = name, origin, may_relabel

    @property
    def progress(self) -> Progress:
        """Return where the training stands."""
        return self._training.progress()

    @property
    def model(self) -> Network:
        """Return the network that is trained."""
        return self._training.module.model

    @property
    def labels(self) -> np.ndarray:
        """Return the label of every training image now, as a copy."""
        return self._training.labels.copy()

    def extract(
        self,
        split: str = "train",
        target: str | None = None,
        outputs: Sequence[str] = ("embedding",),
    ) -> Features:
        """Return what the network says of images; see ``CallbackContext``.

        Raises:
            ReidError: There is no such target or split, or the network gives no such output.
        """
        if isinstance(outputs, str) or not outputs:
            raise self._refused(f"extract: outputs must be a list of names, got {outputs!r}")
        if target is None:
            if split != "train":
                raise self._refused(
                    f"extract: without a target, the training images are meant; name the target "
                    f"whose split '{split}' it is"
                )
            return self._scorer.training_features(frozenset(outputs))
        known = self._scorer.targets.entries
        if target not in known:
            raise self._refused(
                f"extract: no target '{target}'{did_you_mean(target, known)} "
                f"(targets: {name_list(known)})"
            )
        return self._scorer.features(target, split, frozenset(outputs))

    def log(self, values: Mapping[str, float]) -> None:
        """Write numbers into the record under the callback's name.

        Raises:
            ReidError: A value is no finite number.
        """
        for name, value in values.items():
            is_number = isinstance(value, Real) and not isinstance(value, bool)
            if not isinstance(name, str) or not is_number or not math.isfinite(value):
                raise self._refused(
                    f"log: expected finite numbers by name, got {name!r}: {value!r}"
                )
        state = self._training.state
        numbers = {name: float(value) for name, value in values.items()}
        self._log.values(self._name, state.step, state.epoch, numbers)
        say(f"{self._name}: " + ", ".join(f"{n} {value:g}" for n, value in numbers.items()))

    def relabel(self, labels: np.ndarray, features: Features | None = None) -> None:
        """Give the training images other identities; see ``CallbackContext``.

        Raises:
            ReidError: The labels cannot be trained on, or it is not before an epoch.
        """
        if not self._may_relabel:
            raise self._refused("relabel: only 'before_epoch' may relabel images")
        if features is not None and len(features) != len(self._training.images):
            raise self._refused(
                f"relabel: features of {len(features)} images, and {len(self._training.images)} "
                "are trained on; hand over what extract() gave"
            )
        new = self._checked_labels(labels)
        relabel(self._training, new, features)

    def _checked_labels(self, labels: np.ndarray) -> np.ndarray:
        """Return labels that can be trained on."""
        try:
            return checked_labels(labels, len(self._training.images))
        except ReidError as error:
            raise self._refused(str(error)) from None

    def _refused(self, what: str) -> ReidError:
        """Return the error of something that the callback must not do."""
        return ReidError(f"{self._origin}: {what}")

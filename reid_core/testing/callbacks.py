"""Callbacks: they go through epochs, and a checkpoint has all that they remember."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import torch

from reid_core.boundary import Origin
from reid_core.contracts import CallbackContext, Features, Network, Progress, Scores
from reid_core.evaluation.build_evaluator import OUTPUTS
from reid_core.params.entries import CallbackEntry
from reid_core.runs.callbacks import Callbacks
from reid_core.testing.networks import Pooled, SmallBackbone, network_of
from reid_core.testing.splits import features_of
from reid_core.testing.subject import Subject, expect
from reid_core.training.relabelling import checked_labels

EPOCHS = 6
SCORES = (0.2, 0.3, 0.3, 0.1, 0.9, 1.0)
"""The primary score after each epoch."""


def people(split: str) -> Features:
    """Return what is known of the images of a split: people who are told apart easily."""
    return features_of(split, noise=0.05, images=12)


@dataclass
class Context:
    """What a callback may look at and do, in a training that nobody runs.

    Attributes:
        epoch: Epochs done.
        may_relabel: It is before an epoch.
        labels: ``(N,)``, of the training images now.
        done: What the callback has done.
    """

    model: Network
    labels: np.ndarray
    epoch: int = 0
    may_relabel: bool = False
    done: list[tuple[str, Any]] = field(default_factory=list)

    @property
    def progress(self) -> Progress:
        """Return where the training stands."""
        return Progress(epoch=self.epoch, epochs=EPOCHS, step=10 * self.epoch, steps_per_epoch=10)

    def extract(
        self,
        split: str = "train",
        target: str | None = None,
        outputs: Sequence[str] = ("embedding",),
    ) -> Features:
        """Return made-up features of a dozen images of each of six people."""
        expect(not isinstance(outputs, str) and outputs, f"extract: outputs are {outputs!r}")
        expect(target or split == "train", f"extract: the split '{split}' of no target")
        found = people(split)
        missing = [name for name in outputs if name not in OUTPUTS]
        values = {name: found.values[name] for name in outputs if name not in missing}
        values |= {name: np.ones(len(found), dtype=np.float32) for name in missing}
        return Features(**{**vars(found), "values": values})

    def log(self, values: Mapping[str, float]) -> None:
        """Keep the numbers."""
        right = all(isinstance(n, str) and np.isfinite(v) for n, v in values.items())
        expect(right, f"log: expected finite numbers by name, got {values!r}")
        self.done.append(("log", dict(values)))

    def relabel(self, labels: np.ndarray, features: Features | None = None) -> None:
        """Take other identities."""
        expect(self.may_relabel, "relabel: only 'before_epoch' may relabel images")
        self.labels = checked_labels(labels, len(self.labels))
        self.done.append(("relabel", self.labels.tolist()))


def _built(subject: Subject, num_images: int) -> Callbacks:
    return Callbacks([subject.read(CallbackEntry)], num_images)


def _context() -> Context:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = network_of(SmallBackbone(), Pooled(SmallBackbone.out_channels), 6)
    labels = np.unique(people("train").pids, return_inverse=True)[1].astype(np.int64)
    return Context(cast(Network, model.eval()), labels)


def run_epochs(callbacks: Callbacks, context: Context, epochs: range) -> Context:
    """Take callbacks through epochs, each of which is scored; the context keeps what they do."""

    def of(name: str, origin: Origin, may_relabel: bool) -> CallbackContext:
        context.may_relabel = may_relabel
        return context

    for epoch in epochs:
        context.epoch = epoch
        callbacks.before_epoch(of)
        context.epoch = epoch + 1
        ended = callbacks.after_epoch(of)
        scores = Scores({"mAP": SCORES[epoch]}, "mAP", {"evaluator": "made up"})
        ended = callbacks.after_evaluation(of, {"made_up/people": scores}) or ended
        context.done.append(("ended", ended))
    return context


def _state(callbacks: Callbacks) -> bytes:
    file = io.BytesIO()
    torch.save(callbacks.state_dict(), file)
    return file.getvalue()


# ---- checks -----------------------------------------------------------------------------


def it_goes_through_epochs(subject: Subject) -> None:
    """It is called at one moment at least; the core looks at what it says."""
    context = _context()
    run_epochs(_built(subject, len(context.labels)), context, range(EPOCHS))


def it_can_be_built_where_shapes_alone_are_checked(subject: Subject) -> None:
    """Of one image; no file is read there."""
    _built(subject, 1)


def what_it_remembers_comes_back_through_a_checkpoint(subject: Subject) -> None:
    """A resumed training goes on as it would have."""
    middle, count = EPOCHS // 2, len(_context().labels)
    first, second = _built(subject, count), _built(subject, count)
    before = run_epochs(first, _context(), range(middle))
    second.load_state_dict(torch.load(io.BytesIO(_state(first)), weights_only=True))
    contexts = [Context(before.model, before.labels.copy()) for _ in range(2)]
    for callbacks, context in zip((first, second), contexts, strict=True):
        run_epochs(callbacks, context, range(middle, EPOCHS))
    done = [context.done for context in contexts]
    expect(done[0] == done[1], f"it would do {done[0]} and does {done[1]}")
    expect(_state(first) == _state(second), "its state is another one than without a break")


CHECKS = (
    it_goes_through_epochs,
    it_can_be_built_where_shapes_alone_are_checked,
    what_it_remembers_comes_back_through_a_checkpoint,
)

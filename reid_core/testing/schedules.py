"""Schedules: pure functions of the progress and the scores so far, finite and never negative."""

from __future__ import annotations

import pickle
from typing import cast

from reid_core.component import ScheduleComponent
from reid_core.contracts import Progress
from reid_core.testing.subject import Subject, expect
from reid_core.training.loop import rate_factor

STEPS = 7
HISTORY = ((1, 0.1), (2, 0.3), (3, 0.25))
LATE = tuple((epoch, 0.5) for epoch in range(1, 30))
"""Scores that do not rise."""


def moments(epochs: int) -> list[Progress]:
    """Return every step of a training."""
    return [
        Progress(epoch=step // STEPS, epochs=epochs, step=step, steps_per_epoch=STEPS)
        for step in range(epochs * STEPS)
    ]


def the_factor_is_finite_and_not_negative_in_every_step(subject: Subject) -> None:
    """Of short trainings and long ones, with scores and without."""
    factor, origin = subject.build(), subject.offer.origin
    for epochs in (1, 2, 120):
        for history in ((), HISTORY):
            values = [rate_factor(factor, origin, p, list(history)) for p in moments(epochs)]
            expect(any(values), f"of {epochs} epochs: always 0")


def the_factor_is_a_pure_function_of_progress_and_history(subject: Subject) -> None:
    """A resumed training asks again, and out of order."""
    factor, history = subject.build(), list(HISTORY)
    forward = {p: factor(p, history) for p in moments(20)}
    backward = {p: factor(p, history) for p in reversed(moments(20))}
    other = subject.build()
    expect(forward == backward, "it depends on what was asked before")
    same = forward == {p: other(p, history) for p in moments(20)}
    expect(same, "another object of the same params gives other factors")
    expect(history == list(HISTORY), "the history has been changed")


def it_can_be_pickled(subject: Subject) -> None:
    """It crosses processes."""
    factor = subject.build()
    copied = pickle.loads(pickle.dumps(factor))
    same = [copied(p, []) for p in moments(5)] == [factor(p, []) for p in moments(5)]
    expect(same, "a pickled copy gives other factors")


def a_schedule_that_looks_at_the_scores_says_so(subject: Subject) -> None:
    """A training that is never scored refuses it."""
    factor = subject.build()
    follows = any(factor(p, list(LATE)) != factor(p, []) for p in moments(30))
    says = cast(ScheduleComponent, subject.component).reads_scores
    expect(says or not follows, "it depends on the scores; declare reads_scores=True")


CHECKS = (
    the_factor_is_finite_and_not_negative_in_every_step,
    the_factor_is_a_pure_function_of_progress_and_history,
    it_can_be_pickled,
    a_schedule_that_looks_at_the_scores_says_so,
)

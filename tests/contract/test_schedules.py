"""Schedules: pure functions of the progress and the scores so far, finite and never negative."""

import math
import pickle

import pytest

from reid_core import ReidError
from reid_core.contracts import Progress
from reid_core.params.validation import check_run_params

STEPS = 7
HISTORY = [(1, 0.1), (2, 0.3), (3, 0.25)]


def moments(epochs):
    """Every step of a training."""
    return [
        Progress(epoch=step // STEPS, epochs=epochs, step=step, steps_per_epoch=STEPS)
        for step in range(epochs * STEPS)
    ]


def variants(schedule):
    """Default params, and a warm-up and steps within an epoch where the schedule knows them."""
    known = schedule.component.params.model_fields
    changes = {"warmup_epochs": 3, "per": "iteration"}
    return [schedule.params(), schedule.params(**{k: v for k, v in changes.items() if k in known})]


@pytest.mark.parametrize("epochs", [1, 2, 120])
@pytest.mark.parametrize("history", [[], HISTORY], ids=["no scores", "scores"])
def test_the_factor_is_finite_and_not_negative_in_every_step(schedule, epochs, history):
    for params in variants(schedule):
        factor = schedule.build(params)
        values = [factor(progress, history) for progress in moments(epochs)]
        assert all(isinstance(value, (int, float)) for value in values)
        assert all(math.isfinite(value) and value >= 0 for value in values)
        assert any(value > 0 for value in values)


def test_the_factor_is_a_pure_function_of_progress_and_history(schedule):
    for params in variants(schedule):
        factor, history = schedule.build(params), list(HISTORY)
        forward = {p: factor(p, history) for p in moments(20)}
        backward = {p: factor(p, history) for p in reversed(moments(20))}
        other = {p: schedule.build(params)(p, history) for p in moments(20)}
        assert forward == backward == other
        assert history == HISTORY


def test_the_schedule_can_be_pickled(schedule):
    factor = schedule.build()
    copied = pickle.loads(pickle.dumps(factor))
    assert [copied(p, []) for p in moments(5)] == [factor(p, []) for p in moments(5)]


def test_the_factor_depends_on_the_scores_exactly_if_the_schedule_declares_it(schedule):
    late = [(epoch, 0.5) for epoch in range(1, 30)]
    for params in variants(schedule):
        factor = schedule.build(params)
        follows = any(factor(p, late) != factor(p, []) for p in moments(30))
        assert follows == schedule.component.reads_scores


def test_a_schedule_that_follows_scores_is_refused_in_a_run_without_them(
    schedule, catalog, tiny_params
):
    factor = schedule.build()
    late = [(epoch, 0.5) for epoch in range(1, 30)]
    follows = any(factor(p, late) != factor(p, []) for p in moments(30))
    tiny_params["schedule"] = {"name": schedule.name, "params": schedule.minimal}
    tiny_params["train"]["evaluate_every"] = 0
    try:
        check_run_params(tiny_params, catalog, "test")
        refused = False
    except ReidError as error:
        (problem,) = error.problems
        refused = problem.startswith("train.evaluate_every: ")
    assert refused == follows
    check_run_params(
        {**tiny_params, "train": {**tiny_params["train"], "evaluate_every": 1}}, catalog, "test"
    )

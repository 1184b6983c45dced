"""Schedules beside their contract: with warm-up and within epochs, and who is refused when."""

import pytest

from reid_core import ReidError
from reid_core.params.validation import check_run_params
from reid_core.testing import Subject
from reid_core.testing.schedules import CHECKS, LATE, moments


def variants(schedule):
    """Default params, and a warm-up and steps within an epoch where the schedule knows them."""
    known = schedule.component.params.model_fields
    changes = {"warmup_epochs": 3, "per": "iteration"}
    return [{}, {k: v for k, v in changes.items() if k in known}]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_it_keeps_its_contract_with_a_warm_up_and_within_epochs(schedule, catalog, check):
    check(Subject(schedule.offer, catalog, variants(schedule)[1]))


def test_the_factor_depends_on_the_scores_exactly_if_the_schedule_declares_it(schedule):
    for given in variants(schedule):
        factor = schedule.build(schedule.params(**given))
        follows = any(factor(p, list(LATE)) != factor(p, []) for p in moments(30))
        assert follows == schedule.component.reads_scores


def test_a_schedule_that_follows_scores_is_refused_in_a_run_without_them(
    schedule, catalog, tiny_params
):
    factor = schedule.build()
    follows = any(factor(p, list(LATE)) != factor(p, []) for p in moments(30))
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

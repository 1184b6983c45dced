"""Margins that change during training: their values over time, and which params are refused."""

import math
from itertools import pairwise
from typing import Annotated

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field

from reid_core import Params
from reid_core.contracts import Progress
from reid_core.params.messages import read_params, validate
from reid_plugins.toolkit.margin_schedule import Margin, margin_at, up_to


class Loss(Params):
    margin: Annotated[Margin, up_to(2.0)] = Field(default=0.5, description="A margin.")


def margin(written):
    return read_params(Loss, {"margin": written}).margin


def at(epoch, steps_per_epoch=8):
    step = round(epoch * steps_per_epoch)
    return Progress(step // steps_per_epoch, 100, step, steps_per_epoch)


def problem(written):
    problems = []
    assert validate(Loss, {"margin": written}, problems) is None
    (line,) = problems
    return line


def values(written, *epochs):
    return [margin_at(margin(written), at(epoch)) for epoch in epochs]


@pytest.mark.parametrize("number", [0, 0.35, 2])
def test_a_number_is_the_margin_of_every_step(number):
    assert values(number, 0, 0.5, 99) == [number] * 3


def test_a_ramp_rises_with_every_step_and_stays_at_its_end():
    ramp = {"start": 0.1, "end": 0.35, "epochs": 10}
    assert values(ramp, 0, 2, 5, 7.5, 9.875) == pytest.approx([0.1, 0.15, 0.225, 0.2875, 0.346875])
    assert values(ramp, 10, 10.125, 99) == [0.35] * 3


def test_a_ramp_starts_at_zero_and_may_fall():
    assert values({"end": 1.0, "epochs": 4}, 0, 1, 4) == [0, 0.25, 1]
    assert values({"start": 1.0, "end": 0.5, "epochs": 2.5}, 0, 1.25, 3) == [1, 0.75, 0.5]


def test_a_cosine_ramp_is_slow_at_both_ends():
    ramp = {"end": 1.0, "epochs": 3, "shape": "cosine"}
    assert values(ramp, 0, 1, 1.5, 2, 3, 4) == pytest.approx([0, 0.25, 0.5, 0.75, 1, 1])


def test_steps_hold_until_the_next_begins():
    steps = [[0, 0.1], [2.5, 0.2], [4, 0]]
    assert values(steps, 0, 2.375, 2.5, 3.875, 4, 99) == [0.1, 0.1, 0.2, 0.2, 0, 0]


MARGINS = st.floats(0, 2)
EPOCHS = st.integers(1, 40).map(lambda quarters: quarters / 4)


@given(MARGINS, MARGINS, EPOCHS, st.integers(1, 7))
@settings(max_examples=50, deadline=None)
def test_ramps_have_their_closed_form_in_every_step(start, end, epochs, steps_per_epoch):
    ramps = [
        margin({"start": start, "end": end, "epochs": epochs, "shape": shape})
        for shape in ("linear", "cosine")
    ]
    for step in range(12 * steps_per_epoch):
        progress = Progress(step // steps_per_epoch, 12, step, steps_per_epoch)
        done = min(step / steps_per_epoch, epochs) / epochs
        linear, cosine = (margin_at(ramp, progress) for ramp in ramps)
        assert linear == pytest.approx(start + (end - start) * done, abs=1e-12)
        half_wave = math.sin(math.pi / 2 * done) ** 2
        assert cosine == pytest.approx(start + (end - start) * half_wave, abs=1e-12)
        if done == 1:
            assert linear == cosine == end


@given(st.lists(MARGINS, min_size=1, max_size=5), st.sets(EPOCHS, min_size=4), st.integers(1, 7))
@settings(max_examples=50, deadline=None)
def test_steps_have_the_value_of_their_interval_in_every_step(margins, epochs, steps_per_epoch):
    begins = [0, *sorted(epochs)][: len(margins)]
    steps = margin([list(pair) for pair in zip(begins, margins, strict=True)])
    intervals = list(zip(pairwise([*begins, math.inf]), margins, strict=True))
    for step in range(12 * steps_per_epoch):
        progress = Progress(step // steps_per_epoch, 12, step, steps_per_epoch)
        time = step / steps_per_epoch
        (expected,) = (value for (begin, end), value in intervals if begin <= time < end)
        assert margin_at(steps, progress) == expected


@pytest.mark.parametrize(
    "written", [0.3, {"start": 0.0, "end": 0.3, "epochs": 2.0, "shape": "cosine"}, [[0, 0.3]]]
)
def test_written_params_mean_the_same_when_they_are_read_again(written):
    params = read_params(Loss, {"margin": written})
    assert params.model_dump(mode="json") == {"margin": written}
    assert Loss.model_validate({"margin": written}) == params


@pytest.mark.parametrize(
    "written", [2.5, {"start": 2.5, "end": 1, "epochs": 1}, [[0, 1], [9, 2.5]]]
)
def test_a_value_above_the_bound_of_the_loss_is_refused(written):
    assert problem(written) == "margin: must be from 0 to 2, got 2.5"


@pytest.mark.parametrize(
    "written",
    [
        [],
        [[]],
        [[1, 0.1]],
        [[0, 0.1], [0, 0.2]],
        [[0, 1], [3, 1], [2, 1]],
        [[0, 0.1, 0.2]],
        [[0, 0.1], [1]],
    ],
)
def test_steps_that_leave_an_epoch_in_doubt_are_refused(written):
    assert problem(written) == (
        "margin: steps are pairs [epoch, value]; the first epoch is 0, then they rise"
    )


@pytest.mark.parametrize(
    ("written", "line"),
    [
        (-0.1, "margin: must be from 0 to 2, got -0.1"),
        ({"end": -1, "epochs": 1}, "margin: must be from 0 to 2, got -1"),
        ([[0, -0.1]], "margin: must be from 0 to 2, got -0.1"),
        ({"end": 1, "epochs": 0}, "margin.epochs: must be > 0.0, got 0"),
        ({"end": 1}, 'margin.epochs: required, but missing; such as "epochs": 0.1'),
        ({"end": 1, "epoch": 1, "epochs": 1}, "margin.epoch: unknown key; did you mean 'epochs'?"),
        ([[0, "0.1"]], 'margin.0.1: expected a number, got "0.1"'),
        ("0.3", 'margin: expected a number or an object or a list, got "0.3"'),
    ],
)
def test_a_wrong_margin_is_refused_at_its_place(written, line):
    assert problem(written) == line

"""The schedules: published vectors, closed forms, torch's own cosine."""

import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from reid_core.component import call_build
from reid_core.contracts import Progress
from reid_plugins.schedule import constant, cosine, multi_step
from reid_plugins.schedule._warmup import WarmupParams, warmup_factor

ALL = [constant, cosine, multi_step]


def make(module, **params):
    (component,) = module.reid_schedule()
    return call_build(component, component.params.model_validate(params))


def at(epoch, *, epochs=100, step=0, steps_per_epoch=10):
    return Progress(epoch, epochs, epoch * steps_per_epoch + step, steps_per_epoch)


def factors(schedule, *epochs, of=100):
    return [schedule(at(epoch, epochs=of), []) for epoch in epochs]


# ---- warm-up ----------------------------------------------------------------------------


def test_linear_warm_up_has_its_closed_form():
    params = WarmupParams(warmup_epochs=10, warmup_factor=0.01)

    for t in [0, 0.5, 1, 5, 9, 9.99]:
        assert warmup_factor(t, params) == pytest.approx(0.01 * (1 - t / 10) + t / 10)
    assert warmup_factor(10, params) == warmup_factor(11, params) == 1


def test_constant_warm_up_stays_at_its_factor():
    params = WarmupParams(warmup_epochs=3, warmup="constant", warmup_factor=0.3)

    assert [warmup_factor(t, params) for t in range(5)] == [0.3, 0.3, 0.3, 1, 1]


@pytest.mark.parametrize("warmup", ["linear", "constant"])
@pytest.mark.parametrize("module", ALL)
def test_no_warm_up_starts_at_the_full_rate(module, warmup):
    assert factors(make(module, warmup=warmup), 0) == [1]


# ---- multi_step -------------------------------------------------------------------------


def test_multi_step_gives_the_strong_baselines_factors():
    schedule = make(multi_step, milestones=[40, 70], warmup_epochs=10, warmup_factor=0.01)

    assert factors(schedule, 0, 1, 5, 9, 10, 40, 70) == pytest.approx(
        [0.01, 0.109, 0.505, 0.901, 1, 0.1, 0.01]
    )


def test_multi_step_gives_the_strong_baselines_rates():
    schedule = make(multi_step, warmup_epochs=10, warmup_factor=0.01)
    rates = [3.5e-4 * factor for factor in factors(schedule, 1, 2, 5, 9, 39, 69, 70, 120, of=121)]

    assert rates == pytest.approx(
        [3.815e-5, 7.28e-5, 1.7675e-4, 3.1535e-4, 3.5e-4, 3.5e-5, 3.5e-6, 3.5e-6]
    )


@pytest.mark.parametrize(
    "params",
    [
        {"milestones": [300, 500]},
        {"milestones": [201, 401], "milestones_from": "warmup_end"},
    ],
)
def test_multi_step_gives_the_predecessors_factors(params):
    schedule = make(multi_step, warmup_epochs=99, warmup_factor=0.01, **params)

    assert factors(schedule, 0, 1, 99, 299, 300, 499, 500) == pytest.approx(
        [0.01, 0.02, 1, 1, 0.1, 0.1, 0.01]
    )


@settings(deadline=None)
@given(
    warmup=st.integers(1, 20),
    milestones=st.lists(st.integers(0, 40), max_size=4),
    epoch=st.integers(0, 70),
)
def test_multi_step_equals_the_predecessors_formula(warmup, milestones, epoch):
    schedule = make(
        multi_step,
        milestones=[warmup + s for s in milestones],
        gamma=0.5,
        warmup_epochs=warmup - 1,
        warmup_factor=1 / warmup,
    )
    expected = min(1, (epoch + 1) / warmup) * 0.5 ** sum(epoch - warmup >= s for s in milestones)

    assert schedule(at(epoch), []) == pytest.approx(expected)


def test_milestones_count_from_the_start_unless_told_otherwise():
    params = {"milestones": [2], "warmup_epochs": 3, "warmup": "constant", "warmup_factor": 1}

    assert factors(make(multi_step, **params), 1, 2, 4, 5) == pytest.approx([1, 0.1, 0.1, 0.1])
    assert factors(make(multi_step, milestones_from="warmup_end", **params), 1, 2, 4, 5) == (
        pytest.approx([1, 1, 1, 0.1])
    )


def test_multi_step_per_iteration_drops_within_an_epoch():
    schedule = make(multi_step, milestones=[1.5], per="iteration")

    assert schedule(at(1, step=4), []) == 1
    assert schedule(at(1, step=5), []) == pytest.approx(0.1)


# ---- cosine -----------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:Detected call of")
def test_cosine_is_torchs_cosine_annealing():
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    annealing = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=30, eta_min=0.1)
    schedule = make(cosine, final_factor=0.1)

    for epoch in range(30):
        assert schedule(at(epoch, epochs=30), []) == pytest.approx(annealing.get_last_lr()[0])
        optimizer.step()
        annealing.step()


def test_cosine_starts_to_fall_after_the_warm_up_and_ends_at_its_final_factor():
    schedule = make(cosine, final_factor=0.2, warmup_epochs=10, warmup_factor=0.1)

    assert factors(schedule, 0, 5, 10, 55, 100) == pytest.approx([0.1, 0.55, 1, 0.6, 0.2])
    assert factors(schedule, 120) == pytest.approx([0.2])


def test_cosine_per_iteration_falls_at_every_step():
    schedule = make(cosine, per="iteration")
    values = [schedule(at(s // 10, epochs=4, step=s % 10), []) for s in range(40)]

    assert values[0] == 1
    assert values == sorted(values, reverse=True)
    assert len(set(values)) == 40
    assert values[-1] < 0.01


def test_cosine_that_is_all_warm_up_stays_in_it():
    schedule = make(cosine, warmup_epochs=10, warmup_factor=0)

    assert factors(schedule, 0, 5, 9, of=10) == pytest.approx([0, 0.5, 0.9])
    assert factors(schedule, 5, of=6) == pytest.approx([0.5])


# ---- every one --------------------------------------------------------------------------


def test_constant_is_the_warm_up_alone():
    schedule = make(constant, warmup_epochs=2, warmup_factor=0.5)

    assert factors(schedule, 0, 1, 2, 99) == [0.5, 0.75, 1, 1]


def test_warm_up_per_iteration_rises_within_the_epoch():
    schedule = make(constant, warmup_epochs=1, warmup_factor=0, per="iteration")

    assert [schedule(at(0, step=s), []) for s in range(10)] == pytest.approx(
        [s / 10 for s in range(10)]
    )
    assert schedule(at(1), []) == 1


@settings(deadline=None)
@given(
    module=st.sampled_from(ALL),
    warmup=st.sampled_from(["linear", "constant"]),
    warmup_epochs=st.floats(0, 20),
    warmup_factor=st.floats(0, 1),
    per=st.sampled_from(["epoch", "iteration"]),
    epoch=st.integers(0, 30),
    step=st.integers(0, 9),
)
def test_factors_lie_between_zero_and_one(
    module, warmup, warmup_epochs, warmup_factor, per, epoch, step
):
    params = {"warmup": warmup, "warmup_epochs": warmup_epochs, "warmup_factor": warmup_factor}
    value = make(module, per=per, **params)(at(epoch, epochs=30, step=step), [])

    assert 0 <= value <= 1


@pytest.mark.parametrize("module", ALL)
def test_a_schedule_is_a_pure_function_that_can_be_sent(module):
    schedule = make(module, warmup_epochs=5)
    sent = pickle.loads(pickle.dumps(schedule))

    assert factors(schedule, 3, 0, 50) == factors(sent, 3, 0, 50) == factors(schedule, 3, 0, 50)
    assert schedule(at(3), [(0, 0.1), (1, 0.2)]) == schedule(at(3), [])


@pytest.mark.parametrize(
    ("module", "params"),
    [
        (constant, {"warmup_epochs": -1}),
        (constant, {"warmup_factor": 1.1}),
        (constant, {"per": "step"}),
        (constant, {"milestones": [1]}),
        (cosine, {"final_factor": -0.1}),
        (multi_step, {"gamma": 0}),
        (multi_step, {"milestones": [-1]}),
    ],
)
def test_schedules_refuse_impossible_params(module, params):
    with pytest.raises(ValidationError):
        make(module, **params)

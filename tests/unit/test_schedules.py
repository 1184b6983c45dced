"""The schedules: published vectors, closed forms of every step, and torch's own schedulers."""

import math
import pickle
from itertools import product

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch.optim import lr_scheduler

from reid_core import ReidError, ScheduleComponent, hookimpl
from reid_core.component import call_build
from reid_core.contracts import Progress
from reid_core.params.validation import check_run_params
from reid_plugins.schedule import constant, cosine, multi_step, plateau, poly
from reid_plugins.toolkit.warmup import WarmupParams, warmup_factor

ALL = [constant, cosine, multi_step, plateau, poly]
WARMUPS = ["linear", "exponential", "constant"]


def make(module, **params):
    (component,) = module.reid_schedule()
    return call_build(component, component.params.model_validate(params))


def at(epoch, *, epochs=100, step=0, steps_per_epoch=10):
    return Progress(epoch, epochs, epoch * steps_per_epoch + step, steps_per_epoch)


def factors(schedule, *epochs, of=100):
    return [schedule(at(epoch, epochs=of), []) for epoch in epochs]


def every_factor(schedule, epochs, steps, history=()):
    """Return the factor of every step of a training."""
    places = product(range(epochs), range(steps))
    return [
        schedule(at(epoch, epochs=epochs, step=step, steps_per_epoch=steps), list(history))
        for epoch, step in places
    ]


# ---- every step of every combination ----------------------------------------------------

EPOCHS, STEPS = 12, 4
SCORES = [(2, 0.5), (4, 0.4), (6, 0.45), (8, 0.45), (10, 0.7), (12, 0.9)]
"""With patience 1 and the best score at first, the rate drops after the epochs 6 and 10."""

SHAPES = {
    "constant": (constant, {}),
    "multi_step": (multi_step, {"milestones": [2, 7.5, 9], "gamma": 0.3}),
    "multi_step_after": (
        multi_step,
        {"milestones": [2, 7.5], "gamma": 0.3, "milestones_from": "warmup_end"},
    ),
    "cosine": (cosine, {"final_factor": 0.05}),
    "poly": (poly, {"power": 0.9, "final_factor": 0.05}),
    "plateau": (
        plateau,
        {"factor": 0.2, "patience": 1, "threshold": 0.3, "min_factor": 0.1},
    ),
}


def expected_warmup(kind, t, length, first):
    if t >= length:
        return 1.0
    if kind == "constant":
        return first
    if kind == "linear":
        return first + (1 - first) * t / length
    return math.exp(math.log(first) * (length - t) / length)


def expected_shape(name, t, epoch, warm):
    """Return the factor without its warm-up, from the formula; ``warm`` is the warm-up's length."""
    left = (EPOCHS - max(t, warm)) / (EPOCHS - warm)  # 1 to 0
    if name == "multi_step":
        return 0.3 ** ((t >= 2) + (t >= 7.5) + (t >= 9))
    if name == "multi_step_after":
        return 0.3 ** ((t >= warm + 2) + (t >= warm + 7.5))
    if name == "cosine":
        return 0.05 + 0.95 * math.cos(math.pi / 2 * (1 - left)) ** 2  # half-angle formula
    if name == "poly":
        return 0.05 + 0.95 * left**0.9
    if name == "plateau":
        return 0.1 if epoch >= 10 else 0.2 if epoch >= 6 else 1.0  # not 0.04, below min_factor
    return 1.0


@pytest.mark.parametrize("per", ["epoch", "iteration"])
@pytest.mark.parametrize("length", [0, 1, 2.5, 5])
@pytest.mark.parametrize("warmup", WARMUPS)
@pytest.mark.parametrize("shape", SHAPES)
def test_every_step_has_the_rate_of_the_closed_form(shape, warmup, length, per):
    module, params = SHAPES[shape]
    schedule = make(
        module, warmup=warmup, warmup_epochs=length, warmup_factor=0.04, per=per, **params
    )
    expected = []
    for epoch, step in product(range(EPOCHS), range(STEPS)):
        t = epoch if per == "epoch" else epoch + step / STEPS
        warm = expected_warmup(warmup, t, length, 0.04)
        expected.append(warm * expected_shape(shape, t, epoch, length))

    assert every_factor(schedule, EPOCHS, STEPS, SCORES) == pytest.approx(expected, rel=1e-12)


# ---- torch's schedulers -----------------------------------------------------------------


def torch_rates(make_scheduler, count, lr=1.0):
    """Return the first rates of one of torch's schedulers."""
    parameter = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.SGD([parameter], lr=lr)
    scheduler, rates = make_scheduler(optimizer), []
    for _ in range(count):
        rates.append(optimizer.param_groups[0]["lr"])
        parameter.grad = torch.zeros(1)
        optimizer.step()
        scheduler.step()
    return rates


def torch_warmup(kind, first, length, count):
    """Return the rates of torch's warm-up over ``length`` calls, and 1 afterwards."""
    makers = {
        "linear": lambda o: lr_scheduler.LinearLR(o, start_factor=first, total_iters=length),
        "constant": lambda o: lr_scheduler.ConstantLR(o, factor=first, total_iters=length),
        "exponential": lambda o: lr_scheduler.ExponentialLR(o, gamma=first ** (-1 / length)),
    }
    rates = torch_rates(makers[kind], length, lr=first if kind == "exponential" else 1.0)
    return rates + [1.0] * (count - length)


def cosine_of_torch(length, count):
    return [1.0] * length + torch_rates(
        lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=count - length, eta_min=0.1),
        count - length,
    )


def poly_of_torch(length, count):
    line = torch_rates(
        lambda o: lr_scheduler.PolynomialLR(o, total_iters=count - length, power=0.9),
        count - length,
    )
    return [1.0] * length + line


def multi_step_of_torch(length, count):
    milestones = [count // 3, count // 2]
    return torch_rates(lambda o: lr_scheduler.MultiStepLR(o, milestones, gamma=0.3), count)


OF_TORCH = {
    "cosine": (cosine, {"final_factor": 0.1}, cosine_of_torch),
    "poly": (poly, {"power": 0.9}, poly_of_torch),
    "multi_step": (multi_step, {"milestones": [4, 6], "gamma": 0.3}, multi_step_of_torch),
}


@pytest.mark.parametrize("length", [1, 3])
@pytest.mark.parametrize("warmup", WARMUPS)
@pytest.mark.parametrize("per", ["epoch", "iteration"])
@pytest.mark.parametrize("shape", OF_TORCH)
def test_the_rates_are_those_of_torch(shape, per, warmup, length):
    module, params, of_torch = OF_TORCH[shape]
    schedule = make(
        module, warmup=warmup, warmup_epochs=length, warmup_factor=0.04, per=per, **params
    )
    calls = 1 if per == "epoch" else STEPS  # of torch's scheduler in an epoch
    count, warm = EPOCHS * calls, length * calls
    found = every_factor(schedule, EPOCHS, STEPS)
    if per == "epoch":
        assert all(len(set(found[e * STEPS : (e + 1) * STEPS])) == 1 for e in range(EPOCHS))
        found = found[::STEPS]
    pairs = zip(torch_warmup(warmup, 0.04, warm, count), of_torch(warm, count), strict=True)

    assert found == pytest.approx([a * b for a, b in pairs], rel=1e-9, abs=1e-12)


# ---- warm-up ----------------------------------------------------------------------------


def test_warm_up_is_over_exactly_at_its_end():
    for kind in WARMUPS:
        params = WarmupParams(warmup_epochs=10, warmup=kind, warmup_factor=0.25)

        assert warmup_factor(0, params) == pytest.approx(0.25)
        assert warmup_factor(math.nextafter(10, 0), params) == pytest.approx(
            0.25 if kind == "constant" else 1
        )
        assert warmup_factor(10, params) == warmup_factor(11, params) == 1


def test_exponential_warm_up_rises_by_equal_ratios():
    schedule = make(constant, warmup="exponential", warmup_epochs=4, warmup_factor=0.0081)

    assert factors(schedule, *range(6)) == pytest.approx([0.0081, 0.027, 0.09, 0.3, 1, 1])


def test_an_exponential_warm_up_from_zero_is_an_error():
    with pytest.raises(
        ValidationError, match="an exponential warm-up needs a 'warmup_factor' above 0"
    ):
        make(constant, warmup="exponential", warmup_factor=0)


@pytest.mark.parametrize("warmup", WARMUPS)
@pytest.mark.parametrize("module", ALL)
def test_no_warm_up_starts_at_the_full_rate(module, warmup):
    assert factors(make(module, warmup=warmup), 0) == [1]


@pytest.mark.parametrize("length", [20, 30])
@pytest.mark.parametrize("module", ALL)
def test_a_training_that_is_all_warm_up_stays_in_it(module, length):
    params = {"milestones": []} if module is multi_step else {}
    schedule = make(module, warmup_epochs=length, warmup_factor=0, **params)

    assert factors(schedule, 0, 5, 19, of=20) == pytest.approx([0, 5 / length, 19 / length])


# ---- published numbers ------------------------------------------------------------------


def test_multi_step_gives_the_strong_baselines_factors():
    schedule = make(multi_step, milestones=[40, 70], warmup_epochs=10, warmup_factor=0.01)

    assert factors(schedule, 0, 1, 5, 9, 10, 40, 70) == pytest.approx(
        [0.01, 0.109, 0.505, 0.901, 1, 0.1, 0.01]
    )


def test_multi_step_gives_the_strong_baselines_rates():
    schedule = make(multi_step, warmup_epochs=10, warmup_factor=0.01)
    rates = [3.5e-4 * factor for factor in factors(schedule, *range(121), of=121)]

    assert [rates[e] for e in (1, 2, 5, 9)] == pytest.approx(
        [3.815e-5, 7.28e-5, 1.7675e-4, 3.1535e-4]
    )
    assert rates[10:] == pytest.approx([3.5e-4] * 30 + [3.5e-5] * 30 + [3.5e-6] * 51)


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


def test_person_reid_baselines_rates_of_sixty_epochs():
    step = factors(make(multi_step, milestones=[60 * 2 // 3]), *range(60), of=60)
    half_cosine = factors(make(cosine, final_factor=0.01), *range(60), of=60)

    assert step == pytest.approx([1] * 40 + [0.1] * 20)
    assert half_cosine[0] == 1
    assert half_cosine[30] == pytest.approx(0.505)
    assert half_cosine[59] == pytest.approx(0.01 + 0.99 * (1 - math.cos(math.pi / 60)) / 2)


def test_fastreids_warm_up_of_two_thousand_iterations_from_a_tenth():
    steps = 202
    schedule = make(multi_step, warmup_epochs=2000 / steps, warmup_factor=0.1, per="iteration")
    found = every_factor(schedule, 12, steps)

    assert found[:2000] == pytest.approx([0.1 + 0.9 * s / 2000 for s in range(2000)])
    assert set(found[2000:]) == {1.0}


# ---- multi_step -------------------------------------------------------------------------


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


@given(steps=st.integers(1, 300), epoch=st.integers(0, 50), step=st.integers(0, 299))
def test_a_milestone_at_a_step_is_reached_by_this_step(steps, epoch, step):
    at_step = epoch * steps + step % steps
    schedule = make(multi_step, milestones=[at_step / steps], per="iteration")

    def factor(number):
        progress = at(number // steps, step=number % steps, steps_per_epoch=steps)
        return schedule(progress, [])

    assert factor(at_step) == pytest.approx(0.1)
    assert factor(at_step + 1) == pytest.approx(0.1)
    if at_step:
        assert factor(at_step - 1) == 1


# ---- cosine, poly -----------------------------------------------------------------------


@pytest.mark.parametrize("module", [cosine, poly])
def test_the_fall_starts_after_the_warm_up_and_ends_at_its_final_factor(module):
    params = {"power": 1} if module is poly else {}
    schedule = make(module, final_factor=0.2, warmup_epochs=10, warmup_factor=0.1, **params)

    assert factors(schedule, 0, 5, 10, 55, 100) == pytest.approx([0.1, 0.55, 1, 0.6, 0.2])
    assert factors(schedule, 120) == pytest.approx([0.2])


@pytest.mark.parametrize("module", [cosine, poly])
def test_the_rate_falls_at_every_step_per_iteration(module):
    values = every_factor(make(module, per="iteration"), 4, 10)

    assert values[0] == 1
    assert values == sorted(values, reverse=True)
    assert len(set(values)) == 40
    assert 0 < values[-1] < 0.05


# ---- plateau ----------------------------------------------------------------------------


def plateau_of_torch(scores, params):
    """Return the rates of torch's scheduler before and after each score."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = lr_scheduler.ReduceLROnPlateau(
        optimizer,
        mode="max",
        threshold_mode="abs",
        factor=params["factor"],
        patience=params["patience"],
        threshold=params["threshold"],
        min_lr=params["min_factor"],
        eps=0,
    )
    rates = [1.0]
    for score in scores:
        scheduler.step(score)
        rates.append(optimizer.param_groups[0]["lr"])
    return rates


@settings(deadline=None)
@given(
    scores=st.lists(st.sampled_from([0.0, 0.1, 0.2, 0.25, 0.3, 0.75, 1.0]), max_size=25),
    patience=st.integers(0, 3),
    threshold=st.sampled_from([0.0, 0.05, 0.1]),
    factor=st.sampled_from([0.1, 0.5]),
    min_factor=st.sampled_from([0.0, 0.001, 0.2]),
    every=st.integers(1, 3),
)
@example(
    scores=[0.3] * 12, patience=2, threshold=0.001, factor=0.1, min_factor=0.001, every=1
)  # the defaults: drops after the scores 4, 7 and 10, the last one is the smallest
def test_plateau_is_torchs_reduce_on_plateau(
    scores, patience, threshold, factor, min_factor, every
):
    params = {
        "patience": patience,
        "threshold": threshold,
        "factor": factor,
        "min_factor": min_factor,
    }
    schedule = make(plateau, **params)
    history = [((number + 1) * every, score) for number, score in enumerate(scores)]
    expected = plateau_of_torch(scores, params)

    for epoch in range(len(scores) * every + every):
        found = schedule(at(epoch), [(e, s) for e, s in history if e <= epoch])
        assert found == pytest.approx(expected[epoch // every])
        assert schedule(at(epoch), history) == found, "later scores change no earlier rate"


def test_plateau_waits_for_patience_and_starts_to_count_anew():
    schedule = make(plateau, patience=1, factor=0.5, threshold=0.1, min_factor=0.2)
    scores = [0.3, 0.35, 0.4, 0.45, 0.4, 0.9, 0.9, 0.9, 0.9, 0.9]
    # best .3; .35 and .4 (not above .4) wait; drop; .45 is better; .4 waits; .9 is better;
    # two wait; drop; two wait; drop, to 0.2 instead of 0.125.
    expected = [1, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25, 0.2]
    history = list(enumerate(scores, start=1))

    assert [schedule(at(e), history) for e in range(11)] == pytest.approx(expected)


# ---- scores that there will not be ------------------------------------------------------


def problems_of(catalog, params):
    """Return the problems that checking the params of a run finds."""
    try:
        check_run_params(params, catalog, "test")
    except ReidError as error:
        return error.problems
    return []


@pytest.mark.parametrize("name", ["plateau", "reid-core:plateau"])
def test_plateau_in_a_run_without_evaluations_is_refused(catalog, tiny_params, name):
    tiny_params["schedule"] = {"name": name}

    assert problems_of(catalog, tiny_params) == [
        "train.evaluate_every: the schedule 'plateau' follows the scores of evaluations during the "
        "training, and there are none; set it to 1 or more or choose another schedule"
    ]
    tiny_params["train"]["evaluate_every"] = 1
    assert problems_of(catalog, tiny_params) == []
    tiny_params["evaluation"] = []
    unused, problem = problems_of(catalog, tiny_params)
    assert unused.startswith("train.evaluate_every: there is no 'evaluation' to score by")
    assert problem == (
        "evaluation: the schedule 'plateau' follows the scores of evaluations during the "
        "training, and there are none; add an evaluator or choose another schedule"
    )


def schedule_that(factor, **declared):
    """Return a plugin with the schedule 'late'."""

    class Plugin:
        @hookimpl
        def reid_schedule(self):
            return [
                ScheduleComponent(name="late", build=lambda params: factor, summary="-", **declared)
            ]

    return Plugin()


def test_whenever_a_schedule_looks_at_scores_its_declaration_is_what_counts(
    catalog_with, tiny_params
):
    def looks_in_the_middle(progress, history):
        return 1.0 if progress.epoch != 1 or history else 0.5

    tiny_params["train"]["epochs"] = 3
    tiny_params["schedule"] = {"name": "late"}
    catalog = catalog_with(schedule_that(looks_in_the_middle, reads_scores=True))
    (problem,) = problems_of(catalog, tiny_params)
    assert problem.startswith("train.evaluate_every: the schedule 'late' follows the scores")


def test_a_schedule_is_not_called_to_find_out_whether_it_follows_scores(catalog_with, tiny_params):
    def fails(progress, history):
        raise AssertionError

    tiny_params["schedule"] = {"name": "late"}
    assert problems_of(catalog_with(schedule_that(fails)), tiny_params) == []


def test_a_schedule_that_is_wrong_itself_is_reported_once(catalog, tiny_params):
    for schedule, start in (
        ({"name": "plateau", "params": {"factor": 3}}, "schedule.params.factor: "),
        ({"name": "plato"}, "schedule.name: "),
    ):
        tiny_params["schedule"] = schedule
        (problem,) = problems_of(catalog, tiny_params)
        assert problem.startswith(start)


def test_a_broken_evaluation_is_not_taken_for_none(catalog, tiny_params):
    tiny_params |= {"schedule": {"name": "plateau"}, "evaluation": [{"nam": "market_evaluate"}]}
    tiny_params["train"]["evaluate_every"] = 1

    assert all(problem.startswith("evaluation.0") for problem in problems_of(catalog, tiny_params))


# ---- every one --------------------------------------------------------------------------


def test_constant_is_the_warm_up_alone():
    schedule = make(constant, warmup_epochs=2, warmup_factor=0.5)

    assert factors(schedule, 0, 1, 2, 99) == [0.5, 0.75, 1, 1]


@settings(deadline=None)
@given(
    module=st.sampled_from(ALL),
    warmup=st.sampled_from(WARMUPS),
    warmup_epochs=st.floats(0, 40),
    warmup_factor=st.floats(1e-300, 1),
    per=st.sampled_from(["epoch", "iteration"]),
    epoch=st.integers(0, 30),
    step=st.integers(0, 9),
)
def test_factors_lie_between_zero_and_one(
    module, warmup, warmup_epochs, warmup_factor, per, epoch, step
):
    params = {"warmup": warmup, "warmup_epochs": warmup_epochs, "warmup_factor": warmup_factor}
    value = make(module, per=per, **params)(at(epoch, epochs=30, step=step), SCORES)

    assert 0 <= value <= 1


@pytest.mark.parametrize("module", ALL)
def test_a_schedule_is_a_pure_function_that_can_be_sent(module):
    schedule = make(module, warmup_epochs=5)
    sent = pickle.loads(pickle.dumps(schedule))

    assert factors(schedule, 3, 0, 50) == factors(sent, 3, 0, 50) == factors(schedule, 3, 0, 50)


@pytest.mark.parametrize("module", [m for m in ALL if m is not plateau])
def test_only_plateau_looks_at_scores(module):
    schedule = make(module, warmup_epochs=5)

    assert schedule(at(3), None) == schedule(at(3), [])


@pytest.mark.parametrize(
    ("module", "params"),
    [
        (constant, {"warmup_epochs": -1}),
        (constant, {"warmup_factor": 1.1}),
        (constant, {"warmup": "cosine"}),
        (constant, {"per": "step"}),
        (constant, {"milestones": [1]}),
        (cosine, {"final_factor": -0.1}),
        (multi_step, {"gamma": 0}),
        (multi_step, {"milestones": [-1]}),
        (multi_step, {"milestones_from": "end"}),
        (poly, {"power": 0}),
        (poly, {"final_factor": 1.1}),
        (plateau, {"factor": 1}),
        (plateau, {"patience": -1}),
        (plateau, {"threshold": -0.1}),
        (plateau, {"min_factor": 1.1}),
    ],
)
def test_schedules_refuse_impossible_params(module, params):
    with pytest.raises(ValidationError):
        make(module, **params)

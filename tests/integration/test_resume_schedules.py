"""Rates, frozen stages and the loss's warm-up in real runs, interrupted wherever one can be."""

import math
import signal
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from reid_core import EvaluatorComponent, ReidError, hookimpl
from reid_core.contracts import Scores
from reid_core.evaluation.during_training import Scorer
from reid_core.interrupt import Interrupted
from reid_core.params.validation import check_run_params
from reid_core.runs.metrics_log import RunLog
from reid_core.runs.run import Run
from reid_core.runs.start_and_resume import resume_train, start_train
from tests.support.killed_runs import Killed, lines_of

pytestmark = pytest.mark.usefixtures("one_thread")

EPOCHS = 5
STEPS = 3
"""Steps of an epoch: 18 images of 9 people, in batches of 3 x 2."""

SCHEDULES = {
    "constant": {"warmup_epochs": 2.5, "warmup_factor": 0.1, "per": "iteration"},
    "multi_step": {
        "warmup": "exponential",
        "warmup_epochs": 2,
        "warmup_factor": 0.01,
        "milestones": [3, 4],
        "gamma": 0.5,
    },
    "cosine": {
        "warmup": "exponential",
        "warmup_epochs": 1,
        "warmup_factor": 0.01,
        "per": "iteration",
        "final_factor": 0.1,
    },
    "poly": {"warmup": "constant", "warmup_epochs": 1, "warmup_factor": 0.5, "power": 2.0},
    "plateau": {"patience": 0, "threshold": 0.25, "factor": 0.5, "min_factor": 0.2},
}

SCORES = {1: 0.5, 2: 0.5, 3: 0.9, 4: 0.9, 5: 0.9}
"""Score after each epoch: for plateau the second and the fourth are no better than before."""

RATES = {"backbone": 0.02, "new": 0.1}
"""Of weights; biases have twice these rates, and are fewer numbers."""


def expected_factor(schedule, step):
    """Return a step's factor from the formulas; t is the time in epochs."""
    epoch, t = step // STEPS, step / STEPS
    if schedule == "constant":
        return min(1.0, 0.1 + 0.9 * t / 2.5)
    if schedule == "multi_step":
        return [0.01, 0.1, 1.0, 0.5, 0.25][epoch]
    if schedule == "cosine":
        if t < 1:
            return 10 ** (-2 * (1 - t))
        return 0.1 + 0.9 * (1 + math.cos(math.pi * (t - 1) / 4)) / 2
    if schedule == "poly":
        return [0.5, 1.0, (3 / 4) ** 2, (2 / 4) ** 2, (1 / 4) ** 2][epoch]
    return [1.0, 1.0, 0.5, 0.5, 0.25][epoch]


# ---- runs -------------------------------------------------------------------------------


class ScoringPlugin:
    """Offers the evaluator ``looked_at``, which extracts features and scores nothing."""

    @hookimpl
    def reid_evaluator(self):
        def build(params):
            return lambda splits: Scores({"score": 0.0}, "score", {"images": len(splits["query"])})

        return [EvaluatorComponent(name="looked_at", build=build, summary="-", splits=("query",))]


@pytest.fixture(scope="module")
def runs_catalog(catalog_with):
    return catalog_with(ScoringPlugin())


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch):
    """These runs save after every step, and nobody pulls the plug."""
    monkeypatch.setattr("os.fsync", lambda file: None)


@pytest.fixture(autouse=True)
def scored_by_script(monkeypatch):
    """Give every evaluation the score of its epoch."""
    real = Scorer.scores

    def scores(scorer):
        (result,) = real(scorer)
        metrics = {"score": SCORES[scorer.training.state.epoch]}
        return [replace(result, scores=replace(result.scores, metrics=metrics))]

    monkeypatch.setattr(Scorer, "scores", scores)


@pytest.fixture(scope="module")
def params_of(runs_catalog, tmp_path_factory):
    """A function from a schedule and changes of ``train`` to checked params."""
    folder = tmp_path_factory.mktemp("runs")

    def make(schedule, **train):
        people = {
            "train_identities": 9,
            "train_images": 1,
            "test_identities": 2,
            "cameras": 2,
            "distractors": 0,
            "junk": 0,
            "height": 32,
            "width": 16,
        }
        raw = {
            "data": {"train": [{"name": "synthetic_market", "params": people}]},
            "backbone": {"name": "tiny"},
            "head": [{"name": "global", "params": {"embedding_dim": 4, "dropout": 0.1}}],
            "loss": [{"name": "softmax"}, {"name": "triplet"}],
            "sampler": {"name": "class_balanced", "params": {"P": 3, "K": 2}},
            "augmentation": [
                {"name": "resize", "params": {"height": 32, "width": 16}},
                {"name": "normalize"},
                {"name": "flip"},
            ],
            "optimizer": {
                "name": "sgd",
                "lr": RATES["new"],
                "lr_backbone": RATES["backbone"],
                "weight_decay": 0.01,
                "groups": [{"match": "*bias*", "lr_scale": 2, "weight_decay": 0.0}],
            },
            "schedule": {"name": schedule, "params": SCHEDULES[schedule]},
            "train": {
                "epochs": EPOCHS,
                "device": "cpu",
                "log_every": 1,
                "evaluate_every": 1,
                "freeze": [
                    {"match": "model.backbone.*", "epochs": 2},
                    {"match": "model.heads.*", "epochs": 1},
                ],
                "loss_warmup": {"epochs": 1.5},
                **train,
            },
            "evaluation": [{"name": "looked_at"}],
            "working_dir": str(folder),
        }
        return check_run_params(raw, runs_catalog, "test")

    return make


@pytest.fixture(scope="module")
def reference_of(runs_catalog, params_of):
    """A function from a schedule to a run of it that nobody interrupted; each is made once."""
    made = {}

    def reference(schedule):
        if schedule not in made:
            params = params_of(schedule)
            made[schedule] = start_train(params, runs_catalog, f"reference-{schedule}")
        return made[schedule]

    return reference


def kill():
    raise Killed


def interrupt():
    signal.raise_signal(signal.SIGINT)


@pytest.fixture
def train(runs_catalog, monkeypatch):
    """A function that trains to the end and resumes after every stop; it returns run and stops.

    ``stop(kind, number)`` is asked at every moment: after each step (``"step"``, steps done), when
    an epoch has ended (``"ended"``, epochs done) and after its evaluation (``"scored"``). It may
    return what is to be called then, to stop the training.
    """
    stops = []

    def ask(kind, number):
        if stops and (action := stops[-1](kind, number)):
            action()

    real_step, real_due, real_scores = RunLog.step, Run._evaluation_is_due, RunLog.scores

    def step(log, progress, *rest):
        real_step(log, progress, *rest)
        ask("step", progress.step + 1)

    def due(run):
        ask("ended", run.state.epoch)
        return real_due(run)

    def scores(log, kind, label, *rest):
        real_scores(log, kind, label, *rest)
        ask("scored", label["epoch"])

    monkeypatch.setattr(RunLog, "step", step)
    monkeypatch.setattr(Run, "_evaluation_is_due", due)
    monkeypatch.setattr(RunLog, "scores", scores)

    def to_the_end(params, name, stop):
        stops.append(stop)
        try:
            for count in range(50):  # far more than there are moments to stop at
                with suppress(Interrupted, Killed):
                    if not count:
                        return start_train(params, runs_catalog, name), count
                    path = Path(params.working_dir, name)
                    return resume_train(path, runs_catalog, params), count
        finally:
            stops.clear()
        raise AssertionError("the training does not come to an end")

    return to_the_end


def once(kind, number, action):
    """Return a ``stop`` for one moment of the run, the first time that it comes."""
    left = [(kind, number)]

    def stop(*moment):
        if moment in left:
            left.remove(moment)
            return action
        return None

    return stop


def rates_of(run):
    return [line["rates"] for line in lines_of(run) if line["kind"] == "train"]


def assert_same(run, reference):
    """Compare the weights and the state of the training bit by bit, and the record."""
    for name in ("last_weights", "best_weights"):
        assert getattr(run, name).read_bytes() == getattr(reference, name).read_bytes(), name
    here, there = (torch.load(r.checkpoint, weights_only=True) for r in (run, reference))
    assert here["state"]["history"] == there["state"]["history"] == list(SCORES.items())
    assert here["optimizer"]["param_groups"] == there["optimizer"]["param_groups"]
    one, two = (content["optimizer"]["state"] for content in (here, there))
    assert one.keys() == two.keys()
    for number in one:
        assert torch.equal(one[number]["momentum_buffer"], two[number]["momentum_buffer"])
    assert lines_of(run) == lines_of(reference)


# ---- rates ------------------------------------------------------------------------------


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_step_is_logged_with_the_rates_of_its_schedule(reference_of, schedule):
    found = rates_of(reference_of(schedule))
    factors = [expected_factor(schedule, step) for step in range(EPOCHS * STEPS)]

    assert len(found) == EPOCHS * STEPS
    for role, rate in RATES.items():
        assert [rates[role] for rates in found] == pytest.approx([rate * f for f in factors])
    assert len(set(factors)) > 2


def test_the_loss_is_logged_without_the_weight_of_its_warm_up(reference_of):
    steps = [line for line in lines_of(reference_of("constant")) if line["kind"] == "train"]
    assert len(steps) == EPOCHS * STEPS
    for line in steps:
        assert line["total"] == pytest.approx(sum(line["losses"].values()), rel=1e-5)


# ---- interrupted ------------------------------------------------------------------------


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_run_interrupted_at_every_moment_ends_like_one_left_alone(
    train, params_of, reference_of, schedule
):
    reference = reference_of(schedule)
    run, stops = train(params_of(schedule), f"always-{schedule}", lambda *_: interrupt)

    # After every step, at the end of every epoch, and after its evaluation.
    assert stops == EPOCHS * STEPS + 2 * EPOCHS
    assert_same(run, reference)


@pytest.mark.parametrize(
    "moment",
    [
        ("step", 2),  # backbone and head are frozen, and the loss is small
        ("step", 3),  # the last step of an epoch, which is not yet counted as ended
        ("ended", 1),  # trained and not yet scored; the head is free from now on
        ("scored", 2),  # this score lowers plateau's rate, and the backbone becomes free
        ("scored", 5),
    ],
    ids=lambda moment: "-".join(map(str, moment)),
)
def test_a_run_interrupted_once_ends_like_one_left_alone(train, params_of, reference_of, moment):
    reference = reference_of("plateau")
    name = f"once-{'-'.join(map(str, moment))}"
    run, stops = train(params_of("plateau"), name, once(*moment, interrupt))

    assert stops == 1
    assert_same(run, reference)


@pytest.mark.parametrize(
    ("schedule", "moment"),
    [
        ("cosine", ("step", 2)),  # within the warm-up, before the first checkpoint
        ("multi_step", ("step", 10)),  # the first step after a milestone
        ("plateau", ("ended", 2)),  # goes back into the frozen stage
        ("plateau", ("scored", 2)),  # loses the score that lowers the rate
        ("plateau", ("step", 8)),
        ("poly", ("scored", 5)),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(map(str, value)),
)
def test_a_killed_run_repeats_the_lost_steps_at_their_rates(
    train, params_of, reference_of, schedule, moment
):
    # Within an epoch, every second step is saved.
    params = params_of(schedule, checkpoint_every_steps=2)
    run, stops = train(params, f"killed-{'-'.join(map(str, moment))}", once(*moment, kill))

    assert stops == 1
    assert_same(run, reference_of(schedule))


# ---- frozen stages ----------------------------------------------------------------------


def test_frozen_stages_of_a_run_stand_still_to_the_last_bit(train, params_of, reference_of):
    params, states = params_of("constant"), []
    path = Path(params.working_dir, "frozen", "checkpoints", "last.pt")

    def note(kind, number):
        # At the first step of an epoch, the file holds what the epoch before has left.
        if kind == "step" and number % STEPS == 1:
            states.append(torch.load(path, weights_only=True)["module"])

    run, _ = train(params, "frozen", note)
    states.append(torch.load(path, weights_only=True)["module"])

    assert_same(run, reference_of("constant"))
    assert len(states) == EPOCHS + 1
    everything = set(states[0]) - {"model.heads.0.neck.bn.bias"}
    backbone = {name for name in everything if name.startswith("model.backbone.")}
    heads = {name for name in everything if name.startswith("model.heads.")}
    still = [backbone | heads, backbone, set(), set(), set()]
    for epoch, (before, after) in enumerate(pairwise(states)):
        moved = {name for name in before if not torch.equal(before[name], after[name])}
        assert moved == everything - still[epoch], epoch


def test_what_is_frozen_cannot_be_changed_when_resuming(
    train, params_of, runs_catalog, reference_of
):
    reference = reference_of("poly")
    changes = {
        "train.freeze.0.epochs": {"freeze": [{"match": "model.backbone.*", "epochs": 3}]},
        "train.loss_warmup.start": {"loss_warmup": {"epochs": 1.5, "start": 0.2}},
    }
    for key, change in changes.items():
        with pytest.raises(ReidError) as error:
            resume_train(reference.path, runs_catalog, params_of("poly", **change))
        assert any(problem.startswith(f"{key}: was ") for problem in error.value.problems)

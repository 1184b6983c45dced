"""A run is continued only with params that cannot alter what was trained already."""

import copy

import pytest
import torch

import checkpoints
from reid_core import ReidError
from reid_core.params.overrides import apply_overrides
from reid_core.params.validation import check_run_params
from reid_core.run_directory import RunDirectory
from reid_core.runs.resume_rules import check_same_past


@pytest.fixture
def check(tiny_catalog, tiny_params, tmp_path):
    """A function: may a run of ``before`` at (epoch, position) go on with these overrides?"""

    def run(*overrides, epoch=None, position=0, before=(), history=()):
        raw = {**copy.deepcopy(tiny_params), "backbone": {"name": "tiny"}}
        old = check_run_params(apply_overrides(raw, before, "x"), tiny_catalog, "x")
        changed = apply_overrides(old.model_dump(mode="json"), overrides, "x")
        new = check_run_params(changed, tiny_catalog, "x")
        directory = RunDirectory.create(
            tmp_path / f"{len(list(tmp_path.iterdir()))}", old.model_dump(mode="json"), None
        )
        if epoch is not None:
            step = epoch * 4 + position
            state = {"epoch": epoch, "step": step, "position": position, "history": list(history)}
            directory.checkpoint.parent.mkdir()
            torch.save(checkpoints.content(4, **state), directory.checkpoint)
        check_same_past(directory, old.model_dump(mode="json"), new, tiny_catalog)

    return run


@pytest.mark.parametrize(
    "override",
    [
        "data.workers=2",
        "data.batch_size=7",
        "train.log_every=3",
        "train.checkpoint_every_steps=5",
        "train.evaluate_every=1",
        "train.device=cpu",
        "train.baselines=true",
        "train.epochs=9",
        "working_dir=elsewhere",
        "data.train.0.store=elsewhere",
    ],
)
def test_what_cannot_alter_the_past_may_change(check, override):
    check(override, epoch=1, position=2)


@pytest.mark.parametrize(
    "override",
    [
        "evaluation.0.params.junk_rule=exclude_self",
        "extraction.flip=true",
        "extraction.scales=[1.0, 1.2]",
        'data.targets={"own": {"name": "synthetic_market"}}',
    ],
)
def test_evaluations_may_change_until_a_score_was_measured_by_them(check, override):
    check(override, epoch=2)
    with pytest.raises(ReidError, match="a resumed run keeps it"):
        check(override, epoch=2, history=[(1, 0.5)])


def test_nothing_has_to_change(check):
    check(epoch=1)
    check()


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("train.seed=1", "train.seed: was 0, is 1; a resumed run keeps it (start a new run to"),
        ("optimizer.lr=0.5", "optimizer.lr: was 0.001, is 0.5; a resumed run keeps it"),
        ("loss.1.params.margin=0.1", "loss.1.params.margin: was 0.3, is 0.1; a resumed"),
        ("sampler.params.P=2", "sampler.params.P: was 3, is 2; a resumed run keeps it"),
        ("head.0.scale=2.0", "head.0.scale: was 1.0, is 2.0; a resumed run keeps it"),
        ("train.fine_tune=true", "train.fine_tune: was False, is True; a resumed run keeps"),
        (
            "backbone.name=resnet18",
            "backbone.name: was 'local:tiny', is 'reid-core:resnet18'; a resumed run",
        ),
        ("data.train.0.params.seed=3", "data.train.0.params.seed: was 0, is 3; a resumed run"),
    ],
)
@pytest.mark.parametrize("epoch", [None, 1])
def test_what_would_alter_the_past_is_refused(check, override, problem, epoch):
    with pytest.raises(ReidError) as error:
        check(override, epoch=epoch)
    assert problem in str(error.value)


def test_every_change_that_is_refused_is_listed(check):
    with pytest.raises(ReidError) as error:
        check("train.seed=1", "optimizer.lr=0.5", "train.log_every=1", epoch=1)
    assert len(error.value.problems) == 2


def test_entries_may_not_be_added_to_a_list(check):
    with pytest.raises(
        ReidError, match=r"loss\.2: was None, is \{'name': 'reid-core:softmax'.*; a resumed"
    ):
        check('loss.2={"name": "softmax"}', epoch=1)


# ---- longer and shorter -----------------------------------------------------------------

COSINE = ('schedule={"name": "cosine"}',)
WARMUP = 'schedule={"name": "multi_step", "params": {"milestones": [%d]}}'


def test_a_longer_training_is_refused_when_its_schedule_would_have_been_another(check):
    with pytest.raises(
        ReidError,
        match=r"schedule: with the changed params the rate of step 4, which is done, would have",
    ):
        check("train.epochs=9", before=COSINE, epoch=2)


def test_a_longer_training_is_fine_while_the_schedule_has_not_moved(check):
    check("train.epochs=9", before=COSINE, epoch=0, position=3)
    check("train.epochs=9", before=COSINE, epoch=0)
    check("train.epochs=9", before=COSINE)


def test_milestones_may_move_in_the_future_and_not_in_the_past(check):
    before = (WARMUP % 5, "train.epochs=20")
    check("schedule.params.milestones=[9]", before=before, epoch=5)
    with pytest.raises(ReidError, match=r"schedule: .* the rate of step 20, which is done"):
        check("schedule.params.milestones=[9]", before=before, epoch=5, position=1)


def test_a_training_cannot_become_shorter_than_it_is(check):
    before = ("train.epochs=9",)
    check("train.epochs=3", before=before, epoch=3)
    with pytest.raises(ReidError, match=r"train\.epochs: 2, but 3 epochs are trained or begun"):
        check("train.epochs=2", before=before, epoch=3)
    with pytest.raises(ReidError, match=r"train\.epochs: 3, but 4 epochs are trained or begun"):
        check("train.epochs=3", before=before, epoch=3, position=1)


def test_what_is_free_may_name_a_plugin_that_is_gone(tiny_catalog, tiny_params, tmp_path):
    params = check_run_params({**tiny_params, "evaluation": []}, tiny_catalog, "x")
    before = params.model_dump(mode="json") | {
        "evaluation": [{"name": "reid-gone:theirs", "params": {"unknown": 1}}]
    }
    directory = RunDirectory.create(tmp_path / "run", before, None)
    check_same_past(directory, before, params, tiny_catalog)


def test_a_schedule_that_is_gone_cannot_be_compared(check, tiny_catalog, tiny_params, tmp_path):
    params = check_run_params(tiny_params, tiny_catalog, "x")
    before = params.model_dump(mode="json") | {"schedule": {"name": "reid-gone:theirs"}}
    directory = RunDirectory.create(tmp_path / "run", before, None)
    state = {"epoch": 1, "step": 4, "position": 0, "history": []}
    directory.checkpoint.parent.mkdir()
    torch.save(checkpoints.content(4, **state), directory.checkpoint)
    with pytest.raises(ReidError) as caught:
        check_same_past(directory, before, params, tiny_catalog)
    (problem,) = caught.value.problems
    assert problem.startswith(
        "schedule: that of the run cannot be compared: name: schedule 'theirs' is of "
        "the package 'reid-gone', which is not"
    )


def test_a_record_that_lost_lines_is_told_before_anything_is_built(
    tiny_catalog, tiny_params, tmp_path
):
    params = check_run_params({**tiny_params, "backbone": {"name": "tiny"}}, tiny_catalog, "x")
    before = params.model_dump(mode="json")
    directory = RunDirectory.create(tmp_path / "run", before, None)
    directory.checkpoint.parent.mkdir()
    torch.save({**checkpoints.content(), "log_bytes": 9}, directory.checkpoint)
    directory.metrics.write_text("{}\n")
    with pytest.raises(ReidError, match=r"metrics\.jsonl: has 3 bytes, and 9 were written before"):
        check_same_past(directory, before, params, tiny_catalog)

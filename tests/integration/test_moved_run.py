"""A run, its data and its stores move: the content decides what goes on, not the place."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torchvision.models import get_model

from dataset_folders import draw
from reid_core import ReidError
from reid_core.evaluation.evaluate_command import run_evaluation
from reid_core.params.overrides import apply_overrides
from reid_core.params.validation import check_eval_params, check_run_params
from reid_core.runs.start_and_resume import resume_train, start_train
from reid_plugins.command._evaluate_run import eval_params_of

pytestmark = pytest.mark.usefixtures("one_thread")

FOLDERS = {"bounding_box_train": range(1, 5), "query": (5, 6), "bounding_box_test": (5, 6)}


@pytest.fixture
def place(tmp_path):
    """A folder with a small dataset in ``data``; images are (folder, pid, camera) apart."""
    for number, (folder, pids) in enumerate(FOLDERS.items()):
        for pid in pids:
            for camera in (1, 2):
                name = f"{pid:04d}_c{camera}s1_{number:06d}_00.jpg"
                draw(tmp_path / "data" / folder / name, 100 * number + 10 * pid + camera)
    return tmp_path


@pytest.fixture
def raw(place, tiny_params):
    """Params of a training on it."""
    return {
        **tiny_params,
        "data": {"train": [{"name": "market1501", "params": {"root": str(place / "data")}}]},
        "backbone": {"name": "tiny"},
        "loss": [{"name": "softmax"}],
        "sampler": {"name": "random", "params": {"batch_size": 4}},
        "train": {"epochs": 1, "device": "cpu"},
        "logger": [],
    }


@pytest.fixture
def run(raw, tiny_catalog):
    """A finished run of one epoch."""
    return start_train(check_run_params(raw, tiny_catalog, "x"), tiny_catalog, "run").path


@pytest.fixture
def resume(tiny_catalog, capsys):
    """A function: continue a run for one epoch more with overrides; return what is printed."""

    def go(path, *overrides):
        capsys.readouterr()
        given = json.loads((path / "params.json").read_text())
        epochs = f"train.epochs={given['train']['epochs'] + 1}"
        changed = apply_overrides(given, [epochs, *overrides], "x")
        resume_train(path, tiny_catalog, check_run_params(changed, tiny_catalog, "x"))
        return capsys.readouterr().out

    return go


@pytest.fixture
def score(tiny_catalog, capsys):
    """A function: score a run; return metrics, warning and what is printed."""

    def go(path, **changes):
        params = {"run": str(path), "device": "cpu", **changes}
        (found,) = run_evaluation(check_eval_params(params, tiny_catalog, "x"), tiny_catalog)
        return found.scores.metrics, found.scores.card.get("warning", ""), capsys.readouterr().out

    return go


def stores(path):
    return sorted(m.parent for m in (path.parent / "stores").glob("*/manifest.json"))


def test_a_run_whose_data_are_gone_goes_on_with_what_it_has_packed(place, run, resume, score):
    before, _, _ = score(run)
    (place / "data").rename(place / "elsewhere")
    (packed,) = stores(run)
    out = resume(run)
    assert f"root '{place / 'data'}' is not a folder" in out
    assert f"the images that the run has packed serve: {packed}" in out
    metrics, warning, out = score(run)
    assert f"the images that the run has packed serve: {packed}" in out
    assert metrics.keys() == before.keys()
    assert warning == ""
    assert stores(run) == [packed]


def test_an_unmounted_disk_leaves_an_empty_folder(place, run, resume):
    shutil.rmtree(place / "data")
    (place / "data").mkdir()
    assert "the images that the run has packed serve" in resume(run)


def test_the_new_place_of_the_same_data_may_be_named(place, run, resume, score):
    (place / "data").rename(place / "elsewhere")
    out = resume(run, f"data.train.0.params.root={place / 'elsewhere'}")
    assert "resuming" in out
    assert "have packed serve" not in out
    kept = json.loads((run / "params.json").read_text())["data"]["train"][0]["params"]
    assert kept["root"] == str(place / "elsewhere")
    assert score(run)[1] == ""


@pytest.mark.parametrize("is_packed", [True, False])
def test_the_new_place_serves_for_the_images_trained_on_as_well(
    place, run, tiny_catalog, capsys, is_packed
):
    (place / "data").rename(place / "elsewhere")
    if not is_packed:
        shutil.rmtree(run.parent / "stores")
    given = json.loads((run / "params.json").read_text())
    override = f"data.train.0.params.root={place / 'elsewhere'}"
    params = check_run_params(apply_overrides(given, [override], "x"), tiny_catalog, "x")
    capsys.readouterr()
    for _ in range(2):
        (found,) = run_evaluation(eval_params_of(params, run), tiny_catalog)
        assert "warning" not in found.scores.card
        out = capsys.readouterr().out
        assert "warning" not in out
        assert "is not a folder" not in out


def test_other_data_at_the_new_place_are_not_taken_for_those_trained_on(
    place, run, tiny_catalog, capsys
):
    (place / "data").rename(place / "elsewhere")
    shutil.rmtree(run.parent / "stores")
    draw(next((place / "elsewhere/query").iterdir()), 999)
    given = json.loads((run / "params.json").read_text())
    override = f"data.train.0.params.root={place / 'elsewhere'}"
    params = check_run_params(apply_overrides(given, [override], "x"), tiny_catalog, "x")
    (found,) = run_evaluation(eval_params_of(params, run), tiny_catalog)
    other, unknown = sorted(found.scores.card["warning"].splitlines())
    assert unknown.startswith("these are not the images that the run knew as 'market1501'")
    assert other.startswith("the training images of market1501 are not at hand")


def test_other_data_at_a_new_place_are_refused_and_both_are_named(place, run, resume, score):
    other = place / "other"
    shutil.copytree(place / "data", other)
    draw(next((other / "query").iterdir()), 999)
    before = (run / "params.json").read_bytes()
    (packed,) = stores(run)
    with pytest.raises(ReidError) as error:
        resume(run, f"data.train.0.params.root={other}")
    text = str(error.value)
    assert text.startswith(f"{run}: the images of market1501 are not those that the run was start")
    assert f"root was '{place / 'data'}', is '{other}'" in text
    assert f"the store of the start is still there: --set data.train.0.store={packed}" in text
    assert (run / "params.json").read_bytes() == before
    assert "resuming" in resume(
        run, f"data.train.0.params.root={other}", f"data.train.0.store={packed}"
    )


def test_data_that_were_changed_at_their_place_are_refused(place, run, resume, score):
    draw(next((place / "data/query").iterdir()), 999)
    with pytest.raises(ReidError, match=r"'market1501' had the content .* now; the store of the s"):
        resume(run)
    _, warning, out = score(run)
    assert warning.startswith("these are not the images that the run knew as 'market1501': their")
    assert f"warning: target 'market1501': {warning}" in out


def test_a_place_that_is_not_there_is_no_reason_to_take_another(place, run, resume):
    with pytest.raises(ReidError, match=r"^dataset market1501: root '.*nowhere' is not a folder"):
        resume(run, f"data.train.0.params.root={place / 'nowhere'}")


def test_without_data_and_store_it_is_said_where_to_name_them(place, run, resume, score):
    (place / "data").rename(place / "elsewhere")
    shutil.rmtree(run.parent / "stores")
    for act in (resume, score):
        with pytest.raises(ReidError) as error:
            act(run)
        assert "is not a folder" in str(error.value)
        assert "--set data.train.0.params.root=..., or where its store is, with" in str(error.value)
        assert "--set data.train.0.store=..." in str(error.value)
    assert "resuming" in resume(run, f"data.train.0.params.root={place / 'elsewhere'}")


def test_a_run_moves_with_its_stores_and_without_its_data(place, run, resume, score):
    new = place / "new machine" / "runs"
    new.parent.mkdir()
    run.parent.rename(new)
    (place / "data").rename(place / "elsewhere")
    assert f"have packed serve: {new / 'stores'}" in resume(new / "run").replace(
        "the run has packed", "have packed"
    )
    assert "market1501" in score(new / "run")[2]
    assert not run.parent.exists()


def test_a_run_that_moved_alone_packs_beside_itself(place, run, resume):
    new = place / "new" / "run"
    new.parent.mkdir()
    run.rename(new)
    shutil.rmtree(run.parent)
    assert "packed market1501" in resume(new)
    assert len(stores(new)) == 1
    assert not run.parent.exists()


def test_a_working_directory_that_is_named_is_taken(place, run, resume):
    (packed,) = stores(run)
    packed.rename(place / "kept")
    other = place / "other runs"
    resume(run, f"working_dir={other}")
    assert len(list((other / "stores").glob("*/manifest.json"))) == 1


def test_targets_whose_data_changed_are_refused_once_they_were_scored(
    place, raw, tiny_catalog, resume
):
    shutil.copytree(place / "data", place / "test")
    target = {"name": "market1501", "alias": "t", "params": {"root": str(place / "test")}}
    raw["data"]["targets"] = {"t": target}
    raw["evaluation"] = []
    path = start_train(check_run_params(raw, tiny_catalog, "x"), tiny_catalog, "run").path
    evaluated = 'evaluation=[{"name": "market_evaluate"}]'
    draw(next((place / "test/query").iterdir()), 999)
    resume(path, evaluated)
    recorded = json.loads((path / "environment.json").read_text())["data"]
    assert recorded.keys() == {"market1501", "t"}
    resume(path)
    draw(next((place / "test/query").iterdir()), 998)
    with pytest.raises(ReidError, match="the images of t are not those that the run was started"):
        resume(path)


def test_a_target_that_is_called_like_a_training_set_is_told_from_it(
    place, raw, tiny_catalog, resume
):
    shutil.copytree(place / "data", place / "test")
    draw(next((place / "test/query").iterdir()), 999)
    params = {"root": str(place / "test")}
    raw["data"]["targets"] = {"market1501": {"name": "market1501", "params": params}}
    path = start_train(check_run_params(raw, tiny_catalog, "x"), tiny_catalog, "run").path
    assert "resuming" in resume(path)
    (place / "data").rename(place / "elsewhere")
    assert "resuming" in resume(path)


# ---- what the run started from ----------------------------------------------------------


def test_weights_that_a_run_started_from_may_be_gone_when_it_goes_on(raw, tiny_catalog, resume):
    start = Path(raw["working_dir"]).with_name("start.pt")
    torch.save(get_model("resnet18", weights=None).state_dict(), start)
    snapshot = start_train(check_run_params(raw, tiny_catalog, "x"), tiny_catalog, "snapshot")
    params = {"pretrained": "none", "weights_file": str(start)}
    raw["backbone"] = {"name": "resnet18", "params": params}
    path = start_train(check_run_params(raw, tiny_catalog, "x"), tiny_catalog, "file").path
    start.unlink()
    out = resume(path)
    assert "start.pt' does not exist" in out
    assert "They are not needed: the checkpoint has all weights" in out
    raw["backbone"] = {"name": "tiny"}
    raw["train"]["pretrain_snapshot"] = str(snapshot.best_weights)
    path = start_train(check_run_params(raw, tiny_catalog, "x"), tiny_catalog, "second").path
    shutil.rmtree(snapshot.path)
    assert "resuming" in resume(path)


def test_weights_that_were_not_read_make_no_difference(raw, tiny_catalog, resume):
    start = Path(raw["working_dir"]).with_name("start.pt")
    torch.save(get_model("resnet18", weights=None).state_dict(), start)
    params = {"pretrained": "none", "weights_file": str(start)}
    raw["backbone"] = {"name": "resnet18", "params": params}
    path = start_train(check_run_params(raw, tiny_catalog, "x"), tiny_catalog, "one").path
    shutil.copytree(path, path.with_name("other"))
    resume(path)
    start.unlink()
    resume(path.with_name("other"))
    weights = [(path.with_name(name) / "weights/last.safetensors") for name in ("one", "other")]
    assert weights[0].read_bytes() == weights[1].read_bytes()


def test_a_teacher_may_lie_elsewhere_and_must_be_the_same(raw, run, tiny_catalog, resume):
    terms = {"features": {"weight": 1.0}}
    distillation = {"name": "distillation", "params": {"teacher": str(run), "terms": terms}}
    raw["objective"] = [{"name": "supervised"}, distillation]
    params = check_run_params(raw, tiny_catalog, "x")
    path = start_train(params, tiny_catalog, "student").path
    moved, other = run.with_name("teacher"), run.with_name("student")
    named = "objective.1.params.teacher={}".format
    with pytest.raises(
        ReidError, match=r"objective\.1\.params\.teacher: was '.*a resumed run keep"
    ):
        resume(path, named(other))
    run.rename(moved)
    with pytest.raises(ReidError, match="is not the teacher that the run was started with"):
        resume(path, named(other))
    assert "resuming" in resume(path, named(moved))


# ---- two at once ------------------------------------------------------------------------


def test_of_two_that_start_one_run_one_wins_and_the_other_says_why(raw, tmp_path):
    raw["backbone"] = {"name": "resnet18", "params": {"pretrained": "none"}}
    (tmp_path / "p.json").write_text(json.dumps(raw))
    reid = str(Path(sys.executable).parent / "reid")
    command = [reid, "train", "--config_path", "p.json", "--sub_working_dir", "same"]
    both = [
        subprocess.Popen(
            command,
            cwd=tmp_path,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    said = [process.communicate(timeout=300) for process in both]
    assert sorted(process.returncode for process in both) == [0, 2], said
    (error,) = (err for (_, err), process in zip(said, both, strict=True) if process.returncode)
    assert "same: exists already; choose another --sub_working_dir" in error
    assert len(error.splitlines()) == 1
    record = (tmp_path / "runs/same/metrics.jsonl").read_text()
    lines = [json.loads(line) for line in record.splitlines()]
    steps = [line["step"] for line in lines if line["kind"] == "train"]
    assert steps == sorted(set(steps))

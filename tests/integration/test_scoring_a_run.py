"""``train --operation evaluate``: what it is given is what it scores by, or is refused."""

import copy
import json
import shutil

import pytest

from reid_core.cli import main
from reid_core.params.validation import check_run_params
from reid_core.runs.start_and_resume import start_train

pytestmark = pytest.mark.usefixtures("one_thread")

PEOPLE = {
    "train_identities": 6,
    "test_identities": 4,
    "cameras": 2,
    "distractors": 2,
    "junk": 2,
    "height": 32,
    "width": 16,
}


def params_of(folder):
    return {
        "data": {"train": [{"name": "synthetic_market", "params": PEOPLE}]},
        "backbone": {"name": "resnet18", "params": {"pretrained": "none"}},
        "head": [{"name": "global"}],
        "loss": [{"name": "softmax"}],
        "sampler": {"name": "class_balanced", "params": {"P": 3, "K": 2}},
        "augmentation": [
            {"name": "resize", "params": {"height": 32, "width": 16}},
            {"name": "normalize"},
        ],
        "optimizer": {"name": "adam", "lr": 0.001},
        "train": {"epochs": 1, "device": "cpu"},
        "working_dir": str(folder),
    }


@pytest.fixture(scope="module")
def run(catalog, tmp_path_factory):
    """The path of a trained run that was never scored."""
    folder = tmp_path_factory.mktemp("runs")
    return start_train(check_run_params(params_of(folder), catalog, "x"), catalog, "run").path


@pytest.fixture
def file(run, tmp_path):
    """A function that writes the run's params, changed, to a file and returns its path."""

    def write(**changes):
        raw = copy.deepcopy(params_of(run.parent)) | changes
        path = tmp_path / "x.json"
        path.write_text(json.dumps(raw))
        return str(path)

    return write


@pytest.fixture
def scored(run, capsys):
    """A function: (status, output, error) of scoring the run with some more words."""

    def act(*words):
        start = ["train", "--operation", "evaluate", "--sub_working_dir", str(run)]
        status = main([*start, *words])
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return status, captured.out, captured.err

    return act


TRAPEZOID = {"name": "market_evaluate", "params": {"ap": "trapezoid"}}


def test_the_evaluation_of_the_file_is_what_scores(scored, file):
    status, out, _ = scored("--config_path", file(evaluation=[TRAPEZOID]))
    assert status == 0
    assert "    ap: trapezoid" in out
    assert "x.json: its data, evaluation, extraction, device and working_dir are taken" in out


def test_the_data_of_the_file_are_what_is_scored(scored, file, run):
    more = {"name": "synthetic_market", "params": {**PEOPLE, "test_identities": 7}}
    config = file(data={"train": [more]}, evaluation=[TRAPEZOID])
    assert scored("--config_path", config)[0] == 0
    path = run / "evaluations" / "scores-market_evaluate-synthetic_market.json"
    queries = json.loads(path.read_text())["card"]["sizes"]["query"]
    assert scored("--config_path", file(evaluation=[TRAPEZOID]))[0] == 0
    assert json.loads(path.read_text())["card"]["sizes"]["query"] < queries


def test_what_is_set_changes_data_evaluation_and_averaging(scored):
    status, out, _ = scored(
        "--set", 'evaluation=[{"name": "market_evaluate"}]', "--set", "extraction.flip=true"
    )
    assert status == 0
    assert "    flip: mean" in out
    status, _, err = scored(
        "--set", 'evaluation=[{"name": "market_evaluate"}]',
        "--set", "data.train.0.name=market1501",
        "--set", 'data.train.0.params={"root": "/no/such/folder"}',
    )  # fmt: skip
    assert status == 2
    assert "/no/such/folder" in err


@pytest.mark.parametrize("setting", ["train.epochs=3", "loss.0.weight=2", "sampler.params.P=2"])
@pytest.mark.parametrize("with_file", [True, False])
def test_a_setting_that_scores_do_not_depend_on_is_refused(scored, file, setting, with_file):
    words = ["--config_path", file()] if with_file else []
    status, _, err = scored(*words, "--set", setting)
    assert status == 2
    key = setting.partition("=")[0]
    assert err.startswith(f"error: --set {key}: has no effect on the scores of a run")


def test_a_setting_of_training_data_is_refused_where_targets_are_scored(scored):
    target = 'data.targets={"drawn": {"name": "synthetic_market"}}'
    status, _, err = scored("--set", target, "--set", "data.train.0.params.seed=4")
    assert status == 2
    assert "--set data.train.0.params.seed: has no effect" in err


def test_a_file_of_another_network_is_refused_with_the_command_that_scores(scored, file):
    config = file(backbone={"name": "resnet34", "params": {"pretrained": "none"}})
    status, _, err = scored("--config_path", config)
    assert status == 2
    assert f"error: {config}: backbone: not as in " in err
    assert "reid evaluate eval_params.json" in err


def test_a_run_is_looked_for_in_the_working_directory_that_is_set(run, capsys, monkeypatch):
    monkeypatch.chdir(run.parent.parent)
    words = ["train", "--operation", "evaluate", "--sub_working_dir", "run"]
    found = ["--set", f"working_dir={run.parent}", "--set", f"evaluation={json.dumps([TRAPEZOID])}"]
    assert main([*words, *found]) == 0
    assert "ap: trapezoid" in capsys.readouterr().out


def test_a_run_that_was_moved_is_scored_with_the_stores_beside_it(run, tmp_path, capsys):
    moved = tmp_path / "moved"
    shutil.copytree(run.parent, moved)
    raw = json.loads((moved / "run" / "params.json").read_text())
    raw["working_dir"] = str(tmp_path / "gone")
    (moved / "run" / "params.json").write_text(json.dumps(raw))
    words = ["train", "--operation", "evaluate", "--sub_working_dir", str(moved / "run")]
    assert main([*words, "--set", f"evaluation={json.dumps([TRAPEZOID])}"]) == 0
    assert "packed" not in capsys.readouterr().out
    assert not (tmp_path / "gone").exists()


def test_stores_are_made_in_the_working_directory_of_eval_params(run, tmp_path, capsys):
    path, place = tmp_path / "e.json", tmp_path / "stores_here"
    raw = {"run": str(run), "evaluation": [TRAPEZOID], "working_dir": str(place)}
    path.write_text(json.dumps(raw))
    assert main(["evaluate", str(path)]) == 0
    assert list((place / "stores").glob("synthetic_market-*"))


def test_a_target_that_the_evaluators_of_the_run_do_not_score_is_refused(run, tmp_path, capsys):
    people = {"name": "synthetic_market", "params": PEOPLE}
    raw = {"run": str(run), "targets": {"one": people, "two": people}, "evaluation": [TRAPEZOID]}
    path = tmp_path / "e.json"
    path.write_text(json.dumps(raw))
    assert main(["evaluate", str(path)]) == 2
    assert "targets.two: no evaluation scores it" in capsys.readouterr().err


def test_a_features_file_that_no_evaluator_reads_is_refused(tmp_path, capsys):
    path = tmp_path / "e.json"
    files = {"query": "q.npz", "gallery": "g.npz", "galery": "x.npz"}
    path.write_text(json.dumps({"features": files, "evaluation": [TRAPEZOID]}))
    assert main(["evaluate", str(path)]) == 2
    assert capsys.readouterr().err == (
        "error: features.galery: no evaluator reads this split; did you mean 'gallery'? "
        "(read: gallery, query); leave it out\n"
    )

"""What the commands say when what was typed is not quite what was meant."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MARKET = [{"name": "market_evaluate"}]


def test_reid_alone_is_help_with_examples_that_are_commands(answer, catalog):
    status, out, err = answer()
    assert (status, err) == (0, "")
    assert out.startswith("usage: reid [-h] [--version] COMMAND ...")
    words = [line.split()[1] for line in out.splitlines() if line.startswith("  reid ")]
    assert set(words) >= {"train", "check", "report", "evaluate", "pack", "plugins"}
    assert set(words) <= set(catalog.names("command"))
    assert out == answer("--help")[1]


def test_the_version_is_that_of_every_package(answer, catalog):
    status, out, err = answer("--version")
    assert (status, err) == (0, "")
    assert f"reid-core {catalog.offer('head', 'global').version}" in out.splitlines()


@pytest.mark.parametrize("module", ["reid_core", "reid_core.cli"])
def test_the_program_is_a_module_too(module):
    words = [sys.executable, "-m", module, "plugins", "--kind", "head"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "  head         global" in done.stdout


@pytest.mark.parametrize("word", ["check", "evaluate", "report", "compare-runs", "new-plugin"])
def test_a_command_that_needs_more_than_its_name_explains_itself(answer, word):
    status, out, err = answer(word)
    assert (status, out) == (2, "")
    assert err.startswith(f"usage: reid {word} ")
    assert "show this help message and exit" in err
    assert "are required" not in err


def test_a_file_or_a_folder_is_no_command(answer, params_file, tmp_path):
    status, _, err = answer(params_file)
    assert status == 2
    assert f"reid train {params_file}" in err
    status, _, err = answer(tmp_path)
    assert status == 2
    assert f"reid report {tmp_path}" in err


def test_training_looks_for_params_json_and_explains_itself_without(answer, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, out, err = answer("train")
    assert (status, out) == (2, "")
    assert err.startswith("usage: reid train ")
    assert "reid train params/quickstart.json --sub_working_dir first" in err
    assert answer("train", "--set", "a=1") == (2, "", "error: params.json: no such file\n")
    Path("params.json").write_text("{}")
    assert "error: params.json: backbone: required, but missing" in answer("train")[2]


def test_a_params_file_needs_no_option_and_is_given_once(answer, params_file):
    wrong = ["--set", "train.epochs=0"]
    found = answer("train", params_file, *wrong)
    assert found == answer("train", "--config_path", params_file, *wrong)
    assert found[2] == f"error: {params_file}: train.epochs: must be >= 1, got 0\n"
    status, _, err = answer("train", params_file, "--config_path", params_file)
    assert status == 2
    assert err.startswith("error: two params files are given")


# ---- a file for something else ----------------------------------------------------------


def test_a_file_for_another_command_is_told_to_it(answer, params_file, tmp_path):
    path = tmp_path / "e.json"
    path.write_text('{"run": "runs/a"}')
    status, _, err = answer("train", path)
    assert (status, f"score by it with: reid evaluate {path}" in err) == (2, True)
    status, _, err = answer("evaluate", params_file)
    assert (status, f"train by it with: reid train {params_file}; score" in err) == (2, True)


def test_a_file_of_the_predecessor_for_another_command_is_told_to_it(answer):
    folder = ROOT / "tests" / "unit"
    status, _, err = answer("evaluate", folder / "reid_lite_params.json")
    assert (status, "train by it with: reid train " in err) == (2, True)
    status, _, err = answer("train", folder / "reid_lite_eval_params.json")
    assert (status, "score by it with: reid evaluate " in err) == (2, True)


def test_a_folder_or_another_file_in_place_of_params_says_what_is_meant(answer, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    (run / "params.json").write_text("{}")
    assert f"--operation evaluate --sub_working_dir {run}" in answer("train", run)[2]
    assert answer("train", tmp_path)[2].endswith("a folder, and a params file is expected\n")
    weights = tmp_path / "best.safetensors"
    weights.write_bytes(b"\xff\xfe\xff")
    assert "an eval_params.json names it in 'weights'" in answer("evaluate", weights)[2]


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("p.jsn", "did you mean '{folder}/p.json'?"),
        ("P.JSON", "did you mean '{folder}/p.json'?"),
        ("nowhere/p.json", "there is no folder '{folder}/nowhere'"),
    ],
)
def test_a_mistyped_file_is_told_what_there_is(answer, params_file, word, hint):
    folder = params_file.parent
    path = folder / word
    found = answer("check", path)
    assert found == (2, "", f"error: {path}: no such file; {hint.format(folder=folder)}\n")


def test_a_mistyped_run_is_told_what_there_is(answer, tmp_path, monkeypatch):
    (tmp_path / "runs" / "first").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    err = answer("train", "--operation", "evaluate", "--sub_working_dir", "runs/frist")[2]
    assert "did you mean 'runs/first'?" in err


# ---- reid check looks at what is named --------------------------------------------------


def test_check_reports_what_is_not_there_together_with_the_rest(answer, params_file, tmp_path):
    (tmp_path / "best.safetensors").write_text("")
    gone = tmp_path / "gone"
    distillation = {"teacher": str(gone), "terms": {"logits": {"weight": 1.0}}}
    objective = [{"name": "distillation", "params": distillation}, {"name": "supervised"}]
    status, _, err = answer(
        "check", params_file,
        "--set", f'data.train.0={{"name": "market1501", "params": {{"root": "{gone}"}}}}',
        "--set", f"train.pretrain_snapshot={tmp_path}/bst.safetensors",
        "--set", "train.device=cuda:99",
        "--set", f"backbone.params.weights_file={gone}/net.pth",
        "--set", f"objective={json.dumps(objective)}",
        "--set", "loss.0.weight=-1",
    )  # fmt: skip
    assert status == 2
    lines = [line.removeprefix("error: ") for line in err.splitlines()]
    assert sorted(line.removeprefix(f"{params_file}: ").partition(":")[0] for line in lines) == [
        "backbone.params.weights_file",
        "data.train.0.params.root",
        "loss.0.weight",
        "objective.0.params.teacher",
        "train.device",
        "train.pretrain_snapshot",
    ]
    assert f"did you mean '{tmp_path}/best.safetensors'?" in err


def test_check_needs_no_images_of_a_store_that_is_there(answer, params_file, tmp_path):
    gone = {"name": "market1501", "params": {"root": str(tmp_path / "no")}}
    assert answer("check", params_file, "--set", f"data.train.0={json.dumps(gone)}")[0] == 2
    packed = json.dumps({**gone, "store": str(tmp_path)})
    assert answer("check", params_file, "--set", f"data.train.0={packed}")[0] == 0


def test_check_looks_for_features_and_for_a_run_and_its_weights(answer, tmp_path):
    path, run = tmp_path / "e.json", tmp_path / "run"
    path.write_text(json.dumps({"features": {"query": str(run)}, "evaluation": MARKET}))
    assert answer("check", path)[2] == f"error: {path}: features.query: '{run}' is not there\n"
    path.write_text(json.dumps({"run": str(run)}))
    assert answer("check", path)[2] == f"error: {path}: run: '{run}' is not there\n"
    (run / "weights").mkdir(parents=True)
    assert "is no run directory" in answer("check", path)[2]
    (run / "params.json").write_text("{}")
    assert "has no weights yet" in answer("check", path)[2]
    (run / "weights" / "last.safetensors").write_text("")
    assert answer("check", path) == (0, f"{path}: right (eval_params)\n", "")
    status, _, err = answer("check", path, "--model")
    assert status == 2
    assert "--model: the file names no evaluators to try" in err

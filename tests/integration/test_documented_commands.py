"""Every command printed in README and docs runs as it stands, on a small version of its recipe."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from reid_core.cli import main

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]

SET_UP = ("python3 -m venv", "pip install", "python -m pytest", "python -m build")
"""Beginnings of commands that set up an environment; those have tests of their own."""


def commands(document):
    blocks = re.findall(r"```bash\n(.*?)```", document.read_text(encoding="utf-8"), re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [line.partition("  #")[0].strip() for line in lines if line.strip()]


def small(recipe):
    recipe["data"]["train"][0]["params"] |= {
        "train_identities": 6,
        "test_identities": 6,
        "cameras": 2,
        "distractors": 2,
        "junk": 2,
        "height": 32,
        "width": 16,
    }
    recipe["sampler"]["params"] = {"P": 3, "K": 2}
    recipe["augmentation"][0]["params"] = {"height": 32, "width": 16}
    recipe["train"]["epochs"] = 1
    return recipe


@pytest.fixture
def clone(tmp_path):
    for name in ("train.py", "evaluator.py", "tools", "params"):
        source = ROOT / name
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, tmp_path / name)
    path = tmp_path / "params" / "quickstart.json"
    path.write_text(json.dumps(small(json.loads(path.read_text()))))
    return tmp_path


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_documented_command_runs(document, clone):
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "OMP_NUM_THREADS": "1",
    }
    for command in commands(document):
        if command.startswith(SET_UP):
            continue
        done = subprocess.run(
            command, shell=True, cwd=clone, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{document.name}: {command}\n{done.stdout}\n{done.stderr}"


def test_the_readme_has_the_quick_start_and_the_test_command():
    set_up = [c for c in commands(ROOT / "README.md") if c.startswith("python3 -m venv")]
    assert len(set_up) == 2
    assert set_up[0].endswith(
        "train.py --operation start_train --config_path params/quickstart.json"
    )
    assert set_up[1].endswith("tools/check.py")


def test_the_messages_shown_in_the_readme_are_those_of_the_program(clone, monkeypatch, capsys):
    recipe = json.loads((ROOT / "params" / "quickstart.json").read_text())
    recipe["loss"][1]["params"] = {"marign": 0.3}
    recipe["sampler"]["params"]["K"] = 0
    recipe["backbone"]["name"] = "resnet81"
    monkeypatch.chdir(clone)
    Path("bad.json").write_text(json.dumps(recipe))
    assert main(["check", "bad.json"]) == 2
    shown = (ROOT / "README.md").read_text(encoding="utf-8").partition("$ reid check bad.json\n")[2]
    assert capsys.readouterr().err == shown.partition("```")[0]

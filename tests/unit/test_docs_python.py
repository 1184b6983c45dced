"""Every block of docs/python.md runs, and does what the page says."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import reid_core
from reid_core.cli import main
from reid_core.features.feature_files import save_features
from reid_core.testing.splits import features_of

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "python.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with everything that the page names: a finished run, pictures, features."""
    folder = tmp_path_factory.mktemp("python")
    people = {"train_identities": 6, "test_identities": 4, "cameras": 2, "height": 32, "width": 16}
    recipe = Path(__file__).resolve().parents[2] / "params" / "quickstart.json"
    params = json.loads(recipe.read_text(encoding="utf-8"))
    params["data"]["train"][0]["params"] = people
    params["sampler"]["params"] = {"P": 3, "K": 2}
    params["augmentation"][0]["params"] = {"height": 32, "width": 16}
    params["train"] = {"epochs": 1, "log_every": 1, "device": "cpu"}
    params["working_dir"] = str(folder / "runs")
    (folder / "params.json").write_text(json.dumps(params))
    arguments = ["--config_path", str(folder / "params.json"), "--sub_working_dir", "first"]
    assert main(["train", *arguments]) == 0
    for name in ("a.jpg", "b.jpg"):
        Image.new("RGB", (20, 50), (90, len(name), 0)).save(folder / name)
    for split in ("query", "gallery"):
        save_features(folder / f"{split}.npz", features_of(split))
    return folder


def test_the_blocks_run_one_after_the_other_and_give_what_they_say(place, monkeypatch, capsys):
    monkeypatch.chdir(place)
    names = {"reid_core": reid_core, "numpy": np, "torch": torch}
    for block in BLOCKS:
        exec(compile(block, "python.md", "exec"), names)
        if "frame" in block:
            assert names["vector"].shape == (1, names["model"].dim)
    assert names["vectors"].shape == (2, names["model"].dim)
    assert names["distances"].shape == (2, 3)
    assert names["ranked"].indices.tolist() == [[0, 2, 1], [1, 2, 0]]
    # Ranks 1 and 3 of two matches, rank 2 of one.
    assert names["ranked"].metrics["mAP"] == pytest.approx((5 / 6 + 1 / 2) / 2)
    assert names["losses"]
    assert names["run"].best_weights.is_file()
    assert names["scores"].primary == "mAP"
    assert names["output"].value.shape == ()
    assert names["status"] == 0
    assert "triplet" in capsys.readouterr().out


def test_the_example_of_the_readme_runs(place, monkeypatch):
    monkeypatch.chdir(place)
    readme = (Path(__file__).resolve().parents[2] / "README.md").read_text(encoding="utf-8")
    (example,) = [b for b in re.findall(r"```python\n(.*?)```", readme, re.S) if "load_model" in b]
    names = {}
    exec(compile(example, "README.md", "exec"), names)
    assert names["vectors"].shape == (2, names["model"].dim)
    assert names["loss"](torch.randn(4, 8), torch.tensor([0, 0, 1, 1])).value.shape == ()


def test_every_function_of_the_front_door_stands_on_the_page():
    offered = set(dir(reid_core)) - set(reid_core.__all__)
    functions = {name for name in offered if re.search(rf"reid_core\.{name}\(", TEXT)}
    assert functions == {
        *("build", "command", "distance_matrix", "evaluate"),
        *("load_features", "load_model", "load_run", "rank"),
    }

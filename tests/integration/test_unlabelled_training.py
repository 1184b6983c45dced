"""Training on images none of which has an identity, and its score on persons that have one."""

import csv
import importlib.util
import json
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reid_core import Component, ReidError, hookimpl, load_model
from reid_core.contracts import Callback
from reid_core.network.weights import read_weights
from reid_core.params.validation import check_run_params
from reid_core.runs.run import Run
from reid_core.runs.start_and_resume import resume_train, start_train
from tests.support.killed_runs import Killed

CLONE = Path(__file__).resolve().parents[2]
GROUPS, IMAGES, STEPS = 5, 6, 4
"""Persons that nobody has named, images of each, and steps of an epoch."""

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def cluster_contrast():
    file = CLONE / "examples" / "reid-cluster-contrast" / "reid_cluster_contrast.py"
    spec = importlib.util.spec_from_file_location("cluster_contrast_example", file)
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


class Idle:
    """A callback that names nobody."""

    @hookimpl
    def reid_callback(self):
        class Look(Callback):
            def before_epoch(self, context):
                assert (context.labels == -1).all()

        return [Component(name="idle", build=lambda params: Look(), summary="-")]


@pytest.fixture
def catalog(catalog_with, cluster_contrast):
    return catalog_with(cluster_contrast, Idle())


@pytest.fixture
def crops(tmp_path):
    """A dataset of noisy colours, one colour for each person, without identities or cameras."""
    folder, rows = tmp_path / "crops", []
    folder.mkdir()
    for group in range(GROUPS):
        colour = np.random.default_rng(group).integers(40, 216, 3)
        for i in range(IMAGES):
            noise = np.random.default_rng([group, i]).integers(-20, 20, (32, 16, 3))
            name = f"{group}-{i}.png"
            Image.fromarray((colour + noise).astype(np.uint8)).save(folder / name)
            rows.append((name, "", "train"))
    with open(folder / "crops.csv", "w", newline="") as file:
        csv.writer(file).writerows([("path", "pid", "split"), *rows])
    return {"name": "manifest", "alias": "crops", "params": {"file": str(folder / "crops.csv")}}


@pytest.fixture
def raw(tiny_params, crops):
    """The params of a training on the crops that is scored on drawn people."""
    (people,) = tiny_params["data"]["train"]
    found = {"name": "cluster_labels", "params": {"rho": 0.12, "min_samples": 2}}
    return {
        **tiny_params,
        "data": {"train": [crops], "targets": {"people": people}},
        "backbone": {"name": "tiny"},
        "callback": [found],
        "loss": [{"name": "cluster_memory"}],
        "sampler": {"name": "class_balanced", "params": {"P": 2, "K": 3}},
        "train": {"epochs": 3, "steps_per_epoch": STEPS, "device": "cpu", "log_every": 1},
        "logger": [],
    }


def lines_of(run, kind):
    lines = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    return [line for line in lines if line["kind"] == kind]


def train(raw, catalog, name="run"):
    return start_train(check_run_params(raw, catalog, "params.json"), catalog, name)


def test_images_without_identity_train_a_network_that_is_scored_on_others(raw, catalog, capsys):
    run = train(raw, catalog)
    assert "data: 30 images, 0 identities, 0 cameras; 4 steps an epoch" in capsys.readouterr().out
    clusters = [line["values"]["clusters"] for line in lines_of(run, "callback")]
    assert len(clusters) == 3
    assert all(count >= 2 for count in clusters)
    assert len(lines_of(run, "train")) == 3 * STEPS
    (scored,) = lines_of(run, "evaluation")
    assert scored["target"] == "people"
    assert 0 < scored["metrics"]["mAP"] <= 1

    # Its identities are made up, and the weights say so.
    weights = read_weights(run.last_weights)
    assert weights.classes == tuple(("pseudo", str(i)) for i in range(int(clusters[-1])))
    frame = np.zeros((64, 32, 3), dtype=np.uint8)
    assert load_model(run.path, device="cpu", catalog=catalog).embed(frame).shape == (1, 8)


@pytest.mark.parametrize("stop", [2, STEPS + 1])
def test_it_is_resumed_to_the_same_bytes(raw, catalog, tmp_path, monkeypatch, stop):
    raw["train"]["checkpoint_every_steps"] = 1
    params = check_run_params(raw, catalog, "params.json")
    whole = start_train(params, catalog, "whole")
    real = Run._after_step
    monkeypatch.setattr(Run, "_after_step", after_step_until(stop, real))
    with suppress(Killed):
        start_train(params, catalog, "killed")
    monkeypatch.setattr(Run, "_after_step", real)
    resumed = resume_train(tmp_path / "runs" / "killed", catalog, params)
    assert resumed.last_weights.read_bytes() == whole.last_weights.read_bytes()
    assert resumed.best_weights.read_bytes() == whole.best_weights.read_bytes()


def after_step_until(stop, real):
    def after_step(run):
        real(run)
        if run.state.step == stop:
            raise Killed

    return after_step


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"callback": [], "loss": [{"name": "softmax"}]},
            r"no identity to train on: none of the 30 training images has one; take data with",
        ),
        (
            {"train": {"epochs": 1, "device": "cpu"}},
            r"train\.steps_per_epoch: needed where a callback names the identities",
        ),
        (
            {"callback": [{"name": "idle"}]},
            r"callback: no training image has an identity, and no callback has named any before "
            r"the first epoch; use one that calls relabel",
        ),
    ],
)
def test_what_unlabelled_images_need_is_said(raw, catalog, changes, message):
    with pytest.raises(ReidError, match=message):
        train({**raw, **changes}, catalog)


@pytest.mark.parametrize("changes", ["no callback", "no steps"])
def test_what_is_missing_leaves_no_run_behind(raw, catalog, tmp_path, changes):
    if changes == "no callback":
        raw["callback"] = []
    else:
        del raw["train"]["steps_per_epoch"]
    with pytest.raises(ReidError):
        train(raw, catalog)
    assert not (tmp_path / "runs" / "run").exists()

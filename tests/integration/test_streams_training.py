"""Unlabelled and other labelled images in every step, through `data.streams`, in real runs.

The objective is a small FixMatch (arXiv:2001.07685) on two views, beside pairs of a second labelled
dataset with identities of its own, as domain generalisation over several markets has them.
"""

import csv
import re
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F

from reid_core import ObjectiveComponent, ReidError, hookimpl
from reid_core.contracts import Term
from reid_core.params.validation import check_run_params
from reid_core.runs.run import Run
from reid_core.runs.start_and_resume import resume_train, start_train
from tests.support.killed_runs import Killed, lines_of

STEPS, EPOCHS = 5, 3
FRAMES, OTHERS = 22, 12
"""Images without identity, and those of four other persons."""

pytestmark = pytest.mark.usefixtures("one_thread")


class Semi(nn.Module):
    """The first view's confident guess is the other view's label; others are told apart in pairs.

    It has weights and a buffer of its own, which a resumed run must find again.
    """

    def __init__(self, name, dim, seen):
        super().__init__()
        self.name, self.seen = name, seen
        self.project = nn.Linear(dim, 4, bias=False)
        self.register_buffer("confidence", torch.zeros(()))

    def forward(self, step):
        self.seen.append(step.streams)
        weak, strong = (step.model(view.images) for view in step.streams["frames"])
        guess = weak.logits["global"].detach().softmax(dim=1).max(dim=1)
        self.confidence.lerp_(guess.values.mean(), 0.1)
        trusted = (guess.values >= self.confidence).float()
        losses = F.cross_entropy(strong.logits["global"], guess.indices, reduction="none")
        value = (losses * trusted).sum() / trusted.sum().clamp(min=1)

        (other,) = step.streams["others"]
        vectors = F.normalize(self.project(step.model(other.images).embedding), dim=1)
        same = (other.pids[:, None] == other.pids[None, :]).float()
        pairs = F.mse_loss(vectors @ vectors.T, same)
        return {
            f"{self.name}_frames": Term(value, 0.5, {"trusted": trusted.mean()}),
            f"{self.name}_others": Term(pairs),
        }


class Plugin:
    """Offers the objective, and keeps the streams of every step."""

    def __init__(self):
        self.seen = []

    @hookimpl
    def reid_objective(self):
        def build(params, *, name, model):
            return Semi(name, model.embedding_dim, self.seen)

        return [
            ObjectiveComponent(
                name="semi",
                build=build,
                summary="-",
                needs=("classifier",),
                streams=("frames", "others"),
            ),
        ]


def draw(folder, rows):
    """Write noise for each (name, pid, split), and the CSV file that lists it."""
    folder.mkdir()
    for i, (name, _, _) in enumerate(rows):
        pixels = np.random.default_rng([i, len(rows)]).integers(0, 256, (32, 16, 3), np.uint8)
        Image.fromarray(pixels).save(folder / name)
    with open(folder / "images.csv", "w", newline="") as file:
        csv.writer(file).writerows([("path", "pid", "split"), *rows])
    return {"name": "manifest", "alias": folder.name, "params": {"file": f"{folder}/images.csv"}}


@pytest.fixture
def plugin():
    return Plugin()


@pytest.fixture
def catalog(catalog_with, plugin):
    return catalog_with(plugin)


@pytest.fixture
def params(tiny_params, catalog, tmp_path):
    """A function: the params of a training with both streams; keywords go into ``train``."""
    frames = draw(tmp_path / "frames", [(f"{i}.png", "", "extra") for i in range(FRAMES)])
    others = [(f"{i}.png", f"other{i % 4}", "train") for i in range(OTHERS)]
    moving = [
        {"name": "pad_crop", "params": {"padding": 8}},
        {"name": "resize", "params": {"height": 32, "width": 16}},
        {"name": "normalize"},
        {"name": "flip"},
    ]
    streams = {
        "frames": {
            "sources": [frames],
            "split": "extra",
            "sampler": {"name": "random", "params": {"batch_size": 4}},
            "augmentation": moving,
            "views": 2,
        },
        "others": {
            "sources": [draw(tmp_path / "others", others)],
            "sampler": {"name": "class_balanced", "params": {"P": 2, "K": 2}},
        },
    }

    def make(workers=0, **train):
        raw = {
            **tiny_params,
            "backbone": {"name": "tiny"},
            "objective": [{"name": "supervised"}, {"name": "semi"}],
            "train": {"device": "cpu", "epochs": EPOCHS, "steps_per_epoch": STEPS, "log_every": 1}
            | train,
        }
        raw["data"] = {**raw["data"], "streams": streams, "workers": workers}
        return check_run_params(raw, catalog, "params.json")

    return make


def test_every_step_has_the_views_of_unlabelled_images_and_the_labels_of_others(
    params, catalog, plugin, capsys
):
    run = start_train(params(), catalog, "run")
    assert len(plugin.seen) == EPOCHS * STEPS
    for streams in plugin.seen:
        assert set(streams) == {"frames", "others"}
        one, two = streams["frames"]
        assert torch.equal(one.index, two.index)
        assert not any(torch.equal(a, b) for a, b in zip(one.images, two.images, strict=True))
        assert one.pids.tolist() == two.pids.tolist() == [-1] * 4
        (other,) = streams["others"]
        # Persons of the second dataset count from 0, in the order of their names.
        assert other.pids.tolist() == [i % 4 for i in other.index.tolist()]
    # Fifteen batches of four of 22 frames: three whole epochs of five batches each.
    for epoch in range(EPOCHS):
        drawn = [s["frames"][0].index for s in plugin.seen[epoch * STEPS : (epoch + 1) * STEPS]]
        assert len(set(torch.cat(drawn).tolist())) == 4 * STEPS
    first = lines_of(run, "train")[0]
    assert set(first["losses"]) == {"softmax", "triplet", "semi_frames", "semi_others"}
    assert 0 <= first["monitors"]["semi_frames.trusted"] <= 1
    out = capsys.readouterr().out
    assert "stream frames: 22 images, 0 identities; its epoch has 5 batches" in out
    assert "stream others: 12 images, 4 identities; its epoch has " in out


def test_the_objective_in_the_guide_trains(params, catalog_with):
    guide = Path(__file__).resolve().parents[2] / "docs" / "writing_plugins.md"
    blocks = re.findall(r"```python\n(.*?)```", guide.read_text(encoding="utf-8"), re.DOTALL)
    (example,) = [block for block in blocks if "step.streams" in block]
    names = {}
    exec(compile(example, str(guide), "exec"), names)

    class Guide:
        @hookimpl
        def reid_objective(self):
            return [
                ObjectiveComponent(
                    name="agree", build=names["build"], summary="-", streams=("frames",)
                )
            ]

    catalog = catalog_with(Guide())
    raw = params(epochs=1).model_dump(mode="json", exclude={"plugins"})
    raw["objective"] = [{"name": "supervised"}, {"name": "agree"}]
    del raw["data"]["streams"]["others"]
    run = start_train(check_run_params(raw, catalog, "params.json"), catalog, "run")
    values = [line["losses"]["agree"] for line in lines_of(run, "train")]
    assert len(values) == STEPS
    assert all(0 < value < 2 for value in values)


@pytest.mark.parametrize(("stop", "every"), [(3, 2), (7, 0), (8, 3), (14, 4)])
def test_a_run_that_was_killed_within_an_epoch_ends_with_the_same_bytes(
    params, catalog, plugin, tmp_path, monkeypatch, stop, every
):
    given = params(checkpoint_every_steps=every)
    whole = start_train(given, catalog, "whole")
    seen_by_whole, real, left = list(plugin.seen), Run._after_step, [stop]
    assert stop % STEPS, "it must be killed within an epoch"

    def after_step(run):
        if left and run.state.step == left[0]:
            left.clear()
            raise Killed
        real(run)

    monkeypatch.setattr(Run, "_after_step", after_step)
    with suppress(Killed):
        start_train(given, catalog, "killed")
    assert not left
    plugin.seen.clear()
    resumed = resume_train(tmp_path / "runs" / "killed", catalog, given)
    again = seen_by_whole[-len(plugin.seen) :]
    assert 0 < len(plugin.seen) < EPOCHS * STEPS
    for one, other in zip(plugin.seen, again, strict=True):
        assert all(
            torch.equal(a.images, b.images) for n in one for a, b in zip(one[n], other[n], strict=1)
        )
    assert lines_of(resumed) == lines_of(whole)
    assert resumed.last_weights.read_bytes() == whole.last_weights.read_bytes()
    assert resumed.best_weights.read_bytes() == whole.best_weights.read_bytes()
    states = [torch.load(r.checkpoint, weights_only=True)["module"] for r in (resumed, whole)]
    own = [name for name in states[0] if name.endswith(("project.weight", "confidence"))]
    assert len(own) == 2
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_loader_processes_change_nothing(params, catalog):
    alone, helped = params(epochs=1), params(epochs=1, workers=1)
    runs = [start_train(given, catalog, str(i)) for i, given in enumerate((alone, helped))]
    assert lines_of(runs[0], "train") == lines_of(runs[1], "train")


def test_data_of_a_stream_that_have_changed_are_refused_by_a_resumed_run(
    params, catalog, tmp_path, monkeypatch
):
    given = params()
    real = Run._after_step

    def after_step(run):
        if run.state.step == STEPS + 2:
            raise Killed
        real(run)

    monkeypatch.setattr(Run, "_after_step", after_step)
    with suppress(Killed):
        start_train(given, catalog, "run")
    Image.new("RGB", (16, 32)).save(tmp_path / "frames" / "3.png")
    with pytest.raises(ReidError, match="streams/frames/frames"):
        resume_train(tmp_path / "runs" / "run", catalog, given)

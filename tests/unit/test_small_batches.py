"""Batches of one image: refused at the start and by the check, with the key to change."""

import json

import pytest

from reid_core.cli import main

pytestmark = pytest.mark.usefixtures("one_thread")


def run(params, tmp_path, capsys, *words):
    path = tmp_path / "params.json"
    path.write_text(json.dumps(params))
    status = main([word if word != "PARAMS" else str(path) for word in words])
    return status, capsys.readouterr()


TRAIN = ("train", "--operation", "start_train", "--config_path", "PARAMS")

CANNOT = (
    "of one image, which this network cannot train on: the batch norm of head 'global' of "
    "reid-core 0.1.0 needs more than one value. Let every batch have two images or more "
    "(sampler.params.batch_size, sampler.params.drop_last)"
)


@pytest.fixture
def with_random(tiny_params):
    def make(**sampler):
        tiny_params["sampler"] = {"name": "random", "params": sampler}
        tiny_params["loss"] = [{"name": "softmax"}]
        return tiny_params

    return make


def images_of(params, tmp_path, capsys):
    """Return how many training images the data have."""
    status, said = run(params, tmp_path, capsys, "pack", "PARAMS")
    assert status == 0, said
    (index,) = (tmp_path / "runs" / "stores").glob("*/index.npz")
    import numpy as np

    return int((np.load(index)["split"] == "train").sum())


@pytest.mark.parametrize("words", [("check", "PARAMS", "--model"), TRAIN], ids=["check", "train"])
def test_a_batch_size_of_one_is_refused_before_the_data(with_random, tmp_path, capsys, words):
    status, said = run(with_random(batch_size=1), tmp_path, capsys, *words)
    assert status == 2
    assert said.err == f"error: sampler: 'random' makes a batch {CANNOT}\n"
    assert not (tmp_path / "runs").exists()


def test_a_last_batch_of_one_is_refused_at_the_start(with_random, tmp_path, capsys):
    params = with_random(batch_size=2)
    size = images_of(params, tmp_path, capsys) - 1
    params = with_random(batch_size=size, drop_last=False)
    status, said = run(params, tmp_path, capsys, *TRAIN)
    assert status == 2
    assert said.err == f"error: sampler: 'random' makes batch 2 of the 2 of an epoch {CANNOT}\n"
    assert [p.name for p in (tmp_path / "runs").iterdir()] == ["stores"]
    with_random(batch_size=size, drop_last=True)
    params["train"] |= {"epochs": 1}
    params["evaluation"] = []
    assert run(params, tmp_path, capsys, *TRAIN)[0] == 0


def test_a_sampler_that_made_up_images_do_not_suit_is_not_refused(with_random, tmp_path, capsys):
    status, _ = run(with_random(batch_size=2000), tmp_path, capsys, "check", "PARAMS", "--model")
    assert status == 0

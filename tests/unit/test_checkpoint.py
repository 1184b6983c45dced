"""The training state on disk: it comes back bit for bit, and it never runs code."""

import errno
import io
import os
import pickle
import random
from pathlib import Path

import numpy as np
import pytest
import torch

from reid_core import ReidError
from reid_core.data.training_images import TrainingImages
from reid_core.params.validation import check_run_params
from reid_core.runs.checkpoint import FORMAT, read_checkpoint, restore, save_checkpoint
from reid_core.storage.dataset_stores import Stores
from reid_core.training.assembly import build_training
from reid_core.training.loop import train_one_epoch


@pytest.fixture
def make(tiny_catalog, tiny_params):
    """A function that builds a training with other weights at every call."""

    def training(**changes):
        raw = {**tiny_params, "backbone": {"name": "tiny"}, **changes}
        params = check_run_params(raw, tiny_catalog, "test")
        stores = Stores(Path(params.working_dir))
        images = TrainingImages.of([(e.label, stores.open(e)) for e in params.data.train])
        return build_training(params, tiny_catalog, images, None, torch.device("cpu"))

    return training


def draws():
    """Draw from every global generator."""
    return torch.rand(3).tolist(), np.random.rand(3).tolist(), random.random(), random.gauss(0, 1)


def test_the_state_comes_back_bit_for_bit(make, tmp_path):
    path = tmp_path / "last.pt"
    one = make()
    train_one_epoch(one)
    one.state.history.append((1, 0.25))
    one.state.best, one.state.accuracy = 0.25, 0.1 + 0.2
    np.random.standard_normal()  # leaves a second number behind, as gauss does
    random.gauss(0, 1)
    save_checkpoint(path, one, log_bytes=123, callbacks={})
    after = draws()
    other = make()
    content = read_checkpoint(path)
    restore(content, other, path)
    assert draws() == after
    assert content["log_bytes"] == 123
    weights = one.module.state_dict()
    assert weights.keys() == other.module.state_dict().keys()
    assert all(torch.equal(weights[n], t) for n, t in other.module.state_dict().items())
    old, new = (t.optimizer.state_dict() for t in (one, other))
    assert old["param_groups"] == new["param_groups"]
    assert all(
        torch.equal(old["state"][i][name], new["state"][i][name])
        for i in old["state"]
        for name in old["state"][i]
    )
    assert torch.equal(one.state.accuracy_mean, other.state.accuracy_mean)
    for name in ("epoch", "step", "position", "accuracy", "history", "best"):
        assert getattr(one.state, name) == getattr(other.state, name)
    for training in (one, other):
        train_one_epoch(training)
    weights = one.module.state_dict()
    assert all(torch.equal(weights[n], t) for n, t in other.module.state_dict().items())


def test_a_full_disk_leaves_the_old_checkpoint(make, tmp_path, monkeypatch):
    path = tmp_path / "last.pt"
    training = make()
    save_checkpoint(path, training, 0, {})
    before = path.read_bytes()

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for name in ("write_bytes", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(Path, name, full)
            with pytest.raises(
                ReidError, match=r"last\.pt: cannot be written: the disk is full; w"
            ):
                save_checkpoint(path, training, 0, {})
        assert path.read_bytes() == before
        assert [p.name for p in tmp_path.glob("*.pt*")] == ["last.pt"]
        assert list(tmp_path.glob(".*")) == []


def test_a_read_only_disk_is_named(make, tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    training = make()
    monkeypatch.setattr(Path, "write_bytes", refuse)
    with pytest.raises(ReidError, match="cannot be written: Read-only file system"):
        save_checkpoint(tmp_path / "last.pt", training, 0, {})


class Malicious:
    """Runs a command when it is unpickled."""

    def __init__(self, witness):
        self.witness = witness

    def __reduce__(self):
        return os.system, (f"touch {self.witness}",)


@pytest.mark.parametrize("way", ["torch", "pickle"])
def test_code_in_a_checkpoint_does_not_run(tmp_path, way):
    witness, path = tmp_path / "witness", tmp_path / "last.pt"
    evil = {"format": FORMAT, "module": Malicious(witness)}
    if way == "torch":
        torch.save(evil, path)
        expected = r"refused: it holds pickled objects \(posix\.system\), which could run code wh"
    else:
        path.write_bytes(pickle.dumps(evil))
        expected = "not a readable checkpoint: it is truncated or of another kind"
    with pytest.raises(ReidError, match=expected):
        read_checkpoint(path)
    assert not witness.exists()
    pickle.loads(pickle.dumps(Malicious(witness)))
    assert witness.exists(), "the bait itself works"


def checkpoint_bytes(**content):
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, "tensor": torch.arange(5000.0), **content}, buffer)
    return buffer.getvalue()


@pytest.mark.parametrize("size", [0, 1, 100, 10_000])
def test_a_truncated_checkpoint_is_refused(tmp_path, size):
    path = tmp_path / "last.pt"
    path.write_bytes(checkpoint_bytes()[:size])
    with pytest.raises(ReidError, match=r"last\.pt: not a readable checkpoint: it is truncated or"):
        read_checkpoint(path)


def test_a_changed_byte_is_found(tmp_path):
    path, data = tmp_path / "last.pt", bytearray(checkpoint_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(ReidError, match=r"not a readable checkpoint: '.*data/0' in it is damaged"):
        read_checkpoint(path)


def test_a_missing_checkpoint_is_an_error(tmp_path):
    with pytest.raises(ReidError, match=r"not a readable checkpoint: .*No such file or direc"):
        read_checkpoint(tmp_path / "absent.pt")


@pytest.mark.parametrize("content", [{"format": "reid-core checkpoint 99"}, {"x": 1}, [1, 2]])
def test_files_of_another_kind_or_version_are_refused(tmp_path, content):
    path = tmp_path / "last.pt"
    torch.save(content, path)
    with pytest.raises(
        ReidError,
        match=r"not a checkpoint of this version of reid-core \(expected 'reid-core checkpoint 2'",
    ):
        read_checkpoint(path)


def test_a_checkpoint_of_another_model_is_refused(make, tmp_path):
    path = tmp_path / "last.pt"
    save_checkpoint(path, make(), 0, {})
    other = make(head=[{"name": "global", "params": {"embedding_dim": 3}}])
    with pytest.raises(
        ReidError, match=r"last\.pt: does not fit the model of these params: .*head"
    ):
        restore(read_checkpoint(path), other, path)


def test_a_checkpoint_of_another_optimizer_is_refused(make, tmp_path):
    path = tmp_path / "last.pt"
    save_checkpoint(path, make(), 0, {})
    groups = [{"match": "*.bias", "weight_decay": 0.0}]
    other = make(optimizer={"name": "adam", "lr": 0.1, "groups": groups})
    with pytest.raises(ReidError, match=r"does not fit the model of these params: loaded state di"):
        restore(read_checkpoint(path), other, path)


def test_a_checkpoint_of_other_data_is_refused(make, tmp_path):
    path = tmp_path / "last.pt"
    save_checkpoint(path, make(), 0, {})
    other = make(sampler={"name": "class_balanced", "params": {"P": 2, "K": 2}})
    with pytest.raises(
        ReidError, match=r"an epoch had 4 steps, now it has 6: the data or the samp"
    ):
        restore(read_checkpoint(path), other, path)

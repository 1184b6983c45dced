"""The training state on disk: it comes back bit for bit, and it never runs code."""

import errno
import io
import os
import pickle
import random
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

import checkpoints
from damage import cuts, flips, outcomes
from reid_core import ReidError
from reid_core.data.training_images import TrainingImages
from reid_core.params.validation import check_run_params
from reid_core.runs.checkpoint import FORMAT, read_checkpoint, restore, save_checkpoint
from reid_core.runs.checkpoint_form import FORM
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
        match=r"not a checkpoint of this version of reid-core \(expected 'reid-core checkpoint 3'",
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


# ---- form -------------------------------------------------------------------------------

MISSING = object()


def changed(content, key, value):
    """Return a checkpoint's content with another value for a key such as ``state.step``."""
    first, _, rest = key.partition(".")
    if rest:
        return {**content, first: changed(content[first], rest, value)}
    if value is MISSING:
        return {name: kept for name, kept in content.items() if name != first}
    return {**content, first: value}


def keys_of(form, place=""):
    for name, inner in form.items():
        yield f"{place}{name}"
        if isinstance(inner, dict):
            yield from keys_of(inner, f"{place}{name}.")


@pytest.mark.parametrize("key", list(keys_of(FORM)))
def test_a_key_that_is_missing_or_of_another_type_is_named(tmp_path, key):
    path = tmp_path / "last.pt"
    torch.save(checkpoints.content(), path)
    assert read_checkpoint(path)["log_bytes"] == 0
    for value, text in ((MISSING, "is missing"), ({1, 2}, "is a set")):
        torch.save(changed(checkpoints.content(), key, value), path)
        with pytest.raises(ReidError, match=rf"last\.pt: not a usable checkpoint: '{key}' {text}"):
            read_checkpoint(path)


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("log_bytes", -1, "'log_bytes' is -1"),
        ("state.step", True, "'state.step' is a bool"),
        ("state.history", [(1, "x")], r"'state.history' holds \(1, 'x'\), which is no epoch"),
        ("state.history", [3], "'state.history' holds 3"),
    ],
)
def test_a_value_that_cannot_be_is_named(tmp_path, key, value, text):
    path = tmp_path / "last.pt"
    torch.save(changed(checkpoints.content(), key, value), path)
    with pytest.raises(ReidError, match=text):
        read_checkpoint(path)


def first_weight(content):
    return next(iter(content["module"]))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (
            lambda c: c["module"].update({first_weight(c): torch.zeros(1, dtype=torch.int64)}),
            r"'module\.\S+' is of type torch\.int64, not torch\.float32",
        ),
        (lambda c: c["module"].update({first_weight(c): 3}), r"'module\.\S+' is of type int, not"),
        (
            lambda c: c["optimizer"]["state"][0].update(exp_avg=torch.zeros(1, 2)),
            r"'optimizer\.state\.0\.exp_avg' has the shape \(1, 2\), not",
        ),
        (lambda c: c.update(labels=torch.zeros(2)), r"'labels' is torch\.float32 of shape \(2,\)"),
        (lambda c: c["rng"].update(torch=torch.zeros(3)), "'rng' is no state of the random gener"),
        (lambda c: c["rng"].update(python_rest=[]), "'rng' is no state of the random generators"),
        (lambda c: c["rng"].update(numpy_rest=["x"]), "'rng' is no state of the random generato"),
    ],
)
def test_a_state_that_no_part_can_take_is_named(make, tmp_path, change, text):
    path = tmp_path / "last.pt"
    training = make()
    train_one_epoch(training)
    save_checkpoint(path, training, 0, {})
    content = read_checkpoint(path)
    change(content)
    with pytest.raises(ReidError, match=rf"last\.pt: not a usable checkpoint: {text}"):
        restore(content, make(), path)


# ---- damage -----------------------------------------------------------------------------


def comparable(value):
    """Return what a checkpoint holds as what can be compared with ``==``."""
    if isinstance(value, dict):
        return {key: comparable(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [comparable(inner) for inner in value]
    return (str(value.dtype), value.tolist()) if isinstance(value, torch.Tensor) else value


def test_one_wrong_bit_or_a_cut_is_an_error_or_changes_nothing(tmp_path):
    path = tmp_path / "last.pt"
    torch.save(checkpoints.content(), path)
    data, expected = path.read_bytes(), comparable(read_checkpoint(path))
    found = outcomes(
        path,
        [*flips(data, 400), *cuts(data, 397)],
        lambda p: comparable(read_checkpoint(p)),
        expected,
    )
    assert found["changed"] == 0
    assert found["error"] > 100


def test_a_compressed_or_doubled_member_is_refused(tmp_path):
    path = tmp_path / "last.pt"
    for kind, text in ((zipfile.ZIP_DEFLATED, "compressed"), (zipfile.ZIP_STORED, "there twice")):
        with zipfile.ZipFile(path, "w", kind) as archive:
            archive.writestr("last/data.pkl", b"x" * 99)
            if kind == zipfile.ZIP_STORED:
                with pytest.warns(UserWarning, match="Duplicate name"):
                    archive.writestr("last/data.pkl", b"y")
        with pytest.raises(ReidError, match=f"not a readable checkpoint: a member of it is {text}"):
            read_checkpoint(path)

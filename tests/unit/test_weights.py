"""One file that can be used alone: it rebuilds the model, repeats its bytes, runs no code."""

import errno
import json
import os
import pickle
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from reid_core import ReidError
from reid_core.datasets import Stores
from reid_core.params import check_run_params
from reid_core.runner import start_train
from reid_core.weights import (
    KEY,
    WeightsFile,
    load_model,
    load_snapshot,
    read_weights,
    save_weights,
)

CLASSES = (("data", "a"), ("data", "b"), ("data", "c"))


@pytest.fixture
def raw(tiny_params):
    return {**tiny_params, "backbone": {"name": "tiny"}}


@pytest.fixture
def model(tiny_catalog, raw):
    """A model with all that a training would have given it, and its metadata."""
    from reid_core.assembly import build_module

    params = check_run_params(raw, tiny_catalog, "test")
    module, _ = build_module(params, tiny_catalog, num_pids=len(CLASSES))
    module.model.train()(torch.randn(8, 3, 32, 16))
    return module.model.eval()


@pytest.fixture
def metadata(tiny_catalog, raw):
    dump = check_run_params(raw, tiny_catalog, "test").model_dump(mode="json")
    return {"params": dump, "classes": [list(c) for c in CLASSES]}


@pytest.fixture
def saved(tmp_path, model, metadata):
    path = tmp_path / "best.safetensors"
    save_weights(path, model, metadata)
    return path


# ---- alone ------------------------------------------------------------------------------


def test_the_file_alone_rebuilds_the_model_to_the_same_outputs(saved, model, tiny_catalog):
    weights = read_weights(saved)
    again, params = load_model(weights, tiny_catalog)
    assert weights.classes == CLASSES
    assert params.augmentation[0].params["height"] == 32
    assert not again.training
    images = torch.randn(4, 3, 32, 16)
    one, two = model(images), again(images)
    assert torch.equal(one.embedding, two.embedding)
    assert torch.equal(one.feature, two.feature)
    assert torch.equal(one.logits["global"], two.logits["global"])
    assert not any(t.is_meta for t in again.state_dict().values())


def test_its_names_are_those_of_the_parts(saved):
    names = read_weights(saved).tensors
    assert {name.split(".")[0] for name in names} == {"backbone", "heads", "classifier"}


def test_its_bytes_repeat(saved, model, metadata, tmp_path):
    again = tmp_path / "elsewhere" / "again.safetensors"
    reordered = dict(reversed(metadata.items()))
    save_weights(again, model, reordered)
    assert again.read_bytes() == saved.read_bytes()


def test_a_training_leaves_no_path_and_no_time_in_its_weights(tiny_catalog, raw, tmp_path):
    contents = []
    for place in ("one", "another"):
        params = {**raw, "working_dir": str(tmp_path / place)}
        run = start_train(check_run_params(params, tiny_catalog, "test"), tiny_catalog, place)
        contents.append(run.last_weights.read_bytes())
    assert contents[0] == contents[1]
    for trace in (str(tmp_path), str(Path.home()), "working_dir", "runs"):
        assert trace.encode() not in contents[0]
    metadata = read_weights(run.last_weights).metadata
    assert metadata["preprocessing"]["height"] == 32
    assert [o["name"] for o in metadata["preprocessing"]["operations"]] == ["resize", "normalize"]
    assert metadata["embedding"]["dim"] == 8
    assert len(metadata["classes"]) == 6
    assert set(metadata["data"]) == {"synthetic_market"}
    store = Stores(tiny_catalog, tmp_path / "one").open(
        check_run_params(raw, tiny_catalog, "test").data.train[0]
    )
    assert metadata["data"]["synthetic_market"] == store.manifest["content_hash"]


def test_a_full_disk_leaves_the_old_file(saved, model, metadata, monkeypatch):
    before = saved.read_bytes()

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(ReidError, match=r"best\.safetensors: cannot be written: the disk is full"):
        save_weights(saved, model, metadata)
    assert saved.read_bytes() == before
    assert list(saved.parent.glob(".*")) == []


# ---- what is refused --------------------------------------------------------------------


class Malicious:
    def __init__(self, witness):
        self.witness = witness

    def __reduce__(self):
        return os.system, (f"touch {self.witness}",)


@pytest.mark.parametrize("way", [pickle.dump, torch.save])
def test_code_in_a_file_does_not_run(tmp_path, way):
    witness, path = tmp_path / "witness", tmp_path / "best.safetensors"
    with path.open("wb") as file:
        way(Malicious(witness), file)
    with pytest.raises(ReidError, match=r"not a weights file \(safetensors\): .*; training writes"):
        read_weights(path)
    assert not witness.exists()


@pytest.mark.parametrize("size", [0, 7, 100, -1])
def test_a_truncated_file_is_refused(saved, size):
    saved.write_bytes(saved.read_bytes()[:size])
    with pytest.raises(ReidError, match=r"not a weights file \(safetensors\)"):
        read_weights(saved)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ReidError, match=r"absent\.safetensors: no such weights file"):
        read_weights(tmp_path / "absent.safetensors")


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}, {KEY: "{"}])
def test_safetensors_of_others_are_refused(tmp_path, metadata):
    path = tmp_path / "other.safetensors"
    save_file({"weight": torch.zeros(2)}, path, metadata)
    with pytest.raises(ReidError, match="a safetensors file, but not one of reid-core"):
        read_weights(path)


def test_another_format_is_refused(tmp_path):
    path = tmp_path / "other.safetensors"
    save_file({"weight": torch.zeros(2)}, path, {KEY: json.dumps({"format": 99})})
    with pytest.raises(ReidError, match="weights of format 99; this version reads 1"):
        read_weights(path)


def test_tensors_that_do_not_fit_the_params_are_refused(saved, tiny_catalog):
    weights = read_weights(saved)
    tensors = {n: t for n, t in weights.tensors.items() if n != "backbone.conv.weight"}
    with pytest.raises(
        ReidError, match=r"the tensors do not fit the model: .*backbone\.conv\.weig"
    ):
        load_model(replace(weights, tensors=tensors), tiny_catalog)


def test_a_component_that_is_not_installed_is_named(saved, catalog):
    with pytest.raises(
        ReidError, match=r"best\.safetensors: backbone\.name: unknown backbone 'tin"
    ):
        load_model(read_weights(saved), catalog)


# ---- as a start -------------------------------------------------------------------------


def changed(model):
    """Return the model with other weights."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1)
    return model


def test_a_snapshot_brings_the_classifier_only_with_equal_classes(saved, model):
    weights = read_weights(saved)
    lines = load_snapshot(weights, changed(model), CLASSES)
    assert lines == [f"{saved}: loaded {len(weights.tensors)} tensors"]
    assert all(torch.equal(t, weights.tensors[n]) for n, t in model.state_dict().items())


@pytest.mark.parametrize("classes", [CLASSES[::-1], CLASSES[:2], (("x", "a"), *CLASSES[1:])])
def test_a_snapshot_of_other_people_leaves_the_classifier_out_and_says_so(saved, model, classes):
    weights = read_weights(saved)
    before = changed(model).classifier["global"].weight.clone()
    lines = load_snapshot(weights, model, classes)
    assert lines == [
        f"{saved}: loaded {len(weights.tensors) - 1} tensors",
        "  newly initialised: classifier.global.weight",
        f"  classifiers left out: the file knows 3 identities, this training {len(classes)}, and "
        "the lists differ",
    ]
    assert torch.equal(model.classifier["global"].weight, before)
    assert torch.equal(model.backbone.conv.weight, weights.tensors["backbone.conv.weight"])


def test_a_snapshot_of_other_shapes_is_refused(saved, model):
    weights = read_weights(saved)
    tensors = {**weights.tensors, "backbone.conv.weight": torch.zeros(9, 3, 16, 16)}
    with pytest.raises(
        ReidError,
        match=r"1 tensors differ in shape, e\.g\. backbone\.conv\.weight: the file has "
        r"\(9, 3, 16, 16\), the model \(8, 3, 16, 16\); use the same backbone and head params",
    ):
        load_snapshot(replace(weights, tensors=tensors), model, CLASSES)


def test_a_snapshot_of_nothing_that_fits_is_refused(model):
    weights = WeightsFile(Path("other"), {"x": torch.zeros(1)}, {"classes": []})
    with pytest.raises(ReidError, match="other: no tensor of the file fits this model"):
        load_snapshot(weights, model, CLASSES)

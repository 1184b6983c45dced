"""One file that can be used alone: it rebuilds the model, repeats its bytes, runs no code."""

import errno
import json
import os
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import Field
from safetensors.torch import save_file
from torch import nn

from damage import flips, outcomes
from reid_core import (
    BackboneComponent,
    Component,
    LossComponent,
    Params,
    PathText,
    ReidError,
    hookimpl,
)
from reid_core.contracts import Branch, BranchSpec, FeatureMap, HeadOutput, LossOutput
from reid_core.data.transforms import Pipeline
from reid_core.image_formats import DECODER
from reid_core.network.snapshot import load_snapshot
from reid_core.network.weights import (
    KEY,
    load_model,
    read_weights,
    save_weights,
    weights_metadata,
)
from reid_core.params.validation import check_run_params
from reid_core.runs.start_and_resume import start_train
from reid_core.storage.dataset_stores import Stores
from reid_core.training.build_module import ModuleBuilder

CLASSES = (("data", "a"), ("data", "b"), ("data", "c"))


@pytest.fixture
def raw(tiny_params):
    return {**tiny_params, "backbone": {"name": "tiny"}}


@pytest.fixture
def model(tiny_catalog, raw):
    """A model with all that a training would have given it, and its metadata."""
    params = check_run_params(raw, tiny_catalog, "test")
    module = ModuleBuilder(params, tiny_catalog).module(len(CLASSES))
    module.model.train()(torch.randn(8, 3, 32, 16))
    return module.model.eval()


@pytest.fixture
def metadata(tiny_catalog, raw):
    dump = check_run_params(raw, tiny_catalog, "test").model_dump(mode="json")
    return {
        "params": dump,
        "classes": [list(c) for c in CLASSES],
        "preprocessing": {"operations": dump["augmentation"][:2]},
    }


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
    assert params.augmentation[0].params.height == 32
    assert not again.training
    images = torch.randn(4, 3, 32, 16)
    one, two = model(images), again(images)
    assert torch.equal(one.embedding, two.embedding)
    assert torch.equal(one.feature, two.feature)
    assert torch.equal(one.logits["global"], two.logits["global"])
    assert not any(t.is_meta for t in again.state_dict().values())


@pytest.mark.parametrize(
    ("said", "text"),
    [
        (None, "decoded by reid_core.pillow 1, here reid_core.pillow 2 does it"),
        ({**DECODER, "version": 3}, "decoded by reid_core.pillow 3, here reid_core.pillow 2"),
        ("other", "decoded by 'other', here"),
        (dict(DECODER), ""),
    ],
)
def test_images_that_another_decoder_has_read_are_told(
    said, text, saved, model, metadata, tiny_catalog, capsys
):
    facts = {**metadata["preprocessing"], **({} if said is None else {"decoder": said})}
    save_weights(saved, model, {**metadata, "preprocessing": facts})
    load_model(read_weights(saved), tiny_catalog)
    found = capsys.readouterr().out
    assert found.startswith(f"warning: {saved}: its images were " if text else "")
    assert text in found
    assert bool(found) == bool(text)


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
    assert metadata["preprocessing"]["decoder"] == DECODER
    operations = [o["name"] for o in metadata["preprocessing"]["operations"]]
    assert operations == ["reid-core:resize", "reid-core:normalize"]
    assert metadata["embedding"]["dim"] == 8
    assert len(metadata["classes"]) == 6
    assert set(metadata["data"]) == {"synthetic_market"}
    store = Stores(tmp_path / "one").open(check_run_params(raw, tiny_catalog, "test").data.train[0])
    assert metadata["data"]["synthetic_market"] == store.manifest["content_hash"]


class FilesPlugin:
    """Offers the loss 'listed', which is told files in every form that a param may have."""

    class ListedParams(Params):
        file: PathText = Field(description="Of weights.")
        other: PathText | None = Field(default=None, description="Likewise.")
        several: list[PathText] = Field(default_factory=list, description="Likewise.")
        scale: float = Field(default=1.0, description="No file.")

    @hookimpl
    def reid_loss(self):
        def build(params):
            return lambda x: LossOutput(params.scale * x.features.square().mean())

        return [
            LossComponent(
                name="listed", params=self.ListedParams, build=build, summary="-", role="metric"
            )
        ]


def test_the_paths_of_somebody_elses_component_are_not_in_the_file(catalog_with, raw, tmp_path):
    catalog = catalog_with(FilesPlugin())
    contents = []
    for place in ("one", "another"):
        path = str(tmp_path / place / "secret")
        listed = {"file": path, "other": path, "several": [path, path], "scale": 2.0}
        losses = [{"name": "softmax"}, {"name": "listed", "params": listed}]
        params = check_run_params({**raw, "loss": losses}, catalog, "test")
        run = start_train(params, catalog, place)
        contents.append(run.last_weights.read_bytes())
    assert contents[0] == contents[1]
    assert b"secret" not in contents[0]
    entry = read_weights(run.last_weights).metadata["params"]["loss"][1]
    assert entry["params"] == {"other": None, "several": [], "scale": 2.0}


def test_what_cannot_change_the_weights_is_not_in_the_file(tiny_catalog, raw):
    others = {"log_every": 1, "checkpoint_every_steps": 1, "baselines": True, "evaluate_every": 1}
    contents = []
    for name, train in (("plain", {}), ("watched", others)):
        params = check_run_params({**raw, "train": {**raw["train"], **train}}, tiny_catalog, "test")
        contents.append(start_train(params, tiny_catalog, name).last_weights.read_bytes())
    assert contents[0] == contents[1]


class Tied(nn.Module):
    """A head with one layer under two names, and a part of the backbone."""

    def __init__(self, backbone):
        super().__init__()
        self.branches = (BranchSpec("tied", 8, "tied", frozenset({"id", "metric"})),)
        self.one, self.bn = nn.Linear(8, 8), backbone.bn
        self.two = nn.Linear(8, 8)
        self.two.weight = self.one.weight

    def forward(self, features):
        vectors = self.two(self.one(self.bn(features.map).mean((2, 3))))
        return HeadOutput({"tied": Branch(vectors, vectors)})


class TiedPlugin:
    @hookimpl
    def reid_head(self):
        def build(params, *, backbone):
            return Tied(backbone)

        return [Component(name="tied", build=build, summary="-")]


def test_tensors_of_two_names_are_saved_and_come_back(catalog_with, raw, metadata, tmp_path):
    catalog = catalog_with(TiedPlugin())
    params = check_run_params({**raw, "head": [{"name": "tied"}]}, catalog, "test")
    model = ModuleBuilder(params, catalog).module(len(CLASSES)).model
    model.train()(torch.randn(8, 3, 32, 16))
    model.eval()
    paths = tmp_path / "one.safetensors", tmp_path / "two.safetensors"
    for path in paths:
        save_weights(path, model, {**metadata, "params": params.model_dump(mode="json")})
    assert paths[0].read_bytes() == paths[1].read_bytes()
    weights = read_weights(paths[0])
    assert {"heads.0.one.weight", "heads.0.two.weight", "heads.0.bn.weight"} <= set(weights.tensors)
    again, _ = load_model(weights, catalog)
    images = torch.randn(4, 3, 32, 16)
    assert torch.equal(model(images).embedding, again(images).embedding)


def test_saving_leaves_the_model_as_it_was(model, metadata, tmp_path):
    before = {n: (t.data_ptr(), t.clone()) for n, t in model.state_dict().items()}
    save_weights(tmp_path / "a.safetensors", model, metadata)
    after = model.state_dict()
    assert all(p == after[n].data_ptr() and t.equal(after[n]) for n, (p, t) in before.items())


NOISE = """
from reid_core import AugmentationComponent, hookimpl

@hookimpl
def reid_augmentation():
    return [
        AugmentationComponent(
            name=name,
            build=lambda params: lambda image, rng: image,
            stage="pil",
            use=use,
            summary="-",
        )
        for name, use in (("noise", "train"), ("dist_crop", "both"))
    ]
"""


@pytest.mark.parametrize("name", ["noise", "dist_crop"])
def test_only_the_preprocessing_must_be_installed_where_the_file_is_used(
    install_plugin, tiny_catalog, catalog_with, raw, name
):
    install_plugin("reid-noise", {"reid_noise": NOISE})
    augmentation = [raw["augmentation"][0], {"name": name}, *raw["augmentation"][1:]]
    there = catalog_with()
    params = check_run_params({**raw, "augmentation": augmentation}, there, "test")
    weights = read_weights(start_train(params, there, "run").last_weights)
    if name == "noise":
        _, loaded = load_model(weights, tiny_catalog)
        assert [e.bare_name for e in loaded.augmentation] == ["resize", "normalize"]
        image = Image.new("RGB", (9, 30), "red")
        one, two = (
            Pipeline(entries, training=False)(image, np.random.default_rng(0))
            for catalog, entries in (
                (there, params.augmentation),
                (tiny_catalog, loaded.augmentation),
            )
        )
        assert torch.equal(one, two)
    else:
        with pytest.raises(
            ReidError, match=r"augmentation\.1\.name: augmentation 'dist_crop' is of"
        ):
            load_model(weights, tiny_catalog)


def test_a_file_may_need_no_preprocessing(saved, model, metadata, tiny_catalog):
    save_weights(saved, model, {**metadata, "preprocessing": {"operations": []}})
    _, params = load_model(read_weights(saved), tiny_catalog)
    assert params.augmentation == []


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


@pytest.mark.parametrize(
    "metadata",
    [None, {"format": "pt"}, *({KEY: t} for t in ("{", "[]", "1", "{}", "[" * 100_000))],
)
def test_safetensors_of_others_are_refused(tmp_path, metadata):
    path = tmp_path / "other.safetensors"
    save_file({"weight": torch.zeros(2)}, path, metadata)
    with pytest.raises(ReidError, match="a safetensors file, but not one of reid-core"):
        read_weights(path)


def test_another_format_is_refused(tmp_path):
    path = tmp_path / "other.safetensors"
    save_file({"weight": torch.zeros(2)}, path, {KEY: json.dumps({"format": 99})})
    with pytest.raises(ReidError, match="weights of format 99; this version reads 2"):
        read_weights(path)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"params": ...}, "params: required, but missing"),
        ({"params": 5}, "params: expected an object, got 5"),
        ({"params": {"head": []}}, "params.backbone: required, but missing"),
        ({"classes": ...}, "classes: required, but missing"),
        ({"classes": [["data"]]}, "classes.0: too few items"),
        ({"side": {"camid": 3}}, "side.camid: expected a list, got 3"),
        ({"side": {"camid": [["data", 1.5]]}}, "side.camid.0.1"),
        ({"side": {"camid": [["a", 1], ["b", 1], ["a", 1]]}}, "side: 'camid' has a value twice"),
        ({"preprocessing": ...}, "preprocessing: required, but missing"),
        ({"preprocessing": {"operations": [1]}}, "preprocessing.operations.0: expected an object"),
    ],
)
def test_metadata_that_cannot_be_used_are_refused(saved, model, metadata, change, problem):
    content = {k: v for k, v in {**metadata, **change}.items() if v is not ...}
    save_weights(saved, model, content)
    with pytest.raises(ReidError) as caught:
        read_weights(saved)
    assert str(caught.value).startswith(f"{saved}: its metadata cannot be used: {problem}")


def test_tensors_that_do_not_fit_the_params_are_refused(saved, tiny_catalog):
    weights = read_weights(saved)
    tensors = {n: t for n, t in weights.tensors.items() if n != "backbone.conv.weight"}
    with pytest.raises(
        ReidError, match=r"the tensors do not fit the model: .*backbone\.conv\.weig"
    ):
        load_model(replace(weights, tensors=tensors), tiny_catalog)


def test_a_component_that_is_not_installed_is_named(saved, catalog):
    with pytest.raises(
        ReidError, match=r"best\.safetensors: backbone\.name: backbone 'tiny' is of"
    ):
        load_model(read_weights(saved), catalog)


# ---- columns ----------------------------------------------------------------------------

CAMERAS = (("data", 3), ("data", 1), ("other", 1))


class LookingPlugin:
    """Offers the backbone 'looking', which adds what it knows of a camera to every cell."""

    def __init__(self, side=("camid",)):
        self.side = side

    @hookimpl
    def reid_backbone(self):
        def build(params, *, side_values):
            return Looking(side_values.get("camid", 3))

        return [BackboneComponent(name="looking", build=build, summary="-", side=self.side)]


class Looking(nn.Module):
    out_channels, stride = 8, 16

    def __init__(self, cameras):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 16, stride=16)
        self.cameras = nn.Embedding(cameras + 1, 8)

    def forward(self, images, side):
        camids = side["camid"]
        rows = torch.where(camids < 0, self.cameras.num_embeddings - 1, camids)
        return FeatureMap(self.conv(images) + self.cameras(rows)[..., None, None])


@pytest.fixture
def looking(catalog_with, raw, tmp_path):
    """A catalog with 'looking', a network of it, and its metadata as a training writes them."""
    catalog = catalog_with(LookingPlugin())
    params = check_run_params({**raw, "backbone": {"name": "looking"}}, catalog, "test")
    side = {"camid": CAMERAS}
    module = ModuleBuilder(params, catalog, side_values=side).module(len(CLASSES))
    model = module.model.eval()
    return catalog, model, weights_metadata(params, model, (32, 16), CLASSES, {})


def test_a_file_keeps_what_the_numbers_of_a_column_stand_for(looking, tmp_path):
    catalog, model, metadata = looking
    assert metadata["side"] == {"camid": [["data", 3], ["data", 1], ["other", 1]]}
    path = tmp_path / "a.safetensors"
    save_weights(path, model, metadata)
    weights = read_weights(path)
    assert weights.side_values == {"camid": CAMERAS}
    again, _ = load_model(weights, catalog)
    assert again.side_values == {"camid": CAMERAS}
    assert again.side == ("camid",)
    images, camids = torch.randn(4, 3, 32, 16), torch.tensor([2, 0, -1, 1])
    with torch.no_grad():
        expected = model(images, {"camid": camids}).embedding
        assert torch.equal(again(images, {"camid": camids}).embedding, expected)
        assert not torch.equal(again(images).embedding, expected)


def test_a_file_of_a_network_without_columns_says_nothing_of_them(saved, model, tiny_catalog, raw):
    params = check_run_params(raw, tiny_catalog, "test")
    assert weights_metadata(params, model, (32, 16), CLASSES, {})["side"] == {}
    weights = read_weights(saved)
    assert "side" not in weights.metadata  # as in a file of before there were columns
    assert load_model(weights, tiny_catalog)[0].side_values == {}


def test_a_file_without_the_values_of_its_backbone_is_refused(looking, tmp_path):
    catalog, model, metadata = looking
    path = tmp_path / "a.safetensors"
    save_weights(path, model, {k: v for k, v in metadata.items() if k != "side"})
    message = (
        r"a\.safetensors: the backbone 'local:looking' looks at the columns camid, and the file "
        "has the values of none; install the version of the plugin"
    )
    with pytest.raises(ReidError, match=message):
        load_model(read_weights(path), catalog)


def test_a_file_with_values_that_its_backbone_no_longer_looks_at_is_refused(
    looking, catalog_with, tmp_path
):
    _, model, metadata = looking
    path = tmp_path / "a.safetensors"
    save_weights(path, model, metadata)
    with pytest.raises(ReidError, match=r"looks at the columns none, .* has the values of camid; "):
        load_model(read_weights(path), catalog_with(LookingPlugin(side=())))


def test_a_start_from_other_cameras_says_so(looking, tmp_path):
    _, model, metadata = looking
    path = tmp_path / "a.safetensors"
    save_weights(path, model, metadata)
    assert not any("camid" in line for line in load_snapshot(read_weights(path), model, CLASSES))
    model.side_values = {"camid": CAMERAS[::-1]}
    lines = load_snapshot(read_weights(path), model, CLASSES)
    (line,) = [line for line in lines if "camid" in line]
    assert "the numbers of the file stand for other values than this training's" in line


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
    assert lines == [
        f"{saved}: loaded {len(weights.tensors)} tensors: backbone (tiny), heads.0 (global), "
        "classifier.of_global"
    ]
    assert all(torch.equal(t, weights.tensors[n]) for n, t in model.state_dict().items())


@pytest.mark.parametrize("classes", [CLASSES[::-1], CLASSES[:2], (("x", "a"), *CLASSES[1:])])
def test_a_snapshot_of_other_people_leaves_the_classifier_out_and_says_so(saved, model, classes):
    weights = read_weights(saved)
    before = changed(model).classifier["global"].weight.clone()
    lines = load_snapshot(weights, model, classes)
    assert lines == [
        f"{saved}: loaded {len(weights.tensors) - 1} tensors: backbone (tiny), heads.0 (global)",
        "  newly initialised: classifier.of_global",
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
        match=r"backbone \(tiny\): 1 tensors differ in shape, e\.g\. backbone\.conv\.weight: the "
        r"file has \(9, 3, 16, 16\), the model \(8, 3, 16, 16\); use the same backbone params",
    ):
        load_snapshot(replace(weights, tensors=tensors), model, CLASSES)


def model_of(catalog, raw, **sections):
    """Return a network of the params with some sections changed, and their dump."""
    params = check_run_params({**raw, **sections}, catalog, "test")
    model = ModuleBuilder(params, catalog).module(len(CLASSES)).model
    return model, params.model_dump(mode="json")


def unchanged(model, before):
    return all(torch.equal(t, before[n]) for n, t in model.state_dict().items())


def test_a_snapshot_of_a_deeper_network_is_refused(catalog, raw, metadata, tmp_path):
    """Every tensor of resnet18 has its place in resnet34, and nearly all have its shape."""
    deep, dump = model_of(catalog, raw, backbone={"name": "resnet34", "params": NO_WEIGHTS})
    path = tmp_path / "deep.safetensors"
    save_weights(path, deep, {**metadata, "params": dump})
    model, _ = model_of(catalog, raw, backbone={"name": "resnet18", "params": NO_WEIGHTS})
    before = {n: t.clone() for n, t in model.state_dict().items()}
    with pytest.raises(
        ReidError, match=r"weights of the backbone 'resnet34', and this training's is 'resnet18'"
    ):
        load_snapshot(read_weights(path), model, CLASSES)
    assert unchanged(model, before)


NO_WEIGHTS = {"pretrained": "none"}


def test_a_backbone_may_be_named_with_its_distribution(catalog, raw, metadata, tmp_path):
    named = {"name": "reid-core:resnet18", "params": NO_WEIGHTS}
    one, dump = model_of(catalog, raw, backbone=named)
    save_weights(tmp_path / "a.safetensors", one, {**metadata, "params": dump})
    two, _ = model_of(catalog, raw, backbone={**named, "name": "resnet18"})
    load_snapshot(read_weights(tmp_path / "a.safetensors"), two, CLASSES)
    assert unchanged(two, one.state_dict())


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"backbone.layer9.weight": torch.zeros(2)}, r"the model lacks backbone\.layer9\.weight"),
        ({"backbone.bn.bias": None}, r"the file lacks backbone\.bn\.bias"),
    ],
)
def test_a_snapshot_brings_the_whole_backbone_or_is_refused(saved, model, change, text):
    weights = read_weights(saved)
    tensors = {n: t for n, t in {**weights.tensors, **change}.items() if t is not None}
    with pytest.raises(ReidError, match=rf"best\.safetensors: backbone \(tiny\): {text}; use the"):
        load_snapshot(replace(weights, tensors=tensors), model, CLASSES)


def test_heads_may_differ_and_are_listed(saved, tiny_catalog, raw):
    pcb = {"name": "pcb", "params": {"parts": 2, "part_dim": 4}}
    model, _ = model_of(tiny_catalog, raw, head=[pcb], loss=[{"name": "triplet"}])
    before = {n: t.clone() for n, t in model.heads.state_dict().items()}
    weights = read_weights(saved)
    lines = load_snapshot(weights, model, CLASSES)
    assert sorted(lines[1:]) == [
        "  left out: classifier.of_global",
        "  left out: heads.0 (global)",
        "  newly initialised: heads.0 (pcb)",
    ]
    assert torch.equal(model.backbone.conv.weight, weights.tensors["backbone.conv.weight"])
    assert all(torch.equal(t, before[n]) for n, t in model.heads.state_dict().items())


def test_a_head_of_one_name_is_taken_whole_or_not_at_all(saved, tiny_catalog, raw):
    wider = {"name": "global", "params": {"embedding_dim": 5}}
    model, _ = model_of(tiny_catalog, raw, head=[wider])
    before = {n: t.clone() for n, t in model.heads.state_dict().items()}
    lines = load_snapshot(read_weights(saved), model, CLASSES)
    assert any(line.startswith("  left out: heads.0 (global): the file lacks ") for line in lines)
    assert "  newly initialised: heads.0 (global), classifier.of_global" in lines
    assert all(torch.equal(t, before[n]) for n, t in model.heads.state_dict().items())


# ---- damage -----------------------------------------------------------------------------


def content_of(path):
    weights = read_weights(path)
    tensors = {n: (str(t.dtype), t.shape, t.tolist()) for n, t in weights.tensors.items()}
    return tensors, weights.metadata


def test_one_wrong_bit_is_an_error(saved):
    data = saved.read_bytes()
    header = 8 + int.from_bytes(data[:8], "little")
    found = outcomes(saved, flips(data, 150), content_of, content_of(saved))
    in_the_header = (damaged + data[header:] for damaged in flips(data[:header], 150, seed=1))
    for damaged in in_the_header:
        saved.write_bytes(damaged)
        with pytest.raises(ReidError):
            read_weights(saved)
    assert (found["changed"], found["same"]) == (0, 0)


def test_a_wrong_bit_in_the_tensors_is_told(saved):
    data = bytearray(saved.read_bytes())
    data[-1] ^= 1
    saved.write_bytes(data)
    with pytest.raises(ReidError, match=r"best\.safetensors: the weights file is damaged: the che"):
        read_weights(saved)


def test_a_file_of_before_there_were_checksums_is_read_and_said(saved, capsys):
    weights = read_weights(saved)
    assert capsys.readouterr().out == ""
    facts = {n: f for n, f in weights.metadata.items() if "checksum" not in n}
    names = {name: name.replace("classifier.of_", "classifier.") for name in weights.tensors}
    assert "classifier.global.weight" in names.values()
    tensors = {names[name]: tensor for name, tensor in weights.tensors.items()}
    save_file(tensors, saved, {KEY: json.dumps({**facts, "format": 1})})
    assert read_weights(saved).tensors.keys() == weights.tensors.keys()
    assert "older version, without checksums; damage is not noticed" in capsys.readouterr().out

"""The residual networks: shapes, strides and where weights come from."""

import json
import weakref
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
import torchvision
from pydantic import ValidationError
from safetensors.torch import save_file
from torch.utils._python_dispatch import TorchDispatchMode

from reid_core import ReidError
from reid_core.checksums import signed, tensors_checksum
from reid_core.component import call_build
from reid_plugins.backbone import resnet

COMPONENTS = {component.name: component for component in resnet.reid_backbone()}


def build(name="resnet18", **params):
    params = {"pretrained": "none", **params}
    return call_build(COMPONENTS[name], resnet.ResNetParams(**params))


@pytest.fixture
def meta():
    with torch.device("meta"):
        yield


@pytest.fixture
def offline(tmp_path, monkeypatch):
    """An empty torch cache, and a download that fails as without a network."""

    def no_network(*args, **kwargs):
        raise URLError("Name or service not known")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(torch.hub, "download_url_to_file", no_network)
    return tmp_path / "torch" / "hub" / "checkpoints"


# ---- shapes -----------------------------------------------------------------------------


@pytest.mark.usefixtures("meta")
@pytest.mark.parametrize(
    ("name", "channels"),
    [("resnet18", 512), ("resnet34", 512), ("resnet50", 2048), ("resnet101", 2048)],
)
@pytest.mark.parametrize(("last_stride", "size"), [(1, (16, 8)), (2, (8, 4))])
def test_map_has_the_declared_channels_and_stride(name, channels, last_stride, size):
    backbone = build(name, pretrained="imagenet", last_stride=last_stride)
    features = backbone(torch.empty(2, 3, 256, 128))
    assert backbone.out_channels == channels
    assert backbone.stride == 16 * last_stride
    assert features.map.shape == (2, channels, *size)
    assert features.tokens is None


def test_map_equals_torchvision_with_the_original_stride():
    network = torchvision.models.resnet18(weights=None).eval()
    backbone = build(last_stride=2).eval()
    state = {k: v for k, v in network.state_dict().items() if not k.startswith("fc.")}
    backbone.load_state_dict(state)
    images = torch.randn(1, 3, 64, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits = network.fc(backbone(images).map.mean((2, 3)))
        torch.testing.assert_close(logits, network(images))


@pytest.mark.usefixtures("meta")
@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_last_stride_changes_no_parameter(name):
    one, two = build(name, last_stride=1), build(name, last_stride=2)
    shapes = [{key: value.shape for key, value in net.state_dict().items()} for net in (one, two)]
    assert shapes[0] == shapes[1]


def test_side_information_is_accepted_and_ignored():
    backbone = build().eval()
    images = torch.zeros(1, 3, 32, 32)
    side = {"camid": torch.tensor([3])}
    assert torch.equal(backbone(images, side).map, backbone(images).map)


def test_stages_in_order_give_the_map():
    backbone = build().eval()
    images = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert list(backbone.stages) == ["stem", "layer1", "layer2", "layer3", "layer4"]
    x, features = images, backbone(images)
    assert list(features.maps) == ["layer1", "layer2", "layer3", "layer4"]
    for name, stage in backbone.stages.items():
        x = stage(x)
        assert torch.equal(x, features.maps.get(name, x))
    assert torch.equal(x, features.map)
    assert features.maps["layer4"] is features.map


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
@pytest.mark.parametrize("last_stride", [1, 2])
def test_the_maps_of_the_stages_cost_no_memory_in_evaluation(name, last_stride):
    backbone = build(name, last_stride=last_stride).eval()
    images = torch.zeros(1, 3, 64, 32)
    with torch.inference_mode(), LiveBytes() as keeping:
        backbone(images)
    with torch.inference_mode(), LiveBytes() as plain:
        x = images
        for stage in backbone.stages.values():
            x = stage(x)
    assert keeping.peak == plain.peak > 0


class LiveBytes(TorchDispatchMode):
    """Watches how many bytes of tensors are alive that were made within it."""

    def __init__(self):
        super().__init__()
        self.live, self.peak, self.seen = 0, 0, set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for made in result if isinstance(result, tuple | list) else (result,):
            storage = made.untyped_storage()
            if storage._cdata not in self.seen:
                self.seen.add(storage._cdata)
                self.live += storage.nbytes()
                self.peak = max(self.peak, self.live)
                weakref.finalize(storage, self.forget, storage._cdata, storage.nbytes())
        return result

    def forget(self, key, size):
        self.seen.discard(key)
        self.live -= size


def test_stages_cover_every_parameter_once():
    backbone = build()
    of_stages = [id(p) for stage in backbone.stages.values() for p in stage.parameters()]
    assert sorted(of_stages) == sorted(id(p) for p in backbone.parameters())


# ---- weights ----------------------------------------------------------------------------


def test_meta_device_reads_no_weights(offline, tmp_path):
    with torch.device("meta"):
        backbone = build(pretrained="imagenet")
        other = build(weights_file=str(tmp_path / "absent.pth"))
    assert {p.device.type for net in (backbone, other) for p in net.parameters()} == {"meta"}


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("with_classifier", [False, True])
def test_weights_file_round_trips(tmp_path, suffix, with_classifier):
    network = torchvision.models.resnet18(weights=None)
    torch.nn.init.constant_(network.layer1[0].bn1.running_mean, 0.25)
    state = {
        key: value
        for key, value in network.state_dict().items()
        if with_classifier or not key.startswith("fc.")
    }
    file = tmp_path / f"weights{suffix}"
    if suffix == ".safetensors":
        save_file(state, file)
    else:
        torch.save(state, file)
    loaded = build(pretrained="imagenet", weights_file=str(file)).state_dict()
    assert all(torch.equal(value, network.state_dict()[key]) for key, value in loaded.items())


def test_weights_file_may_lack_the_counters_of_batches(tmp_path):
    state = build().state_dict()
    torch.save(
        {k: v for k, v in state.items() if "num_batches_tracked" not in k}, tmp_path / "old.pth"
    )
    loaded = build(weights_file=str(tmp_path / "old.pth")).state_dict()
    assert torch.equal(loaded["layer4.1.conv2.weight"], state["layer4.1.conv2.weight"])


def test_weights_file_of_another_network_is_refused(tmp_path):
    file = tmp_path / "other.pth"
    state = build("resnet18").state_dict()
    state["extra.weight"] = torch.zeros(1)
    state["conv1.weight"] = torch.zeros(64, 1, 7, 7)
    del state["layer1.0.bn1.bias"]
    torch.save(state, file)
    with pytest.raises(ReidError) as caught:
        build("resnet18", weights_file=str(file))
    assert str(caught.value) == (
        f"backbone 'resnet18': weights_file '{file}' does not fit; "
        "missing keys: layer1.0.bn1.bias; unknown keys: extra.weight; "
        "wrong shapes: conv1.weight is (64, 1, 7, 7), expected (64, 3, 7, 7)"
    )


def test_weights_file_that_does_not_exist_is_named(tmp_path):
    file = tmp_path / "absent.pth"
    with pytest.raises(ReidError, match=r"weights_file .*absent\.pth' does not exist"):
        build(weights_file=str(file))


@pytest.mark.parametrize("name", ["noise.pth", "noise.safetensors", "empty.pth"])
def test_weights_file_that_is_damaged_is_named(tmp_path, name):
    (tmp_path / name).write_bytes(b"" if name == "empty.pth" else b"not weights" * 9)
    with pytest.raises(ReidError, match=f"{name}' cannot be read: ."):
        build(weights_file=str(tmp_path / name))


def test_weights_file_runs_no_code(tmp_path):
    class Payload:
        def __reduce__(self):
            return Path.touch, (tmp_path / "ran",)

    torch.save({"conv1.weight": Payload()}, tmp_path / "evil.pth")
    with pytest.raises(ReidError, match="cannot be read"):
        build(weights_file=str(tmp_path / "evil.pth"))
    assert not (tmp_path / "ran").exists()


def test_weights_file_must_be_a_state_dict(tmp_path):
    torch.save({"epoch": 3}, tmp_path / "checkpoint.pth")
    with pytest.raises(ReidError, match="is not a state dict: a dict from parameter name"):
        build(weights_file=str(tmp_path / "checkpoint.pth"))


# ---- wrapped ----------------------------------------------------------------------------

PLAIN = {
    name: torch.tensor(float(number)).to(tensor.dtype).expand(tensor.shape)
    for number, (name, tensor) in enumerate(torchvision.models.resnet18().state_dict().items())
    if not name.startswith("fc.")
}
"""Every tensor has another value; as expanded numbers they make small files."""

BESIDE = {"classifier.weight": torch.zeros(7, 512), "bottleneck.bias": torch.zeros(512)}
"""What the strong baselines keep beside ``base.``."""


def prefixed(prefix, state=PLAIN):
    return {prefix + name: tensor for name, tensor in state.items()}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (PLAIN, ""),
        (prefixed("module."), "taken from the names that begin with 'module.'\n"),
        (prefixed("base."), "taken from the names that begin with 'base.'\n"),
        (prefixed("model."), "taken from the names that begin with 'model.'\n"),
        (prefixed("backbone."), "taken from the names that begin with 'backbone.'\n"),
        (prefixed("module.model."), "taken from the names that begin with 'module.model.'\n"),
        ({"state_dict": PLAIN, "epoch": 60}, "taken from 'state_dict' of the file\n"),
        ({"model": PLAIN, "optimizer": {"lr": 1}}, "taken from 'model' of the file\n"),
        (
            {"state_dict": prefixed("module."), "epoch": 60},
            "taken from 'state_dict' of the file, the names that begin with 'module.'\n",
        ),
        (
            {"model": {"state_dict": prefixed("base.")}},
            "taken from 'model' of the file, 'state_dict' of the file, the names that begin with "
            "'base.'\n",
        ),
        ({**PLAIN, **BESIDE}, "left out tensors: 1 of bottleneck, 1 of classifier\n"),
        (
            prefixed("module.", {**prefixed("base."), **BESIDE}),
            "taken from the names that begin with 'module.base.'\n",
        ),
        (
            prefixed("module.", {**prefixed("base."), **BESIDE}),
            "left out tensors: 1 of module.bottleneck, 1 of module.classifier\n",
        ),
        (
            {**prefixed("base."), "base.fc.weight": torch.zeros(2, 512), **BESIDE},
            "left out tensors: 1 of base.fc, 1 of bottleneck, 1 of classifier\n",
        ),
    ],
)
def test_wrapped_weights_are_unwrapped_and_that_is_said(tmp_path, capsys, content, said):
    file = tmp_path / "weights.pth"
    torch.save(content, file)
    loaded = build(weights_file=str(file)).state_dict()
    assert loaded.keys() == PLAIN.keys()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in PLAIN.items())
    out = capsys.readouterr().out
    assert all(
        line.startswith(f"backbone 'resnet18': weights_file '{file}': ")
        for line in out.splitlines()
    )
    assert said in out
    assert bool(out) == bool(said)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (
            {**prefixed("teacher."), **prefixed("student.")},
            "does not fit; missing keys: bn1.bias, ",
        ),
        (
            {**PLAIN, **prefixed("base.")},
            "holds more than one such network, under names that begin with '', 'base.'; save",
        ),
        ({"state_dict": PLAIN, "model": PLAIN}, "holds several state dicts: model, state_dict"),
        ({"state_dict": {"epoch": 3}}, "is not a state dict"),
        ({"state_dict": {**PLAIN, "epoch": 3}}, "is not a state dict"),
        ({}, "is not a state dict"),
        ([PLAIN], "is not a state dict"),
        (
            prefixed("base.", {**PLAIN, "NL_1.0.g.weight": torch.zeros(1)}),
            "does not fit; unknown keys: NL_1.0.g.weight",
        ),
        (
            {n: t for n, t in prefixed("module.").items() if "layer4" not in n},
            "does not fit; missing keys: layer4.0.bn1.bias, ",
        ),
        (
            prefixed("base.", {**PLAIN, "conv1.weight": torch.zeros(64, 1, 7, 7)}),
            "does not fit; wrong shapes: conv1.weight is (64, 1, 7, 7), expected (64, 3, 7, 7)",
        ),
    ],
)
def test_wrapped_weights_of_another_network_are_refused(tmp_path, content, text):
    file = tmp_path / "weights.pth"
    torch.save(content, file)
    with pytest.raises(ReidError) as caught:
        build(weights_file=str(file))
    assert text in str(caught.value)


def test_a_wrong_bit_in_a_weights_file_is_found(tmp_path):
    file = tmp_path / "weights.pth"
    torch.save({"conv1.weight": torch.arange(9000.0)}, file)
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    with pytest.raises(ReidError, match=r"cannot be read: '.*' in it is damaged"):
        build(weights_file=str(file))


def test_a_weights_file_of_a_run_is_compared_with_its_checksum(tmp_path):
    file = tmp_path / "best.safetensors"
    tensors = {name: tensor.contiguous() for name, tensor in prefixed("backbone.").items()}
    facts = signed({"tensors_checksum": tensors_checksum(tensors)})
    save_file(tensors, file, {"reid_core": json.dumps(facts)})
    assert torch.equal(build(weights_file=str(file)).conv1.weight, PLAIN["conv1.weight"])
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(ReidError, match="cannot be read: the checksum of its tensors differs"):
        build(weights_file=str(file))


def test_missing_imagenet_weights_say_what_to_do(offline):
    with pytest.raises(ReidError) as caught:
        build(pretrained="imagenet")
    url = "https://download.pytorch.org/models/resnet18-f37072fd.pth"
    assert str(caught.value) == (
        "backbone 'resnet18': no ImageNet weights (<urlopen error Name or service not known>); "
        f"put 'resnet18-f37072fd.pth' from {url} into {offline}, or name a file with "
        '"weights_file", or start from random weights with "pretrained": "none"'
    )


def test_imagenet_weights_are_read_from_the_cache(offline):
    offline.mkdir(parents=True)
    network = torchvision.models.resnet18(weights=None)
    torch.save(network.state_dict(), offline / "resnet18-f37072fd.pth")
    loaded = build(pretrained="imagenet").state_dict()
    assert torch.equal(loaded["conv1.weight"], network.conv1.weight)


@pytest.mark.parametrize(
    "params", [{"last_stride": 3}, {"pretrained": "coco"}, {"weights_file": ""}, {"depth": 18}]
)
def test_params_out_of_range_are_refused(params):
    with pytest.raises(ValidationError):
        build(**params)

"""The residual networks' module and where its weights come from.

Parameters keep torchvision's names, so its files fit as they are.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models import get_model, get_model_weights

from reid_core import ReidError
from reid_core.checksums import KEY, TENSORS_KEY, check_tensors
from reid_core.console import say
from reid_core.contracts import FeatureMap
from reid_core.errors import name_list
from reid_core.files import user_path
from reid_plugins.backbone._wrapped_weights import find_state


class ResNet(nn.Module):
    """A torchvision residual network without its pooling and classifier.

    Attributes:
        out_channels: Channels C of the feature map.
        stride: Input pixels per cell of the map: 16 or 32.
    """

    def __init__(self, network: Any, last_stride: int) -> None:
        """Take the stages out of ``network`` and set the stride of the last one."""
        super().__init__()
        self.conv1, self.bn1 = network.conv1, network.bn1
        self.relu, self.maxpool = network.relu, network.maxpool
        self.layer1, self.layer2 = network.layer1, network.layer2
        self.layer3, self.layer4 = network.layer3, network.layer4
        self.out_channels: int = network.fc.in_features
        self.stride = 16 * last_stride
        # Basic blocks stride in conv1, bottlenecks in conv2, and the shortcut in its own
        # convolution: all of them lie in the first block.
        for module in self.layer4[0].modules():
            if isinstance(module, nn.Conv2d) and module.stride != (1, 1):
                module.stride = (last_stride, last_stride)

    @property
    def stages(self) -> dict[str, nn.Module]:
        """The network in order, from name to module."""
        return {
            "stem": nn.Sequential(self.conv1, self.bn1, self.relu, self.maxpool),
            "layer1": self.layer1,
            "layer2": self.layer2,
            "layer3": self.layer3,
            "layer4": self.layer4,
        }

    def forward(self, images: Tensor, side: Mapping[str, Tensor] | None = None) -> FeatureMap:
        """Map images ``(B, 3, H, W)`` to ``(B, C, H / stride, W / stride)``, rounded up.

        The map of every stage is handed on by name. It is there anyway when the network is trained,
        and in evaluation the memory is largest before the second stage.

        Args:
            images: Normalised RGB images.
            side: Not used; a residual network knows nothing but the image.
        """
        x = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        maps: dict[str, Tensor] = {}
        for name in ("layer1", "layer2", "layer3", "layer4"):
            x = maps[name] = getattr(self, name)(x)
        return FeatureMap(x, maps=maps)


def build_resnet(
    name: str, *, last_stride: int, pretrained: bool, weights_file: str | None
) -> ResNet:
    """Build a network and load its weights.

    On the meta device nothing is read: a shape check, or a model whose weights come from a
    training run, needs no file.

    Raises:
        ReidError: The weights cannot be had or do not fit.
    """
    network = get_model(name, weights=None)
    if torch.get_default_device().type != "meta":
        if weights_file is not None:
            source = f"backbone '{name}': weights_file '{weights_file}'"
            state, lines = find_state(
                read_weights_file(weights_file, source), _wanted(network), source
            )
            load(network, state, source)
            for line in lines:
                say(line)
        elif pretrained:
            load(network, imagenet_weights(name), f"backbone '{name}': the ImageNet weights")
    return ResNet(network, last_stride)


def imagenet_weights(name: str) -> Mapping[str, Tensor]:
    """Return torchvision's first ImageNet weights, from the cache or the network.

    The first version for every depth: published re-identification results start from it.
    """
    weights = get_model_weights(name)["IMAGENET1K_V1"]
    try:
        state: Mapping[str, Tensor] = weights.get_state_dict(
            progress=False, check_hash=True, weights_only=True
        )
    except (OSError, RuntimeError) as error:  # no connection; a file with the wrong hash
        folder = Path(torch.hub.get_dir()) / "checkpoints"
        raise ReidError(
            f"backbone '{name}': no ImageNet weights ({error}); put "
            f"'{weights.url.rsplit('/', 1)[-1]}' from {weights.url} into {folder}, or name a "
            'file with "weights_file", or start from random weights with "pretrained": "none"'
        ) from error
    return state


def read_weights_file(path: str, source: str) -> Any:
    """Read a ``.safetensors`` file or what torch has saved; code in the file is never run."""
    file = user_path(path)
    if not file.is_file():
        raise ReidError(f"{source} does not exist (looked for {file.absolute()})")
    try:
        if file.suffix == ".safetensors":
            return _read_safetensors(file)
        _check_members(file)
        return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file can raise nearly anything
        cause = (str(error) or type(error).__name__).splitlines()[0]
        raise ReidError(f"{source} cannot be read: {cause}") from error


def _read_safetensors(file: Path) -> Mapping[str, Tensor]:
    """Return all tensors; those of a weights file of ours are compared with their checksum."""
    from safetensors import safe_open

    with safe_open(file, framework="pt") as content:
        tensors = {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118
        facts = json.loads((content.metadata() or {}).get("reid_core", "{}"))
    if TENSORS_KEY in facts or KEY in facts:
        check_tensors(facts, tensors)
    return tensors


def _check_members(file: Path) -> None:
    """Compare every member of a file with its checksum, which torch does not do.

    Raises:
        ValueError: One differs.
    """
    if zipfile.is_zipfile(file):  # files older than torch 1.6 are none
        with zipfile.ZipFile(file) as archive:
            if damaged := archive.testzip():
                raise ValueError(f"'{damaged}' in it is damaged")


def _wanted(network: nn.Module) -> dict[str, torch.Size]:
    """Return the shapes of all that a file must hold, by name: the network has no classifier."""
    return {k: v.shape for k, v in network.state_dict().items() if not k.startswith("fc.")}


def load(network: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Copy all of ``state`` but the classifier into ``network``; refuse what does not fit."""
    state = {key: value for key, value in state.items() if not key.startswith("fc.")}
    wanted = _wanted(network)
    # Files older than torch 0.4.1 have no counters of BN batches; nothing reads them here.
    missing = {k for k in wanted.keys() - state.keys() if not k.endswith("num_batches_tracked")}
    problems = []
    if missing:
        problems.append(f"missing keys: {name_list(missing, limit=4)}")
    if unknown := state.keys() - wanted.keys():
        problems.append(f"unknown keys: {name_list(unknown, limit=4)}")
    if shapes := [
        f"{key} is {tuple(state[key].shape)}, expected {tuple(shape)}"
        for key, shape in wanted.items()
        if key in state and state[key].shape != shape
    ]:
        problems.append(f"wrong shapes: {name_list(shapes, limit=4)}")
    if problems:
        raise ReidError(f"{source} does not fit; {'; '.join(problems)}")
    network.load_state_dict(state, strict=False)

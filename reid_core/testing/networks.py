"""Small networks for the checks, made of real parts with entries as a params file has them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor, nn

from reid_core.component import BackboneComponent, Component, Params
from reid_core.contracts import Branch, BranchSpec, FeatureMap, HeadOutput
from reid_core.discovery import isolated_catalog
from reid_core.hookspecs import hookimpl
from reid_core.network.model import ReIDModel
from reid_core.params.entries import BackboneEntry
from reid_core.params.messages import read_params
from reid_core.params.schema import HeadEntry

Values = Callable[[Tensor], dict[str, Tensor]]
"""Values of a head, ``(B, ...)`` by name, made of the vectors ``(B, d)``."""


class SmallBackbone(nn.Module):
    """Two strided convolutions; a head may copy the last stage."""

    out_channels, stride = 32, 16

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 16, 8, stride=8)
        self.last = nn.Sequential(nn.Conv2d(16, 32, 2, stride=2), nn.BatchNorm2d(32), nn.ReLU())

    @property
    def stages(self) -> dict[str, nn.Module]:
        """Return both stages by name."""
        return {"first": self.first, "last": self.last}

    def forward(self, images: Tensor, side: Mapping[str, Tensor]) -> FeatureMap:
        """Map images ``(B, 3, H, W)``."""
        first = self.first(images)
        return FeatureMap(self.last(first), maps={"first": first})


class Through(nn.Module):
    """A backbone that returns its input: "images" ``(B, d, 1, 1)`` are the vectors."""

    stride = 1

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.out_channels = dim

    def forward(self, images: Tensor, side: Mapping[str, Tensor]) -> FeatureMap:
        """Return the vectors as a map of one cell."""
        return FeatureMap(images)


class Pooled(nn.Module):
    """A head of one classified branch, ``whole``: the mean of the map, without a neck."""

    def __init__(self, dim: int, values: Values = lambda vectors: {}) -> None:
        super().__init__()
        self.branches = (BranchSpec("whole", dim, "whole", frozenset({"id", "metric"})),)
        self.values = values

    def forward(self, features: FeatureMap) -> HeadOutput:
        """Return the branch, and values made of it."""
        vectors = features.map.mean(dim=(2, 3))
        return HeadOutput({"whole": Branch(vectors, vectors)}, self.values(vectors))


class _Parts:
    @hookimpl
    def reid_backbone(self) -> list[BackboneComponent]:
        def build(params: Params) -> SmallBackbone:
            return SmallBackbone()

        return [BackboneComponent(name="small", build=build, summary="Two convolutions")]

    @hookimpl
    def reid_head(self) -> list[Component]:
        def build(params: Params, *, in_channels: int) -> Pooled:
            return Pooled(in_channels)

        return [Component(name="pooled", build=build, summary="The mean of the map")]


def network_of(backbone: nn.Module, head: nn.Module, num_pids: int) -> ReIDModel:
    """Return the model of a backbone and a head, without classifiers."""
    catalog = isolated_catalog(_Parts())
    one = read_params(BackboneEntry, {"name": "small"}, catalog)
    other = read_params(HeadEntry, {"name": "pooled"}, catalog)
    return ReIDModel((one, backbone), [(other, head)], num_pids)

"""The network: a backbone, heads, and the classifiers that losses ask for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reid_core.boundary import Origin
from reid_core.contracts import (
    Branch,
    BranchSpec,
    FeatureMap,
    Head,
    HeadOutput,
    ModelOutput,
    SideValues,
)
from reid_core.data.transforms import Pipeline
from reid_core.errors import ReidError, name_list
from reid_core.network.blank_backbone import built_for_checkpoint
from reid_core.network.classifiers import Classifiers
from reid_core.network.first_results import check_backbone, check_head, check_map, check_output
from reid_core.network.side import chosen_values, completed
from reid_core.params.entries import BackboneEntry
from reid_core.params.schema import HeadEntry, ModelParams


class ReIDModel(nn.Module):
    """Backbone, heads and classifiers; the same output in training and evaluation.

    Attributes:
        branches: Every branch of every head, in the order of the params.
        embedding_dim: D, the size of the joint test embedding.
        backbone_name: Name of the backbone's component.
        head_names: Likewise of every head.
        side_values: Columns that the backbone looks at, with what their numbers stand for.
        side: Their names.
    """

    def __init__(
        self,
        backbone: tuple[BackboneEntry, nn.Module],
        heads: Sequence[tuple[HeadEntry, nn.Module]],
        num_pids: int,
        side_values: SideValues = MappingProxyType({}),
    ) -> None:
        """Join the parts, each with its entry; classifiers are added by ``add_classifiers``."""
        super().__init__()
        self._backbone_entry, self.backbone = backbone
        self.heads = nn.ModuleList(head for _, head in heads)
        self.classifier = Classifiers()
        self.num_pids = num_pids
        self.side_values = dict(side_values)
        self.side = tuple(side_values)
        self.backbone_name = self._backbone_entry.bare_name
        self.head_names = tuple(entry.bare_name for entry, _ in heads)
        self.backbone_is_frozen = False
        self._entries = [entry for entry, _ in heads]
        self._declared = [cast(Head, head).branches for _, head in heads]
        self._specs = [
            {spec.name: _renamed(spec, entry.alias) for spec in branches}
            for (entry, _), branches in zip(heads, self._declared, strict=True)
        ]
        self.branches: tuple[BranchSpec, ...] = tuple(
            spec for specs in self._specs for spec in specs.values()
        )
        _check_branches(self.branches)
        self.embedding_dim = sum(spec.dim for spec in self.branches if spec.in_test)

    def add_classifiers(self, keys: Iterable[str], *, bias: bool, init_std: float) -> None:
        """Add one linear layer per classifier key; branches with one key share it.

        Raises:
            ReidError: Branches of one key differ in size.
        """
        for key in sorted(set(keys)):
            dims = {spec.dim for spec in self.branches if spec.classifier == key}
            if len(dims) != 1:
                raise ReidError(
                    f"classifier '{key}' is shared by branches of different sizes: {sorted(dims)}"
                )
            layer = nn.Linear(dims.pop(), self.num_pids, bias=bias)
            nn.init.normal_(layer.weight, std=init_std)
            if bias:
                nn.init.zeros_(layer.bias)
            self.classifier[key] = layer

    def freeze_backbone(self) -> None:
        """Fix the backbone's weights and BN statistics; its parameters stay in the optimizer."""
        self.backbone_is_frozen = True
        self.backbone.requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True) -> ReIDModel:
        """Set the mode; a frozen backbone's BN layers stay in evaluation mode."""
        super().train(mode)
        if self.backbone_is_frozen:
            hold_statistics(self.backbone)
        return self

    def forward(self, images: Tensor, side: Mapping[str, Tensor] | None = None) -> ModelOutput:
        """Map images ``(B, 3, H, W)`` to every branch and the joint embedding ``(B, D)``.

        Args:
            images: Normalised.
            side: ``(B,)`` int64 by column, on the device of the images; the backbone gets those
                of ``self.side``, and what is left out is unknown.

        Raises:
            ReidError: A plugin has failed, or returned what its contract does not allow.
        """
        outputs = self.head_outputs(self.feature_map(images, side))
        branches: dict[str, Branch] = {}
        aux: dict[str, Tensor] = {}
        for entry, specs, output in zip(self._entries, self._specs, outputs, strict=True):
            branches |= {specs[name].name: branch for name, branch in output.branches.items()}
            extra = {_prefixed(name, entry.alias): value for name, value in output.aux.items()}
            if twice := aux.keys() & extra.keys():
                raise ReidError(
                    f"head: two heads give an extra value named {name_list(twice)}; give one of "
                    "them an 'alias'"
                )
            aux |= extra
        logits = {
            spec.name: self.classifier[spec.classifier](branches[spec.name].embedding)
            for spec in self.branches
            if spec.classifier is not None and spec.classifier in self.classifier
        }
        return ModelOutput(
            embedding=self._joined(outputs, "embedding"),
            feature=self._joined(outputs, "feature"),
            branches=branches,
            logits=logits,
            aux=aux,
        )

    def feature_map(self, images: Tensor, side: Mapping[str, Tensor] | None = None) -> FeatureMap:
        """Return what the backbone says of images, checked; see ``forward``."""
        columns, origin = completed(side, self.side, images), self._backbone_entry.origin
        given = {f"the column '{name}'": column for name, column in columns.items()}
        given["the images"] = images
        with origin.calling(f"on images of shape {tuple(images.shape)}", given):
            found = self.backbone(images, columns)
        return check_map(found, images, self.backbone, origin)

    def head_outputs(self, features: FeatureMap) -> list[HeadOutput]:
        """Return what every head says of a feature map, checked."""
        outputs = []
        given = {f"the map '{name}'": stage for name, stage in features.maps.items()}
        given["the map"] = features.map
        if features.tokens is not None:
            given["the tokens"] = features.tokens
        place = f"on a map of shape {tuple(features.map.shape)}"
        for entry, head, branches in zip(self._entries, self.heads, self._declared, strict=True):
            with entry.origin.calling(place, given):
                found = head(features)
            outputs.append(check_output(found, branches, features.map, entry.origin))
        return outputs

    @property
    def origins(self) -> tuple[Origin, ...]:
        """Return where the backbone and every head come from, for messages."""
        return tuple(entry.origin for entry in (self._backbone_entry, *self._entries))

    def _joined(self, outputs: list[HeadOutput], part: str) -> Tensor:
        """Concatenate the test branches, each normalised and scaled as its entry says."""
        vectors = []
        for entry, specs, output in zip(self._entries, self._specs, outputs, strict=True):
            for name, spec in specs.items():
                if spec.in_test:
                    vector: Tensor = getattr(output.branches[name], part)
                    if entry.part_norm == "each":
                        vector = F.normalize(vector, dim=1)
                    vectors.append(vector * entry.scale if entry.scale != 1 else vector)
        return vectors[0] if len(vectors) == 1 else torch.cat(vectors, dim=1)


def hold_statistics(module: nn.Module) -> None:
    """Put every BN layer of a module into evaluation mode; all else stays as it is."""
    for part in module.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            part.eval()


def build_model(
    params: ModelParams,
    num_pids: int,
    side_values: SideValues = MappingProxyType({}),
    *,
    restored: bool = False,
) -> ReIDModel:
    """Build backbone and heads; classifiers come with the losses that need them.

    Args:
        params: The network and its preprocessing.
        num_pids: Identities of the training.
        side_values: Of the training's columns, those at least that the backbone looks at.
        restored: All weights will come from a checkpoint: those to start from may be missing.

    Raises:
        ReidError: A plugin has built what its contract does not allow, values are not given, heads
            have equal branch names, or none is in the test embedding.
    """
    values = chosen_values(params.backbone, side_values)
    with torch.device("cpu"):  # a network may be built on shapes alone, its input is not
        input_size = Pipeline(params.augmentation, training=False).input_size()
    counts = {name: len(known) for name, known in values.items()}

    def build() -> Any:
        return params.backbone.build(input_size=input_size, side_values=counts)

    built = built_for_checkpoint(build) if restored else build()
    backbone = check_backbone(built, params.backbone.origin)
    heads = []
    for entry in params.head:
        head = entry.build(in_channels=backbone.out_channels, num_pids=num_pids, backbone=backbone)
        heads.append((entry, check_head(head, entry.origin)))
    return ReIDModel((params.backbone, backbone), heads, num_pids, values)


def _renamed(spec: BranchSpec, alias: str | None) -> BranchSpec:
    key = None if spec.classifier is None else _prefixed(spec.classifier, alias)
    return replace(spec, name=_prefixed(spec.name, alias), classifier=key)


def _prefixed(name: str, alias: str | None) -> str:
    return name if alias is None else f"{alias}_{name}"


def _check_branches(branches: tuple[BranchSpec, ...]) -> None:
    names = [spec.name for spec in branches]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ReidError(
            f"head: two heads declare branch {name_list(twice)}; give one of them an 'alias'"
        )
    if not any(spec.in_test for spec in branches):
        raise ReidError("head: no branch is part of the test embedding")

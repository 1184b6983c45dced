"""The weights file: one safetensors file that can be used alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ConfigDict, Field, field_validator
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from reid_core.catalog import Catalog
from reid_core.checksums import TENSORS_KEY, check_tensors, signed, tensors_checksum
from reid_core.component import Params
from reid_core.console import warn
from reid_core.contracts import Classes, SideValues
from reid_core.errors import ReidError, name_list
from reid_core.files import DAMAGED, atomic_path
from reid_core.image_formats import DECODER, other_decoder
from reid_core.network.classifiers import keys_of, renamed
from reid_core.network.model import ReIDModel, build_model
from reid_core.network.side import side_columns
from reid_core.params.field_facts import kept_in_weights
from reid_core.params.messages import validate
from reid_core.params.schema import ModelParams, RunParams
from reid_core.params.validation import check_model_params

FORMAT = 2
WITHOUT_CHECKSUMS = 1
"""The format before, which is read too; modules of classifiers had their bare keys as names."""

KEY = "reid_core"
"""The one metadata key: safetensors writes several in no fixed order, and our bytes repeat."""


class _Part(Params):
    """A part of the metadata: what loading needs of it; there is more in the file."""

    model_config = ConfigDict(extra="ignore")


class _Component(_Part):
    name: str


class _Network(_Part):
    backbone: _Component
    head: list[_Component]


class _Preprocessing(_Part):
    operations: list[dict[str, Any]]


class _Metadata(_Part):
    params: _Network
    preprocessing: _Preprocessing
    classes: list[tuple[str, str]]
    side: dict[str, list[tuple[str, int | str]]] = Field(default={})

    @field_validator("side")
    @classmethod
    def _once(
        cls, side: dict[str, list[tuple[str, int | str]]]
    ) -> dict[str, list[tuple[str, int | str]]]:
        """Refuse a value that stands for two numbers."""
        for name, values in side.items():
            if len(set(values)) != len(values):
                raise ValueError(f"'{name}' has a value twice")
        return side


@dataclass(frozen=True)
class WeightsFile:
    """What a weights file holds.

    Attributes:
        path: The file.
        tensors: By parameter name: ``backbone.*``, ``heads.*``, ``classifier.*``.
        metadata: Format, resolved params, preprocessing, embedding, classes, values of the
            columns that the backbone looks at, plugin versions, data hashes.
    """

    path: Path
    tensors: dict[str, Tensor]
    metadata: dict[str, Any]

    @property
    def classes(self) -> Classes:
        """Return (dataset, pid) of every class."""
        return tuple((dataset, pid) for dataset, pid in self.metadata["classes"])

    @property
    def side_values(self) -> SideValues:
        """Return what the numbers of each column stand for that the backbone looks at."""
        side = self.metadata.get("side", {})  # a file of before there were any has none
        return {
            name: tuple((dataset, value) for dataset, value in side[name]) for name in sorted(side)
        }


def save_weights(path: Path, model: ReIDModel, metadata: dict[str, Any]) -> None:
    """Write a model's weights with their metadata, whole or not at all; the bytes repeat.

    Raises:
        ReidError: The disk is full; the previous file is untouched.
    """
    # Copies, because tensors of two names may share their memory, which the format refuses.
    tensors = {
        name: tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
        for name, tensor in model.state_dict().items()
    }
    facts = {"format": FORMAT, **metadata, TENSORS_KEY: tensors_checksum(tensors)}
    text = json.dumps(signed(facts), sort_keys=True, ensure_ascii=False)
    content = save(tensors, metadata={KEY: text})
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def weights_metadata(
    params: RunParams,
    model: ReIDModel,
    input_size: tuple[int, int],
    classes: Classes,
    data_hashes: Mapping[str, str],
) -> dict[str, Any]:
    """Return what a weights file says of itself: no time and no path, so its bytes repeat.

    Args:
        params: Of the run.
        model: The network.
        input_size: (H, W) of its images, in pixels.
        classes: (dataset, pid) of each of its logits.
        data_hashes: Content hash of each train dataset, by its name in the run.
    """
    kept = kept_in_weights(params)
    height, width = input_size
    return {
        "params": kept,
        "preprocessing": {
            "color": "RGB",
            "decoder": dict(DECODER),
            "height": height,
            "width": width,
            "operations": [
                given
                for given, entry in zip(kept["augmentation"], params.augmentation, strict=True)
                if entry.component.use != "train"
            ],
        },
        "embedding": {
            "dim": model.embedding_dim,
            "branches": [spec.name for spec in model.branches if spec.in_test],
            **_compared_by(params),
        },
        "classes": [list(c) for c in classes],
        "side": {n: [list(value) for value in v] for n, v in model.side_values.items()},
        "plugins": params.plugins,
        "data": dict(data_hashes),
    }


def _compared_by(params: RunParams) -> dict[str, str | None]:
    """Return which vector the first evaluation ranks by, and with which distance."""
    if not params.evaluation:
        return {"output": "embedding", "distance": None}
    first = params.evaluation[0]
    outputs = first.names("outputs")
    return {
        "output": next((name for name in outputs if name != "logits"), "embedding"),
        "distance": first.distance.bare_name if first.distance else None,
    }


def read_weights(path: Path) -> WeightsFile:
    """Read a weights file.

    Raises:
        ReidError: The file is missing, damaged, no safetensors file, was not written by this
            version of reid-core, or its metadata lack what loading needs.
    """
    if not path.is_file():
        raise ReidError(f"{path}: no such weights file")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, *DAMAGED) as error:
        raise ReidError(
            f"{path}: not a weights file (safetensors): {error}; training writes "
            "weights/best.safetensors into the run directory"
        ) from None
    try:
        content = json.loads(metadata[KEY])
        version = content["format"]
    except (KeyError, ValueError, TypeError, RecursionError):
        raise ReidError(f"{path}: a safetensors file, but not one of reid-core") from None
    _check_content(path, version, content, tensors)
    problems: list[str] = []
    if validate(_Metadata, content, problems) is None:
        raise ReidError(
            f"{path}: its metadata cannot be used: {'; '.join(problems)}. Take another copy of the "
            "file, or train again"
        )
    return WeightsFile(path, renamed(tensors) if version == WITHOUT_CHECKSUMS else tensors, content)


def _check_content(path: Path, version: Any, content: Any, tensors: dict[str, Tensor]) -> None:
    """Compare the file with its checksums; say so where it is too old to have any.

    Raises:
        ReidError: It is of another format, or damaged.
    """
    if version == WITHOUT_CHECKSUMS:
        warn(f"{path}: weights of an older version, without checksums; damage is not noticed")
    elif version != FORMAT:
        raise ReidError(f"{path}: weights of format {version}; this version reads {FORMAT}")
    else:
        try:
            check_tensors(content, tensors)
        except DAMAGED as error:
            raise ReidError(
                f"{path}: the weights file is damaged: {error}; take another copy of it, or train "
                "again"
            ) from None


def _check_side(weights: WeightsFile, columns: tuple[str, ...]) -> None:
    """Raise ReidError if the backbone looks at other columns than the file has values of."""
    if weights.side_values.keys() != set(columns):
        backbone = weights.metadata["params"]["backbone"]["name"]
        raise ReidError(
            f"{weights.path}: the backbone '{backbone}' looks at the columns {name_list(columns)}, "
            f"and the file has the values of {name_list(weights.side_values)}; install the "
            "version of the plugin that the file was trained with, or train again"
        )


def load_model(weights: WeightsFile, catalog: Catalog) -> tuple[ReIDModel, ModelParams]:
    """Build the model that a weights file describes, with its weights, in evaluation mode.

    A warning says if its images were decoded by other rules than today's.

    Only the parts in use need to be installed: no augmentation but the preprocessing, no loss.

    Returns:
        The model, and its params with the preprocessing as their ``augmentation``.

    Raises:
        ReidError: A component is not installed, the backbone looks at other columns than it did,
            or the tensors do not fit.
    """
    operations = weights.metadata["preprocessing"]["operations"]
    sections = {**weights.metadata["params"], "augmentation": operations}
    params = check_model_params(sections, catalog, str(weights.path))
    _check_side(weights, side_columns(params.backbone))
    if difference := other_decoder(weights.metadata["preprocessing"].get("decoder")):
        warn(f"{weights.path}: {difference}")
    with torch.device("meta"):
        model = build_model(params, len(weights.classes), weights.side_values)
        model.add_classifiers(
            keys_of(weights.tensors),
            bias=params.classifier.bias,
            init_std=params.classifier.init_std,
        )
    try:
        model.load_state_dict(weights.tensors, assign=True)
    except RuntimeError as error:
        first = " ".join(str(error).split())[:300]
        raise ReidError(f"{weights.path}: the tensors do not fit the model: {first}") from None
    if unread := [n for n, b in model.named_buffers() if b.is_meta]:
        raise ReidError(
            f"{weights.path}: {name_list(unread)}: a plugin keeps this buffer out of the weights "
            "(persistent=False), so it cannot be restored; its plugin must make it persistent"
        )
    return model.eval(), params

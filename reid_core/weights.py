"""The weights file: one safetensors file that can be used alone."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from reid_core.catalog import Catalog
from reid_core.errors import ReidError, name_list
from reid_core.files import atomic_path
from reid_core.model import ReIDModel, build_model
from reid_core.params import check_model_params
from reid_core.schema import ModelParams

FORMAT = 1
KEY = "reid_core"
"""The one metadata key: safetensors writes several in no fixed order, and our bytes repeat."""


@dataclass(frozen=True)
class WeightsFile:
    """What a weights file holds.

    Attributes:
        path: The file.
        tensors: By parameter name: ``backbone.*``, ``heads.*``, ``classifier.*``.
        metadata: Format, resolved params, preprocessing, embedding, classes, plugin
            versions, data hashes.
    """

    path: Path
    tensors: dict[str, Tensor]
    metadata: dict[str, Any]

    @property
    def classes(self) -> tuple[tuple[str, str], ...]:
        """Return (dataset, pid) of every class."""
        return tuple((dataset, pid) for dataset, pid in self.metadata["classes"])


def save_weights(path: Path, model: ReIDModel, metadata: dict[str, Any]) -> None:
    """Write a model's weights with their metadata, whole or not at all; the bytes repeat.

    Raises:
        ReidError: The disk is full; the previous file is untouched.
    """
    tensors = {n: t.detach().cpu().contiguous() for n, t in model.state_dict().items()}
    text = json.dumps({"format": FORMAT, **metadata}, sort_keys=True, ensure_ascii=False)
    content = save(tensors, metadata={KEY: text})
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def read_weights(path: Path) -> WeightsFile:
    """Read a weights file.

    Raises:
        ReidError: The file is missing, damaged, no safetensors file, or was not written
            by this version of reid-core.
    """
    if not path.is_file():
        raise ReidError(f"{path}: no such weights file")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ReidError(
            f"{path}: not a weights file (safetensors): {error}; training writes "
            "weights/best.safetensors into the run directory"
        ) from None
    try:
        content = json.loads(metadata[KEY])
    except (KeyError, ValueError):
        raise ReidError(f"{path}: a safetensors file, but not one of reid-core") from None
    if content.get("format") != FORMAT:
        raise ReidError(
            f"{path}: weights of format {content.get('format')}; this version reads {FORMAT}"
        )
    return WeightsFile(path, tensors, content)


def load_model(weights: WeightsFile, catalog: Catalog) -> tuple[ReIDModel, ModelParams]:
    """Build the model that a weights file describes, with its weights, in evaluation mode.

    Raises:
        ReidError: A component is not installed, or the tensors do not fit.
    """
    params = check_model_params(weights.metadata["params"], catalog, str(weights.path))
    with torch.device("meta"):
        model = build_model(params, catalog, len(weights.classes))
        keys = {n.split(".")[1] for n in weights.tensors if n.startswith("classifier.")}
        model.add_classifiers(
            keys, bias=params.classifier.bias, init_std=params.classifier.init_std
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


def load_snapshot(
    weights: WeightsFile, model: ReIDModel, classes: tuple[tuple[str, str], ...]
) -> list[str]:
    """Start a new training from a weights file (``pretrain_snapshot``).

    Classifiers are taken only when the class lists are equal: a row means a person.

    Args:
        weights: The file.
        model: Receives the weights.
        classes: (dataset, pid) of the new training.

    Returns:
        What was loaded and what was not, as lines to print.

    Raises:
        ReidError: Nothing fits, or tensors of one name differ in shape.
    """
    same_classes = weights.classes == classes
    tensors = {
        name: tensor
        for name, tensor in weights.tensors.items()
        if same_classes or not name.startswith("classifier.")
    }
    own = model.state_dict()
    common = sorted(set(tensors) & set(own))
    wrong = [n for n in common if tensors[n].shape != own[n].shape]
    if wrong:
        n = wrong[0]
        raise ReidError(
            f"{weights.path}: {len(wrong)} tensors differ in shape, e.g. {n}: the file has "
            f"{tuple(tensors[n].shape)}, the model {tuple(own[n].shape)}; use the same backbone "
            "and head params as the file's"
        )
    if not common:
        raise ReidError(f"{weights.path}: no tensor of the file fits this model")
    model.load_state_dict({name: tensors[name] for name in common}, strict=False)
    lines = [f"{weights.path}: loaded {len(common)} tensors"]
    missing = sorted(set(own) - set(common))
    if missing:
        lines.append(f"  newly initialised: {name_list(missing, 4)}")
    if not same_classes:
        lines.append(
            f"  classifiers left out: the file knows {len(weights.classes)} identities, this "
            f"training {len(classes)}, and the lists differ"
        )
    return lines

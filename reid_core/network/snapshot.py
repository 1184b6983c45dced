"""Start a new training from a weights file: what of it fits, and what is said of the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from reid_core.contracts import Classes
from reid_core.errors import ReidError, name_list
from reid_core.network.model import ReIDModel
from reid_core.network.weights import WeightsFile


def load_snapshot(weights: WeightsFile, model: ReIDModel, classes: Classes) -> list[str]:
    """Start a new training from a weights file (``pretrain_snapshot``).

    The backbone must be the file's. A head or a classifier is taken whole or not at all;
    classifiers only when the class lists are equal: a row means a person.

    Args:
        weights: The file.
        model: Receives the weights.
        classes: (dataset, pid) of the new training.

    Returns:
        What was loaded and what was not, as lines to print.

    Raises:
        ReidError: The backbone is another one.
    """
    params = weights.metadata["params"]
    heads = [_bare_name(entry) for entry in params["head"]]
    theirs = _by_part(weights.tensors, _bare_name(params["backbone"]), heads)
    own = _by_part(model.state_dict(), model.backbone_name, model.head_names)
    _check_backbone(weights, model, theirs, own)
    same_classes = weights.classes == classes
    if not same_classes:
        theirs = {p: t for p, t in theirs.items() if not p.startswith("classifier.")}
    differences = {part: _difference(theirs[part], own[part]) for part in theirs.keys() & own}
    fitting = [part for part in own if differences.get(part) == ""]
    tensors = {name: tensor for part in fitting for name, tensor in theirs[part].items()}
    model.load_state_dict(tensors, strict=False)
    lines = [f"{weights.path}: loaded {len(tensors)} tensors: {', '.join(fitting)}"]
    for part in [part for part in theirs if part not in fitting]:
        reason = f": {differences[part]}" if part in differences else ""
        lines.append(f"  left out: {part}{reason}")
    if fresh := [part for part in own if part not in fitting]:
        lines.append(f"  newly initialised: {', '.join(fresh)}")
    for name in model.side:
        if weights.side_values.get(name) != model.side_values[name]:
            lines.append(
                f"  '{name}': the numbers of the file stand for other values than this training's; "
                "what the backbone has learned of a number is taken as it is"
            )
    if not same_classes:
        lines.append(
            f"  classifiers left out: the file knows {len(weights.classes)} identities, this "
            f"training {len(classes)}, and the lists differ"
        )
    return lines


_Parts = dict[str, dict[str, Tensor]]
"""Tensors by the part that they belong to: ``backbone (resnet18)``, ``heads.0 (global)``, ..."""


def _by_part(tensors: Mapping[str, Tensor], backbone: str, heads: Sequence[str]) -> _Parts:
    """Group a model's tensors by part."""
    names = {"backbone": backbone, **{f"heads.{i}": name for i, name in enumerate(heads)}}
    parts: _Parts = {}
    for name, tensor in tensors.items():
        part = ".".join(name.split(".")[: 1 if name.startswith("backbone.") else 2])
        label = f"{part} ({names[part]})" if part in names else part
        parts.setdefault(label, {})[name] = tensor
    return parts


def _bare_name(entry: Mapping[str, Any]) -> str:
    return str(entry["name"]).rpartition(":")[2]


def _check_backbone(weights: WeightsFile, model: ReIDModel, theirs: _Parts, own: _Parts) -> None:
    """Refuse a file of another backbone, also where some or all of its tensors would fit."""
    name = _bare_name(weights.metadata["params"]["backbone"])
    if name != model.backbone_name:
        raise ReidError(
            f"{weights.path}: weights of the backbone '{name}', and this training's is "
            f"'{model.backbone_name}'; name another file, or train '{name}'"
        )
    part = f"backbone ({name})"
    if difference := _difference(theirs.get(part, {}), own.get(part, {})):
        raise ReidError(
            f"{weights.path}: {part}: {difference}; use the same backbone params as the file's"
        )


def _difference(theirs: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> str:
    """Say why a part's tensors in the file do not fit the model's; empty: they do."""
    if unknown := theirs.keys() - own.keys():
        return f"the model lacks {name_list(unknown, 4)}"
    if missing := own.keys() - theirs.keys():
        return f"the file lacks {name_list(missing, 4)}"
    wrong = [name for name in own if theirs[name].shape != own[name].shape]
    if not wrong:
        return ""
    n = wrong[0]
    return (
        f"{len(wrong)} tensors differ in shape, e.g. {n}: the file has {tuple(theirs[n].shape)}, "
        f"the model {tuple(own[n].shape)}"
    )

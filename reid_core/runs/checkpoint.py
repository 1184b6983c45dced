"""The training state on disk: everything that a resumed run needs to continue to the same bytes."""

from __future__ import annotations

import io
import pickle
import random
import re
import zipfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from reid_core.errors import ReidError
from reid_core.files import DAMAGED, atomic_path
from reid_core.runs.checkpoint_form import check_form, check_optimizer, check_tensors
from reid_core.training.relabelling import relabel
from reid_core.training.state import Training

FORMAT = "reid-core checkpoint 3"


def save_checkpoint(
    path: Path, training: Training, log_bytes: int, callbacks: Mapping[str, Any]
) -> None:
    """Write the training state, whole or not at all.

    Args:
        path: The checkpoint file.
        training: What to save.
        log_bytes: Length of metrics.jsonl that belongs to this state.
        callbacks: State of every callback, by its name.

    Raises:
        ReidError: The disk is full; the previous checkpoint is untouched.
    """
    content = {
        "format": FORMAT,
        "module": training.module.state_dict(),
        "optimizer": training.optimizer.state_dict(),
        "state": asdict(training.state),
        "steps_per_epoch": len(training.batches),
        "labels": torch.from_numpy(training.labels) if training.is_relabelled else None,
        "callbacks": dict(callbacks),
        "rng": _rng_state(),
        "log_bytes": log_bytes,
    }
    # Into memory first: torch reports a full disk as a RuntimeError without a number.
    buffer = io.BytesIO()
    torch.save(content, buffer)
    with atomic_path(path) as temporary:
        temporary.write_bytes(buffer.getbuffer())


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint without ever running code from it.

    Raises:
        ReidError: The file is truncated, is no checkpoint of this version, or holds
            pickled objects, which are refused.
    """
    try:
        _check_members(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        objects = ", ".join(dict.fromkeys(re.findall(r"GLOBAL (\S+)", str(error)))) or "objects"
        raise ReidError(
            f"{path}: refused: it holds pickled objects ({objects}), which could run code when "
            "loaded; a checkpoint of reid-core holds none"
        ) from None
    except zipfile.BadZipFile:
        raise ReidError(
            f"{path}: not a readable checkpoint: it is truncated or of another kind"
        ) from None
    except DAMAGED as error:
        reason = str(error).partition("\n")[0]
        raise ReidError(f"{path}: not a readable checkpoint: {reason}") from None
    found = content.get("format") if isinstance(content, dict) else None
    if found != FORMAT:
        raise ReidError(
            f"{path}: not a checkpoint of this version of reid-core (expected '{FORMAT}', "
            f"found {found!r}); weights files go to 'pretrain_snapshot' or to reid evaluate"
        )
    check_form(content, path)
    return dict(content)


def _check_members(path: Path) -> None:
    """Compare every member of the file with its checksum, which torch does not do.

    Raises:
        ReidError: One differs.
        ValueError: A member is there twice, or would become larger than the file.
    """
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        if len({member.filename for member in members}) < len(members):
            raise ValueError("a member of it is there twice")
        if any(member.compress_type != zipfile.ZIP_STORED for member in members):
            raise ValueError("a member of it is compressed, as torch.save leaves none")
        if damaged := archive.testzip():
            raise ReidError(f"{path}: not a readable checkpoint: '{damaged}' in it is damaged")


def restore(content: dict[str, Any], training: Training, source: Path) -> None:
    """Put a checkpoint's content into the parts of a training run.

    Raises:
        ReidError: The checkpoint belongs to another model, optimizer or loss.
    """
    steps, found = len(training.batches), content["steps_per_epoch"]
    if steps != found:
        raise ReidError(
            f"{source}: an epoch had {found} steps, now it has {steps}: the data or the sampler "
            "changed, and the run cannot be continued"
        )
    if content["labels"] is not None:
        _check_labels(content["labels"], training, source)
        relabel(training, content["labels"].numpy())
    check_tensors(content, training.module, source)
    try:
        training.module.load_state_dict(content["module"])
        training.optimizer.load_state_dict(content["optimizer"])
    except DAMAGED as error:
        first = " ".join(str(error).split())[:300]
        raise ReidError(f"{source}: does not fit the model of these params: {first}") from None
    check_optimizer(training.optimizer, source)
    for name, value in content["state"].items():
        setattr(training.state, name, value)
    training.state.history = [(int(e), float(s)) for e, s in content["state"]["history"]]
    try:
        _set_rng_state(content["rng"])
    except DAMAGED as error:
        raise ReidError(
            f"{source}: not a usable checkpoint: 'rng' is no state of the random generators "
            f"({error}); take another copy of the file, or start a new run"
        ) from None


def _check_labels(labels: torch.Tensor, training: Training, source: Path) -> None:
    """Refuse labels that are not one whole number for each image.

    Raises:
        ReidError: They are something else.
    """
    shape = training.labels.shape
    if labels.dtype != torch.int64 or tuple(labels.shape) != shape or bool((labels < -1).any()):
        raise ReidError(
            f"{source}: not a usable checkpoint: 'labels' is {labels.dtype} of shape "
            f"{tuple(labels.shape)}, not one label for each of {shape[0]} images; take another "
            "copy of the file, or start a new run"
        )


def _rng_state() -> dict[str, Any]:
    """Return the global generators' states as tensors and numbers."""
    _, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)  # type: ignore[misc]
    version, words, next_gauss = random.getstate()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": torch.from_numpy(np.asarray(keys).astype(np.int64)),
        "numpy_rest": [int(position), int(has_gauss), float(gauss)],
        "python": torch.tensor(words, dtype=torch.int64),
        "python_rest": [version, next_gauss],
    }


def _set_rng_state(state: dict[str, Any]) -> None:
    torch.set_rng_state(state["torch"])
    if state["cuda"] and torch.cuda.device_count() == len(state["cuda"]):
        torch.cuda.set_rng_state_all(state["cuda"])
    keys = state["numpy"].numpy().astype(np.uint32)
    np.random.set_state(("MT19937", keys, *state["numpy_rest"]))
    version, next_gauss = state["python_rest"]
    random.setstate((version, tuple(state["python"].tolist()), next_gauss))

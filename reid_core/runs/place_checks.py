"""What params name on this machine, files, folders, devices, and is not there."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from reid_core.component import is_path
from reid_core.errors import ReidError
from reid_core.files import user_path
from reid_core.nearby import nearby
from reid_core.params.entries import CallbackEntry, LoggerEntry
from reid_core.params.schema import DatasetEntry, EvalParams
from reid_core.run_directory import PARAMS

MADE = frozenset({"store", "working_dir", "output_dir"})
"""Fields of the core's own models that name what is made where it is not there yet."""


def missing_places(sections: Mapping[str, Any]) -> Iterator[str]:
    """Yield a problem for everything that is named and not there.

    Args:
        sections: Sections of ``RunParams`` or ``EvalParams`` that are right, by name.
    """
    for name, section in sections.items():
        if name in EvalParams.model_fields:
            field = EvalParams.model_fields[name]
            if is_path(field) and name not in MADE:
                yield from _missing(section, name)
        yield from _missing_within(section, name)
    yield from _missing_weights(sections.get("run"))
    devices = {
        "device": sections.get("device"),
        "compute.device": getattr(sections.get("compute"), "device", None),
        "train.device": getattr(sections.get("train"), "device", None),
    }
    for key, device in devices.items():
        if device and device.startswith("cuda"):
            yield from _missing_device(key, device)


def _missing_within(value: Any, place: str) -> Iterator[str]:
    """Yield what is missing of the paths in a section, by the place that names it."""
    if isinstance(value, CallbackEntry | LoggerEntry):
        return  # these write where they are told to
    if isinstance(value, DatasetEntry) and value.store and os.path.isdir(user_path(value.store)):
        return  # the images are read from the store
    if isinstance(value, BaseModel):
        for name, field in type(value).model_fields.items():
            inner = getattr(value, name)
            if is_path(field) and name not in MADE:
                yield from _missing(inner, f"{place}.{name}")
            else:
                yield from _missing_within(inner, f"{place}.{name}")
    elif isinstance(value, list | tuple):
        for position, item in enumerate(value):
            yield from _missing_within(item, f"{place}.{position}")
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from _missing_within(item, f"{place}.{name}")


def _missing(value: Any, place: str) -> Iterator[str]:
    """Yield which of the paths in the value of one field are not there."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _missing(item, f"{place}.{name}")
    elif isinstance(value, list | tuple):
        for position, item in enumerate(value):
            yield from _missing(item, f"{place}.{position}")
    elif isinstance(value, str):
        try:
            path = user_path(value)
        except ReidError as error:
            yield f"{place}: {error}"
            return
        if not os.path.exists(path):
            yield f"{place}: '{value}' is not there{nearby(path)}"


def _missing_weights(run: Any) -> Iterator[str]:
    """Yield a problem if a folder that is to be scored is no run, or has no weights yet."""
    path = Path(os.path.expanduser(run)) if isinstance(run, str) else None
    if path is None or not path.is_dir():
        return
    if not (path / PARAMS).is_file():
        yield f"run: '{run}' is no run directory ({PARAMS} is not in it)"
    elif not list((path / "weights").glob("*.safetensors")):
        yield f"run: '{run}' has no weights yet; let the training end an epoch to score"


def _missing_device(key: str, device: str) -> Iterator[str]:
    """Yield a problem if a GPU is not there; only then is torch imported."""
    from reid_core.compute.device import choose_device

    try:
        choose_device(device, key)
    except ReidError as error:
        yield str(error)

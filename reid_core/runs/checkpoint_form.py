"""What a checkpoint must hold, so that a wrong one is told before any part is changed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from reid_core.errors import ReidError

FORM: dict[str, Any] = {
    "module": dict,
    "optimizer": {"state": dict, "param_groups": list},
    "state": {
        **{"epoch": int, "step": int, "position": int, "accuracy": float},
        **{"accuracy_mean": Tensor, "history": list, "best": (float, int, type(None))},
        **{"unscored": bool, "ended_by": str},
    },
    "steps_per_epoch": int,
    "labels": (Tensor, type(None)),
    "callbacks": dict,
    "rng": {
        **{"torch": Tensor, "cuda": list, "numpy": Tensor, "numpy_rest": list},
        **{"python": Tensor, "python_rest": list},
    },
    "log_bytes": int,
}
"""Types of what a checkpoint holds; of an object, the types of its values by their names."""


def check_form(content: Mapping[str, Any], source: Path) -> None:
    """See that everything is there, and of its type.

    Raises:
        ReidError: Something is not; the text names its key.
    """
    if not (problem := _problem(content, FORM, "") or _pairs_problem(content["state"])):
        return
    raise ReidError(
        f"{source}: not a usable checkpoint: {problem}; take another copy of the file, or start "
        "a new run"
    )


def _problem(content: Mapping[str, Any], form: Mapping[str, Any], place: str) -> str:
    """Return what is wrong with the values of an object; empty: nothing."""
    for name, expected in form.items():
        key = f"{place}{name}"
        if name not in content:
            return f"'{key}' is missing"
        value: Any = content[name]
        kind: Any = dict if isinstance(expected, dict) else expected
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is int):
            return f"'{key}' is a {type(value).__name__}"
        if kind is int and value < 0:
            return f"'{key}' is {value}"
        if isinstance(expected, dict) and (inner := _problem(value, expected, f"{key}.")):
            return inner
    return ""


def _pairs_problem(state: Mapping[str, Any]) -> str:
    """Return what is wrong with the scores so far, pairs of an epoch and a number."""
    for pair in state["history"]:
        if not (
            isinstance(pair, list | tuple)
            and len(pair) == 2
            and all(isinstance(number, int | float) for number in pair)
        ):
            return f"'state.history' holds {pair!r}, which is no epoch with its score"
    return ""


def check_tensors(content: Mapping[str, Any], module: torch.nn.Module, source: Path) -> None:
    """See that the weights are of the types of a module; torch would convert them in silence.

    Raises:
        ReidError: One is of another type, or none at all.
    """
    for name, own in module.state_dict().items():
        found = content["module"].get(name, own)
        kind = str(found.dtype) if isinstance(found, Tensor) else type(found).__name__
        if kind != str(own.dtype):
            raise ReidError(
                f"{source}: not a usable checkpoint: 'module.{name}' is of type {kind}, not "
                f"{own.dtype}; take another copy of the file, or start a new run"
            )


def check_optimizer(optimizer: torch.optim.Optimizer, source: Path) -> None:
    """See that what an optimizer keeps of each parameter, just loaded, has the parameter's shape.

    Raises:
        ReidError: It has not, so that the next step would fail.
    """
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for number, parameter in enumerate(parameters):
        for name, value in optimizer.state.get(parameter, {}).items():
            if isinstance(value, Tensor) and value.dim() and value.shape != parameter.shape:
                raise ReidError(
                    f"{source}: not a usable checkpoint: 'optimizer.state.{number}.{name}' has the "
                    f"shape {tuple(value.shape)}, not {tuple(parameter.shape)}; take another copy "
                    "of the file, or start a new run"
                )

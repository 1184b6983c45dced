"""The core of reid-core: a kernel that plugins import, and the engine in rooms.

The files directly in this folder are the kernel: hook specs, components, contracts, catalog; they
load no torch. The folders are the rooms, each of which imports only rooms below it: ``params``,
``compute``, ``storage``, ``data``, ``network`` and ``features``, ``training``, ``evaluation``,
``runs``. Above them stand ``api``, whose functions this package gives away by name
(``reid_core.load_model``), and ``testing``, the contract tests for authors of plugins.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from reid_core.component import (
    AugmentationComponent,
    BackboneComponent,
    Component,
    DistanceComponent,
    EvaluatorComponent,
    LossComponent,
    ObjectiveComponent,
    Params,
    PathText,
    PostprocessComponent,
    SamplerComponent,
    ScheduleComponent,
    TranslatorComponent,
)
from reid_core.errors import ReidError
from reid_core.hookspecs import hookimpl

if TYPE_CHECKING:
    from reid_core.api.commands import command as command
    from reid_core.api.comparing import distance_matrix as distance_matrix
    from reid_core.api.comparing import evaluate as evaluate
    from reid_core.api.components import build as build
    from reid_core.api.models import load_model as load_model
    from reid_core.api.ranking import rank as rank
    from reid_core.api.runs import load_features as load_features
    from reid_core.api.runs import load_run as load_run

__all__ = [
    "AugmentationComponent",
    "BackboneComponent",
    "Component",
    "DistanceComponent",
    "EvaluatorComponent",
    "LossComponent",
    "ObjectiveComponent",
    "Params",
    "PathText",
    "PostprocessComponent",
    "ReidError",
    "SamplerComponent",
    "ScheduleComponent",
    "TranslatorComponent",
    "hookimpl",
]

_FRONT_DOOR = {
    "build": "components",
    "command": "commands",
    "distance_matrix": "comparing",
    "evaluate": "comparing",
    "load_features": "runs",
    "load_model": "models",
    "load_run": "runs",
    "rank": "ranking",
}
"""The functions of the front door, and the file of ``api`` that is loaded for each."""


def __getattr__(name: str) -> Any:
    """Return a function of the front door; only what it needs is imported, and only then."""
    if name not in _FRONT_DOOR:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(importlib.import_module(f"{__name__}.api.{_FRONT_DOOR[name]}"), name)


def __dir__() -> list[str]:
    """Return what the package offers, the front door included."""
    return sorted({*globals(), *_FRONT_DOOR})

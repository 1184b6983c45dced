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

if TYPE_CHECKING:
    from reid_core.api.commands import command as command
    from reid_core.api.comparing import distance_matrix as distance_matrix
    from reid_core.api.comparing import evaluate as evaluate
    from reid_core.api.components import build as build
    from reid_core.api.models import load_model as load_model
    from reid_core.api.ranking import rank as rank
    from reid_core.api.runs import load_features as load_features
    from reid_core.api.runs import load_run as load_run
    from reid_core.component import AugmentationComponent as AugmentationComponent
    from reid_core.component import BackboneComponent as BackboneComponent
    from reid_core.component import Component as Component
    from reid_core.component import DistanceComponent as DistanceComponent
    from reid_core.component import EvaluatorComponent as EvaluatorComponent
    from reid_core.component import LossComponent as LossComponent
    from reid_core.component import ObjectiveComponent as ObjectiveComponent
    from reid_core.component import Params as Params
    from reid_core.component import PathText as PathText
    from reid_core.component import PostprocessComponent as PostprocessComponent
    from reid_core.component import SamplerComponent as SamplerComponent
    from reid_core.component import ScheduleComponent as ScheduleComponent
    from reid_core.component import TranslatorComponent as TranslatorComponent
    from reid_core.errors import ReidError as ReidError
    from reid_core.hookspecs import hookimpl as hookimpl

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

_KERNEL = {**dict.fromkeys(__all__, "component"), "ReidError": "errors", "hookimpl": "hookspecs"}
"""What plugins are written with, and the file of the kernel that each is in."""

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
    """Return a word of the kernel or of the front door; only what it needs is imported, then."""
    if name in _KERNEL:
        return getattr(importlib.import_module(f"{__name__}.{_KERNEL[name]}"), name)
    if name in _FRONT_DOOR:
        return getattr(importlib.import_module(f"{__name__}.api.{_FRONT_DOOR[name]}"), name)
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")


def __dir__() -> list[str]:
    """Return what the package offers, whether it has been imported yet or not."""
    return sorted({*globals(), *_KERNEL, *_FRONT_DOOR})

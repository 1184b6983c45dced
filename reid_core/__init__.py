"""The core of reid-core: a kernel that plugins import, and the engine in rooms.

The files directly in this folder are the kernel: hook specs, components, contracts, catalog; they
load no torch. The folders are the rooms, each of which imports only rooms below it: ``params``,
``compute``, ``data``, ``network`` and ``features``, ``training``, ``evaluation``, ``runs``.
"""

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

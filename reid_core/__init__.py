"""The core of reid-core: hook specs, contracts and the params schema; importing it is cheap.

The heavy half (store, data, model, training, run directory) lives in modules that import
torch and are imported when a command needs them.
"""

from reid_core.component import (
    AugmentationComponent,
    Component,
    DistanceComponent,
    EvaluatorComponent,
    LossComponent,
    Params,
    PathText,
    PostprocessComponent,
    ScheduleComponent,
    TranslatorComponent,
)
from reid_core.errors import ReidError
from reid_core.hookspecs import hookimpl

__all__ = [
    "AugmentationComponent",
    "Component",
    "DistanceComponent",
    "EvaluatorComponent",
    "LossComponent",
    "Params",
    "PathText",
    "PostprocessComponent",
    "ReidError",
    "ScheduleComponent",
    "TranslatorComponent",
    "hookimpl",
]

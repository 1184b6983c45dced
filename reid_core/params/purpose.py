"""What a params file is for: a training or an evaluation; and what to do with the other one."""

from __future__ import annotations

import shlex
from pathlib import Path

from reid_core.catalog import Catalog
from reid_core.contracts import ParamsKind
from reid_core.errors import ReidError
from reid_core.params.json_file import Raw
from reid_core.params.recognition import recognitions
from reid_core.params.schema import RunParams

SOURCES = ("run", "weights", "features")
"""Keys of eval_params.json that say what is scored."""

OF_TRAINING = frozenset(n for n, field in RunParams.model_fields.items() if field.is_required())
"""Sections that params.json must have, and eval_params.json has none of."""


def purpose_of(raw: Raw, catalog: Catalog) -> ParamsKind:
    """Return what an object is meant as, also where it lacks what makes it one.

    Args:
        raw: The object as read from JSON.
        catalog: Whose translators are asked about other systems' files.
    """
    if recognitions(raw, "run", catalog, []):
        return "run"
    ours = any(key in raw for key in SOURCES) or ("targets" in raw and "data" not in raw)
    return "eval" if ours or recognitions(raw, "eval", catalog, []) else "run"


def check_purpose(raw: Raw, wanted: ParamsKind, path: Path, catalog: Catalog) -> None:
    """Refuse a file that is plainly for the other purpose.

    Raises:
        ReidError: The message names the command that takes it.
    """
    if recognitions(raw, wanted, catalog, []):
        return
    file = shlex.quote(str(path))
    is_training = bool(OF_TRAINING & raw.keys())
    purpose = purpose_of(raw, catalog) if raw else wanted
    if wanted == "run" and purpose == "eval" and not is_training:
        raise ReidError(
            f"{path}: an eval_params.json, which says what is scored and how; score by it with: "
            f"reid evaluate {file}"
        )
    if (
        wanted == "eval"
        and purpose == "run"
        and (is_training or recognitions(raw, "run", catalog, []))
    ):
        raise ReidError(
            f"{path}: a params.json, which says how a training is done; train by it with: reid "
            f"train {file}; score a run that it has trained with: reid train --operation evaluate "
            "--sub_working_dir RUN"
        )

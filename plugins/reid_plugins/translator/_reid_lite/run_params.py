"""Translate the predecessor's params.json (pytorch-reid-lite) into ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reid_core.contracts import Translation
from reid_plugins.translator._reid_lite.data import augmentation, data, sampler
from reid_plugins.translator._reid_lite.eval_params import CLASSIFICATION, ON_VAL, market_evaluate
from reid_plugins.translator._reid_lite.keys import (
    OPTIMIZERS,
    RUN_KEYS,
    RUN_ONLY,
)
from reid_plugins.translator._reid_lite.losses import classifier, losses
from reid_plugins.translator._reid_lite.model import backbone, head
from reid_plugins.translator._reid_lite.reading import Json, Reading
from reid_plugins.translator._reid_lite.readme import in_places_of_the_code

OURS = frozenset({"data", "backbone", "head"})
"""Sections that every params.json of ours has."""


def is_run(raw: Mapping[str, Any]) -> bool:
    """Return whether a JSON object is a params.json of the predecessor."""
    return bool(RUN_ONLY & raw.keys()) and not OURS & raw.keys()


def translate_run(raw: Mapping[str, Any], source: str) -> Translation:
    """Translate the predecessor's params.json.

    Args:
        raw: The JSON object; it is not changed.
        source: Name for messages, usually the file's path.

    Raises:
        ParamsError: With all problems: unknown, missing and wrong keys, absent features.
    """
    moved, notes, problems = in_places_of_the_code(raw)
    return Reading(moved, RUN_KEYS, notes, problems).translation(_run_params, source)


def _run_params(r: Reading) -> Json:
    """Return our params.json."""
    return {
        "data": data(r),
        "backbone": backbone(r),
        "head": [head(r)],
        "classifier": classifier(r),
        "loss": losses(r),
        "sampler": sampler(r),
        "augmentation": augmentation(r),
        "optimizer": _optimizer(r),
        "schedule": _schedule(r),
        "train": _train(r),
        "evaluation": _evaluation(r),
        "working_dir": _working_dir(r),
    }


def _in_our_epochs(r: Reading, name: str) -> Any:
    """Return epochs of the predecessor in ours: with its PK sampler it multiplied them by 5."""
    factor = 5 if r["batch_sampling_params.class_balanced"] else 1
    value = r[name]
    return [factor * item for item in value] if isinstance(value, list) else factor * value


def _note_epochs(r: Reading, name: str, more: str = "") -> None:
    """Say how a number of epochs is counted, unless it is taken as it is."""
    value, ours = r[name], _in_our_epochs(r, name)
    times = f"{value} counts as {ours}: times 5 with class_balanced, as the predecessor did"
    text = "; ".join(part for part in (times if value != ours else "", more) if part)
    if text:
        r.note(name, text)


def _optimizer(r: Reading) -> Json:
    name, params = OPTIMIZERS[r["optimizer"]]
    if "momentum" in params:
        r.note("optimizer", f"momentum {params['momentum']}, which was in the predecessor's source")
    return {
        "name": name,
        "lr": r["lr.fc_lr"],
        "lr_backbone": r["lr.base_lr"],
        "weight_decay": r["weight_decay"],
        "params": params,
    }


def _schedule(r: Reading) -> Json:
    """Return the rate ``min(1, (epoch + 1) / warm-up) * gamma ** (milestones passed)``."""
    warmup = _in_our_epochs(r, "lr.warmup_epoch")
    milestones = sorted({warmup + step for step in _in_our_epochs(r, "lr.decay_step")})
    params: Json = {
        "milestones": milestones,
        "milestones_from": "start",
        "gamma": r["lr.decay_gamma"],
        "warmup_epochs": 0,
    }
    counted = f"with the warm-up added, milestones {milestones}"
    if r["batch_sampling_params.class_balanced"]:
        counted += (
            "; the README says that decay counts iterations with class_balanced, its code counts "
            "these epochs, and the code is followed"
        )
    _note_epochs(r, "lr.decay_step", counted)
    if warmup > 1:
        # Our line starts at the factor and reaches 1 after warmup_epochs; the predecessor's
        # started one step up and so reached 1 one epoch earlier.
        params |= {"warmup": "linear", "warmup_epochs": warmup - 1, "warmup_factor": 1 / warmup}
        _note_epochs(
            r, "lr.warmup_epoch", f"(epoch + 1) / {warmup} is warmup_epochs {warmup - 1} of ours"
        )
    return {"name": "multi_step", "params": params}


def _train(r: Reading) -> Json:
    return {
        "epochs": _epochs(r),
        "device": _device(r),
        "evaluate_every": _evaluate_every(r),
        "fine_tune": _fine_tune(r),
        "pretrain_snapshot": _snapshot(r),
    }


def _epochs(r: Reading) -> int:
    total = int(_in_our_epochs(r, "epochs") + _in_our_epochs(r, "lr.warmup_epoch"))
    _note_epochs(
        r,
        "epochs",
        f"with the warm-up added, training ends after {total}, where the predecessor went on for "
        "a million more. Override with --set train.epochs=...",
    )
    return total


def _device(r: Reading) -> str:
    gpus = r["parallels"]
    if len(gpus) != 1:
        r.refuse(
            "parallels",
            f"expected the number of one GPU, such as [0], got {gpus}; training on several is "
            "not in reid-core yet",
        )
    r.note(
        "parallels",
        f"{gpus} became device 'auto'; choose a GPU with CUDA_VISIBLE_DEVICES or "
        "--set train.device=cuda:<n>",
    )
    return "auto"


def _evaluate_every(r: Reading) -> int:
    if r["evaluation_params.type"] is None:
        r.drop("evaluation_params.epoch", "evaluation_params.type null switches evaluation off")
        return 0
    _note_epochs(r, "evaluation_params.epoch")
    return int(_in_our_epochs(r, "evaluation_params.epoch"))


def _evaluation(r: Reading) -> list[Json]:
    if r["evaluation_params.type"] is None:
        return []
    if r["evaluation_params.type"] == CLASSIFICATION:
        r.note("evaluation_params.type", ON_VAL)
        return [{"name": CLASSIFICATION}]
    r.note(
        "evaluation_params.type",
        "AP is the trapezoid and every query counts, as in the predecessor's source; mAP "
        "chooses the best model, where the predecessor took rank-1",
    )
    return [market_evaluate()]


def _fine_tune(r: Reading) -> bool:
    if r["fine_tune"]:
        r.note(
            "fine_tune",
            "the backbone's BN statistics stay fixed too; the predecessor's went on changing. The "
            "README says that only the last layer is trained; as in the code, all but the backbone "
            "is",
        )
        r.drop("lr.base_lr", "fine_tune freezes the backbone")
    return bool(r["fine_tune"])


def _snapshot(r: Reading) -> str | None:
    if not r["pretrain_snapshot"]:
        return None
    r.note(
        "pretrain_snapshot",
        "it must be a weights file of reid-core and must exist; the predecessor's state dicts "
        "name other modules and cannot be loaded",
    )
    return str(r["pretrain_snapshot"])


def _working_dir(r: Reading) -> str:
    r.note("working_dir", "kept; if it is another machine's, --set working_dir=...")
    return str(r["working_dir"])

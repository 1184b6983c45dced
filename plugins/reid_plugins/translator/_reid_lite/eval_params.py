"""Translate the predecessor's eval_params.json (pytorch-reid-lite) into ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reid_core.contracts import Translation
from reid_plugins.translator._reid_lite.keys import EVAL_KEYS, EVAL_ONLY
from reid_plugins.translator._reid_lite.reading import Json, Reading

OURS = frozenset({"run", "weights", "features"})
"""Keys of which every eval_params.json of ours has one."""

CLASSIFICATION = "classification_evaluate"
"""The other evaluator that the predecessor's README names."""

ON_VAL = (
    "accuracy of the classifiers on the split 'val', images of the training's identities; the "
    "predecessor's README names this evaluator, its source has none"
)
"""What becomes of it."""

REFINED = 50
"""Images of a ranking that the predecessor sorted again, junk included."""


def market_evaluate(refinement: float = 0) -> Json:
    """Return our evaluator with the protocol that the predecessor had in its source.

    Args:
        refinement: Temperature of the refinement of the ranking; 0 is none.
    """
    params = {
        "ap": "trapezoid",
        "denominator": "all",
        "junk_rule": "cross_camera",
        "output": "embedding",
    }
    entry: Json = {"name": "market_evaluate", "params": params, "distance": {"name": "cosine"}}
    if refinement:
        step = {"name": "spectral_refine", "params": {"k": REFINED, "temperature": refinement}}
        entry["postprocess"] = [step]
    return entry


def is_eval(raw: Mapping[str, Any]) -> bool:
    """Return whether a JSON object is an eval_params.json of the predecessor."""
    return bool(EVAL_ONLY & raw.keys()) and not OURS & raw.keys()


def translate_eval(raw: Mapping[str, Any], source: str) -> Translation:
    """Translate the predecessor's eval_params.json.

    Its data had a fixed place in the source, so the old vocabulary has no key for it: our
    own ``targets`` may stand beside the old keys, or come as an override afterwards.

    Args:
        raw: The JSON object; it is not changed.
        source: Name for messages, usually the file's path.

    Raises:
        ParamsError: With all problems: unknown, missing and wrong keys, absent features.
    """
    return Reading(raw, EVAL_KEYS).translation(_eval_params, source)


def _eval_params(r: Reading) -> Json:
    """Return our eval_params.json."""
    _note_changes(r)
    if r["benchmark_type"] == CLASSIFICATION:
        r.note("benchmark_type", ON_VAL)
        r.drop("spectral_transform", f"{CLASSIFICATION} ranks nothing")
        evaluation: Json = {"name": CLASSIFICATION}
    else:
        _note_ranking(r)
        evaluation = market_evaluate(r["spectral_transform"])
    params = {
        "weights": r["model_path"],
        "evaluation": [evaluation],
        "batch_size": r["batch_size"],
        "device": "auto",
    }
    if r.is_given("targets"):
        params["targets"] = r["targets"]
    return params


def _note_ranking(r: Reading) -> None:
    r.note(
        "benchmark_type",
        "AP is the trapezoid and every query counts, as in the predecessor's source",
    )
    if r["spectral_transform"]:
        r.note(
            "spectral_transform",
            f"temperature of spectral_refine over the first {REFINED} images, junk included, as "
            "in the predecessor's source",
        )


def _note_changes(r: Reading) -> None:
    r.note(
        "model_path",
        "it must be a weights file of reid-core (.safetensors); the predecessor's state dicts "
        "name other modules and cannot be loaded. Override with --set weights=...",
    )
    r.note("gpus", f"{r['gpus']} became device 'auto'; choose a GPU with --set device=cuda:<n>")
    if r["feature_path"]:
        r.drop("feature_path", "to score saved features, write 'features' instead of model_path")
    if not r.is_given("targets"):
        r.note(
            "targets",
            "missing: the predecessor had the data's place in its source; add our 'targets' to "
            'the file, or --set \'targets.market={"name": "market1501", "params": {"root": ...}}\'',
        )

"""The words of the predecessor's README that its code reads at another place, or not at all."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from typing import Any

from reid_plugins.translator._reid_lite.reading import Json

PLACES = {
    "batch_size": ("batch_sampling_params", "batch_size"),
    "epoch": ("", "epochs"),
    "tri_loss_margin": ("tri_loss_params", "margin"),
    "tri_loss_lambda_cls": ("tri_loss_params", "lambda_cls"),
}
"""Keys of the README's list, with the section and the word that the code has for each."""


def in_places_of_the_code(raw: Mapping[str, Any]) -> tuple[Json, list[str], list[str]]:
    """Move what is written as the README has it to where the code reads it.

    Args:
        raw: The JSON object; it is not changed.

    Returns:
        A copy in the code's words; notes on what was moved; problems, such as one value in both.
    """
    moved: Json = copy.deepcopy(dict(raw))
    notes: list[str] = []
    problems: list[str] = []
    for old, (section, word) in PLACES.items():
        node = moved.setdefault(section, {}) if section and old in moved else moved
        if old not in moved or not isinstance(node, dict):
            continue
        name = f"{section}.{word}" if section else word
        if word in node:
            problems.append(f"{old}: the README's name of {name}, which is given too; keep one")
            del moved[old]
            continue
        node[word] = moved.pop(old)
        notes.append(f"{old}: {json.dumps(node[word])}, the README's name, is {name} of the code")
    if "tri_loss_margin" in raw and isinstance(moved.get("tri_loss_params"), dict):
        moved["tri_loss_params"].setdefault("lambda_tri", 1)
    evaluation = moved.get("evaluation_params")
    if isinstance(evaluation, dict) and evaluation.get("type") == "None":
        evaluation["type"] = None
        notes.append('evaluation_params.type: "None", the README\'s word, is null of the code')
    return moved, notes, problems

"""The protocol card of ``market_evaluate``: its protocol in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from reid_core.contracts import Features
from reid_core.errors import counted
from reid_evaluate.distances.common_mean import NARROW
from reid_evaluate.protocols.rule_data import (
    CAMID,
    ColumnRule,
    JunkRule,
    columns_of,
    name_of,
    rule_of,
    words_of,
)
from reid_evaluate.ranking.rank_queries import TIE_RULE
from reid_plugins.evaluator._market_params import NAME

PROTOCOL_TEXT = {
    "market1501": "market1501: every image of the gallery",
    "cuhk03": "cuhk03: rank<k> is the mean over {draws} draws (seed {seed}) of a gallery with one "
    "image per identity; mAP and mINP are of the whole gallery",
    "no_camera": "no_camera: every image of the gallery",
}
AP_TEXT = {
    "standard": "standard: mean of the precision at each match",
    "trapezoid": "trapezoid: area under precision-recall, as the Market-1501 and Oxford code",
}
DENOMINATOR_TEXT = {
    "valid": "valid: left out of every mean",
    "all": "all: count as 0 in every mean",
}
COPIES_TEXT = (
    "own vector as nearest match: if it is a copy of the query under another "
    "name, the scores are too good; if not, the model maps different images to one point"
)
NARROW_TEXT = (
    "the mean of 1 - cosine over the gallery's pairs is {spread:g}, where float32 loses digits "
    "below {narrow:g}; the order of images may be rounding in part: subtract the mean of the "
    "features ('euclidean' does so itself, but steps of post-processing compare directions)"
)
RATES_TEXT = (
    "tpr@<rate>: pairs of one person below the largest threshold that accepts at most that share "
    "of the pairs of different persons; dir@<rate>: queries with a match whose nearest image is "
    "one and below the largest threshold that at most that share of the queries pass when the "
    "images of their person are taken away"
)

HELD_TEXT = "; those of tpr@<rate> hold the threshold, those of dir@<rate> find it anew"


def card_of(protocol: Mapping[str, Any]) -> dict[str, Any]:
    """Return the card.

    Args:
        protocol: From ``protocol_of``, or the same as it was read from a file.
    """
    copies, rates = protocol["identical_matches"], protocol["false_rates"]
    rule = rule_of(protocol["junk_rule"])
    return {
        "evaluator": protocol["evaluator"],
        "protocol": PROTOCOL_TEXT[protocol["protocol"]].format(**protocol.get("single_shot", {})),
        "ap": AP_TEXT[protocol["ap"]],
        "junk_rule": f"{name_of(rule)}: {words_of(rule)}",
        "queries_without_match": _without_match(protocol),
        "ties": TIE_RULE,
        "distance": _spelt(protocol["distance"], protocol["distance_params"]),
        "output": protocol["output"],
        "normalization": _normalization(protocol),
        "flip": protocol["data"].get("flip", "none"),
        "postprocessing": [_spelt(**step) for step in protocol["postprocess"]] or "none",
        **({"rates": RATES_TEXT} if rates else {}),
        "intervals": _intervals(protocol),
        "sizes": protocol["sizes"],
        "identical_matches": copies,
        **_warning(protocol),
        "data": protocol["data"] | ({"names": "row numbers"} if protocol["made_up_names"] else {}),
    }


def _warning(protocol: Mapping[str, Any]) -> dict[str, str]:
    """Say what may have made the scores wrong, if anything."""
    copies, spread = protocol["identical_matches"], protocol.get("direction_spread")
    queries = counted(copies, "query has its", "queries have their")
    texts = [f"{queries} {COPIES_TEXT}"] if copies else []
    if spread is not None:
        texts.append(NARROW_TEXT.format(spread=spread, narrow=NARROW))
    return {"warning": ". ".join(texts)} if texts else {}


def _without_match(protocol: Mapping[str, Any]) -> str:
    """Say what becomes of queries without a match under the junk rule, and how many there are."""
    sizes, text = protocol["sizes"], DENOMINATOR_TEXT[protocol["denominator"]]
    without = sizes["query"] - sizes["valid_queries"]
    if not without:
        return text
    return f"{text}; {without} of {sizes['query']} ({100 * without / sizes['query']:.3g} %)"


def _normalization(protocol: Mapping[str, Any]) -> str:
    """Say what happens to the length of the vectors."""
    if protocol["normalization"] == "L2":
        return "L2 per image, at evaluation; a zero vector stays zero"
    return (
        "none by the distance; steps of post-processing may" if protocol["postprocess"] else "none"
    )


def _spelt(name: str, params: Mapping[str, Any]) -> str:
    """Return a part and its params in one line."""
    text = ", ".join(f"{key}={value}" for key, value in params.items())
    return f"{name}({text})" if text else name


def _intervals(protocol: Mapping[str, Any]) -> str:
    """Say what the intervals are."""
    if protocol["intervals"] is None:
        return "none"
    return (
        "95 % bootstrap over queries, {draws} draws, seed {seed}; queries of one person are not "
        "independent, so they are rather too narrow"
    ).format(**protocol["intervals"]) + (HELD_TEXT if protocol["false_rates"] else "")


def no_match_message(query: Features, gallery: Features, rule: JunkRule) -> str:
    """Say why no query has a match and what to do about it."""
    usable = ~(np.asarray(gallery.junk) | np.asarray(gallery.distractor))
    candidates = np.asarray(gallery.pids, dtype=np.str_)[usable]
    shared = int(np.isin(np.asarray(query.pids, dtype=np.str_), candidates).sum())
    unknown = [_unknown(query, gallery, name) for name in (CAMID, *columns_of(rule))]
    if not shared:
        advice = "check that both splits hold the same identities, spelt alike"
    elif isinstance(rule, ColumnRule):
        advice = "an unknown value makes an image junk; check the columns, or name fewer of them"
    elif rule == "cross_camera":
        advice = (
            "set protocol to 'no_camera' (junk_rule 'exclude_self') for data without cameras, "
            "or junk_rule to 'none' if query and gallery share no image"
        )
    else:
        advice = "give each identity at least two images"
    return (
        f"{NAME}: junk_rule '{name_of(rule)}' leaves none of the {len(query.pids)} queries "
        f"a match: {shared} have their pid among the {len(candidates)} of "
        f"{len(gallery.pids)} gallery images that are neither junk nor distractor, and "
        f"{', '.join(unknown)}; {advice}"
    )


def _unknown(query: Features, gallery: Features, name: str) -> str:
    """Say how many images of both splits are unknown in a column."""
    sides = [f.camids if name == CAMID else f.columns[name] for f in (query, gallery)]
    values = np.concatenate(sides)
    strings = values.dtype.kind == "U"
    count = int(np.count_nonzero(values == "" if strings else values < 0))
    what = "camids" if name == CAMID else f"values of '{name}'"
    number = "all" if count == len(values) else f"{count} of {len(values)}"
    return f"{number} {what} are unknown ({'empty' if strings else '-1'})"

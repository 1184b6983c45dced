"""The protocol card of ``market_evaluate``: every choice and size behind the numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from reid_core.contracts import Features, NamedPart
from reid_evaluate.ranking.rank_queries import TIE_RULE, Ranking
from reid_plugins.evaluator.market_evaluate import JUNK_RULES, NAME, MarketParams

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
JUNK_TEXT = {
    "cross_camera": "cross_camera: images of the query's pid are removed unless both cameras "
    "are known and differ; images flagged junk are removed",
    "exclude_self": "exclude_self: the image with the query's name is removed, a copy under "
    "another name is not; images flagged junk are removed",
    "none": "none: only images flagged junk are removed",
}
DENOMINATOR_TEXT = {
    "valid": "valid: left out of every mean",
    "all": "all: count as 0 in every mean",
}
COPIES_TEXT = (
    "queries have their own vector as nearest match: if it is a copy of the query under another "
    "name, the scores are too good; if not, the model maps different images to one point"
)
RATES_TEXT = (
    "tpr@<rate>: pairs of one person below the largest threshold that accepts at most that share "
    "of the pairs of different persons; dir@<rate>: queries with a match whose nearest image is "
    "one and below the largest threshold that at most that share of the queries pass when the "
    "images of their person are taken away"
)

HELD_TEXT = "; those of tpr@<rate> hold the threshold, those of dir@<rate> find it anew"


def junk_rule(params: MarketParams) -> Any:
    """Return the junk rule that holds."""
    return params.junk_rule or JUNK_RULES[params.protocol]


def protocol_card(
    splits: Mapping[str, Features],
    ranking: Ranking,
    params: MarketParams,
    distance: NamedPart | None,
    postprocess: Sequence[NamedPart],
) -> dict[str, Any]:
    """Return the card."""
    query, gallery = splits["query"], splits["gallery"]
    data = _merged_meta(query.meta, gallery.meta)
    copies = int(ranking.copies.sum())
    text = PROTOCOL_TEXT[params.protocol]
    return {
        "evaluator": NAME,
        "protocol": text.format(draws=params.single_shot_draws, seed=params.seed),
        "ap": AP_TEXT[params.ap],
        "junk_rule": JUNK_TEXT[junk_rule(params)],
        "queries_without_match": DENOMINATOR_TEXT[params.denominator],
        "ties": TIE_RULE,
        "distance": _spelt(distance) if distance else "cosine",
        "output": params.output,
        "normalization": _normalization(distance, postprocess),
        "flip": data.get("flip", "none"),
        "postprocessing": [_spelt(step) for step in postprocess] or "none",
        **({"rates": RATES_TEXT} if params.false_rates else {}),
        "intervals": (
            f"95 % bootstrap over queries, {params.bootstrap_draws} draws, seed {params.seed}; "
            "queries of one person are not independent, so they are rather too narrow"
            f"{HELD_TEXT if params.false_rates else ''}"
            if params.bootstrap_draws
            else "none"
        ),
        "sizes": _sizes(query, gallery, ranking),
        "identical_matches": copies,
        **({"warning": f"{copies} {COPIES_TEXT}"} if copies else {}),
        "data": data,
    }


def _normalization(distance: NamedPart | None, postprocess: Sequence[NamedPart]) -> str:
    """Say what happens to the length of the vectors."""
    if distance is None or distance.part.normalizes:  # the default is the cosine
        return "L2 per image, at evaluation; a zero vector stays zero"
    return "none by the distance; steps of post-processing may" if postprocess else "none"


def _spelt(part: NamedPart) -> str:
    """Return a part and its params in one line."""
    params = ", ".join(f"{name}={value}" for name, value in part.params.items())
    return f"{part.name}({params})" if params else part.name


def _sizes(query: Features, gallery: Features, ranking: Ranking) -> dict[str, int]:
    """Count what was ranked; gallery_after is without the images flagged junk."""
    junk = int(np.count_nonzero(gallery.junk))
    cameras = np.unique(np.concatenate([query.camids, gallery.camids]))
    return {
        "query": len(query),
        "valid_queries": int(np.count_nonzero(ranking.num_matches)),
        "gallery_before": len(gallery),
        "gallery_after": len(gallery) - junk,
        "junk_images": junk,
        "distractors": int(np.count_nonzero(np.asarray(gallery.distractor) & ~gallery.junk)),
        "identities": len(np.unique(np.asarray(query.pids, dtype=np.str_))),
        "cameras": int(np.count_nonzero(cameras >= 0)),
    }


def _merged_meta(query: Mapping[str, Any], gallery: Mapping[str, Any]) -> dict[str, Any]:
    """Join the facts of both splits; where they differ, keep both under their split."""
    merged: dict[str, Any] = {**query, **gallery}
    for key in set(query) & set(gallery):
        if query[key] != gallery[key]:
            merged[key] = {"query": query[key], "gallery": gallery[key]}
    return merged


def no_match_message(query: Features, gallery: Features, rule: str) -> str:
    """Say why no query has a match and what to do about it."""
    usable = ~(np.asarray(gallery.junk) | np.asarray(gallery.distractor))
    candidates = np.asarray(gallery.pids, dtype=np.str_)[usable]
    shared = int(np.isin(np.asarray(query.pids, dtype=np.str_), candidates).sum())
    camids = np.concatenate([query.camids, gallery.camids])
    unknown = int(np.count_nonzero(camids < 0))
    if not shared:
        advice = "check that both splits hold the same identities, spelt alike"
    elif rule == "cross_camera":
        advice = (
            "set protocol to 'no_camera' (junk_rule 'exclude_self') for data without cameras, "
            "or junk_rule to 'none' if query and gallery share no image"
        )
    else:
        advice = "give each identity at least two images"
    return (
        f"{NAME}: junk_rule '{rule}' leaves none of the {len(query.pids)} queries "
        f"a match: {shared} have their pid among the {len(candidates)} of "
        f"{len(gallery.pids)} gallery images that are neither junk nor distractor, and "
        f"{'all' if unknown == len(camids) else f'{unknown} of {len(camids)}'} camids are "
        f"unknown (-1); {advice}"
    )

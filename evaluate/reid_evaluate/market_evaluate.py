"""The Market-1501 protocol and its relatives: rank the gallery for every query.

A query is scored on the gallery images that its junk rule leaves: mean average precision
(mAP), mean inverse negative penalty (mINP) and the cumulative matching characteristic at
some ranks (rank1, ...). Papers differ in the definition of AP, in the junk and in what
happens to queries without a match; each is an option here and all are on the card.

Reference: Zheng et al., "Scalable Person Re-identification: A Benchmark", ICCV 2015.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from reid_core import EvaluatorComponent, Params, ReidError, hookimpl
from reid_core.contracts import Features, Scores
from reid_evaluate.distances import Distance
from reid_evaluate.measures import TIE_RULE, cmc
from reid_evaluate.ranking import ImageSet, JunkRule, Ranking, rank_queries

NAME = "market_evaluate"

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

MADE_UP = "row numbers"
"""``meta["names"]`` of features that were saved without names."""

COPIES_TEXT = (
    "matches are at distance 0: if they are copies of the query under another name, the scores "
    "are too good; if not, the model maps different images to one point"
)


class MarketParams(Params):
    """Every choice that can change a number; all are written on the card."""

    junk_rule: JunkRule = Field(
        "cross_camera",
        description="Gallery images that a query is not scored on. cross_camera: of the "
        "query's pid, unless known to be from another camera; exclude_self: the query's own "
        "image, for data without cameras and all-against-all: the one with the same name, which "
        "a copy in another folder has not; none: no image. "
        "Images flagged junk are removed under every rule.",
    )
    ap: Literal["standard", "trapezoid"] = Field(
        "standard",
        description="Definition of average precision behind mAP. Both are reported, as "
        "mAP_standard and mAP_trapezoid.",
    )
    distance: Distance = Field(
        "cosine",
        description="What the gallery is ranked by, in float32. cosine: 1 - dot product of "
        "L2-normalised vectors; the Euclidean ones take the vectors as they come.",
    )
    output: Literal["embedding", "feature"] = Field(
        "embedding",
        description="Vector of an image: embedding is after the neck's batch norm, feature "
        "before it.",
    )
    denominator: Literal["valid", "all"] = Field(
        "valid",
        description="Queries that every mean is taken over. valid: those with a match; all: "
        "every query, those without a match count as 0.",
    )
    ranks: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (1, 5, 10),
        strict=False,  # a strict tuple would refuse the lists that JSON has
        min_length=1,
        description="Ranks k at which the CMC is reported as rank<k>, 1 or larger.",
    )
    top_k: int = Field(
        10, ge=0, description="Images of each ranking to keep for pictures, 0 or larger."
    )
    block_size: int = Field(
        128,
        ge=1,
        description="Queries ranked at a time; memory is about 8 bytes x block_size x gallery "
        "images. It does not change what is computed.",
    )


def market_evaluate(splits: Mapping[str, Features], params: MarketParams) -> Scores:
    """Score query features against gallery features.

    Args:
        splits: ``"query"`` and ``"gallery"``.
        params: The choices of the protocol.

    Returns:
        ``mAP`` (primary), ``mAP_standard``, ``mAP_trapezoid``, ``mINP`` and ``rank<k>`` as
        fractions; per query the arrays of ``ranking.Ranking`` with name, pid and camid.

    Raises:
        ReidError: A split, the chosen output or names that the junk rule needs are missing,
            features cannot be ranked, or the junk rule leaves no query a match.
    """
    images = {name: _images(splits, name, params.output) for name in ("query", "gallery")}
    if params.junk_rule == "exclude_self":
        _check_names(splits["query"], splits["gallery"])
    try:
        ranking = rank_queries(
            images["query"],
            images["gallery"],
            junk_rule=params.junk_rule,
            distance=params.distance,
            top_k=params.top_k,
            block_size=params.block_size,
        )
    except ValueError as error:
        raise ReidError(f"{NAME}: {error}") from error
    if not ranking.num_matches.any():
        raise ReidError(_no_match_message(images["query"], images["gallery"], params))
    return Scores(
        metrics=_metrics(ranking, params),
        primary="mAP",
        card=_card(splits["query"], splits["gallery"], ranking, params),
        per_query={
            **vars(ranking),
            "name": np.asarray(splits["query"].names, dtype=np.str_),
            "pid": np.asarray(splits["query"].pids, dtype=np.str_),
            "camid": np.asarray(splits["query"].camids, dtype=np.int64),
        },
    )


def _images(splits: Mapping[str, Features], split: str, output: str) -> ImageSet:
    """Return one split as the ranking takes it."""
    if split not in splits:
        raise ReidError(f"{NAME} needs the split '{split}'; got {', '.join(splits) or 'none'}")
    found = splits[split]
    if output not in found.values:
        raise ReidError(
            f"{NAME}: the {split} split has no output '{output}'; "
            f"it has {', '.join(found.values) or 'none'}"
        )
    return ImageSet(
        features=found.values[output],
        pids=found.pids,
        camids=found.camids,
        names=found.names,
        junk=found.junk,
        distractor=found.distractor,
    )


def _check_names(query: Features, gallery: Features) -> None:
    """Refuse to look for a query's name in the gallery where each file has made up its own."""
    splits = {"query": query, "gallery": gallery}
    made_up = [name for name, split in splits.items() if split.meta.get("names") == MADE_UP]
    if made_up and not np.array_equal(query.names, gallery.names):
        raise ReidError(
            f"{NAME}: junk_rule 'exclude_self' needs names, and the features of "
            f"{' and '.join(made_up)} have none: add 'names', the same name for an image in both "
            "files, or set junk_rule to 'none' if query and gallery share no image"
        )


def _metrics(ranking: Ranking, params: MarketParams) -> dict[str, float]:
    """Average over the queries that count."""
    counted = np.flatnonzero((ranking.num_matches > 0) | (params.denominator == "all"))
    means = {
        "standard": float(ranking.ap[counted].mean()),
        "trapezoid": float(ranking.ap_trapezoid[counted].mean()),
    }
    curve = cmc(ranking.first_rank[counted], max(params.ranks))
    return {
        "mAP": means[params.ap],
        "mAP_standard": means["standard"],
        "mAP_trapezoid": means["trapezoid"],
        "mINP": float(ranking.inp[counted].mean()),
        **{f"rank{k}": float(curve[k - 1]) for k in params.ranks},
    }


def _card(
    query: Features, gallery: Features, ranking: Ranking, params: MarketParams
) -> dict[str, Any]:
    """State every choice and size behind the numbers."""
    data = _merged_meta(query.meta, gallery.meta)
    identical = int(ranking.num_identical.sum())
    return {
        "evaluator": NAME,
        "ap": AP_TEXT[params.ap],
        "junk_rule": JUNK_TEXT[params.junk_rule],
        "queries_without_match": DENOMINATOR_TEXT[params.denominator],
        "ties": TIE_RULE,
        "distance": params.distance,
        "output": params.output,
        "normalization": (
            "L2 per image, at evaluation; a zero vector stays zero"
            if params.distance == "cosine"
            else "none"
        ),
        "flip": data.get("flip", "none"),
        "postprocessing": "none",
        "sizes": _sizes(query, gallery, ranking),
        "identical_matches": identical,
        **({"warning": f"{identical} {COPIES_TEXT}"} if identical else {}),
        "data": data,
    }


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


def _no_match_message(query: ImageSet, gallery: ImageSet, params: MarketParams) -> str:
    """Say why no query has a match and what to do about it."""
    usable = ~(np.asarray(gallery.junk) | np.asarray(gallery.distractor))
    candidates = np.asarray(gallery.pids, dtype=np.str_)[usable]
    shared = int(np.isin(np.asarray(query.pids, dtype=np.str_), candidates).sum())
    camids = np.concatenate([query.camids, gallery.camids])
    unknown = int(np.count_nonzero(camids < 0))
    if not shared:
        advice = "check that both splits hold the same identities, spelt alike"
    elif params.junk_rule == "cross_camera":
        advice = (
            "set junk_rule to 'exclude_self' for data without cameras, "
            "or to 'none' if query and gallery share no image"
        )
    else:
        advice = "give each identity at least two images"
    return (
        f"{NAME}: junk_rule '{params.junk_rule}' leaves none of the {len(query.pids)} queries "
        f"a match: {shared} have their pid among the {len(candidates)} of "
        f"{len(gallery.pids)} gallery images that are neither junk nor distractor, and "
        f"{'all' if unknown == len(camids) else f'{unknown} of {len(camids)}'} camids are "
        f"unknown (-1); {advice}"
    )


def build(params: MarketParams) -> partial[Scores]:
    """Return the evaluator with its params."""
    return partial(market_evaluate, params=params)


@hookimpl
def reid_evaluator() -> list[EvaluatorComponent]:
    """Offer ``market_evaluate``."""
    return [
        EvaluatorComponent(
            name=NAME,
            build=build,
            params=MarketParams,
            summary="mAP, mINP and CMC of queries against a gallery (Market-1501 protocol)",
            reference="Zheng et al., ICCV 2015",
            splits=("query", "gallery"),
            outputs=("embedding", "feature"),
        )
    ]

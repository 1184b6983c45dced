"""The protocol of ``market_evaluate`` as data: every choice and size behind the numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from reid_core.contracts import Features, NamedPart
from reid_evaluate.distances.common_mean import NARROW, spread_of_directions
from reid_evaluate.distances.comparison import Distance, Postprocess, Vectors
from reid_evaluate.distances.distance_matrix import Cosine
from reid_evaluate.protocols.rule_data import data_of
from reid_evaluate.ranking.rank_queries import Ranking
from reid_plugins.evaluator._market_params import NAME, MarketParams


def protocol_of(
    splits: Mapping[str, Features],
    ranking: Ranking,
    gallery_vectors: Vectors,
    params: MarketParams,
    distance: NamedPart[Distance],
    postprocess: Sequence[NamedPart[Postprocess]],
) -> dict[str, Any]:
    """Return the protocol as JSON values, see ``Scores``.

    ``direction_spread`` is there only where float32 cosines can hardly tell the images apart.
    """
    query, gallery = splits["query"], splits["gallery"]
    drawn = {"draws": params.single_shot_draws, "seed": params.seed}
    resampled = {"draws": params.bootstrap_draws, "seed": params.seed}
    return {
        "evaluator": NAME,
        "protocol": params.protocol,
        **({"single_shot": drawn} if params.protocol == "cuhk03" else {}),
        "ap": params.ap,
        "junk_rule": data_of(params.rule),
        "denominator": params.denominator,
        "ties": "pessimistic",
        "distance": distance.name,
        "distance_params": dict(distance.params),
        "output": params.output,
        "normalization": "L2" if distance.part.normalizes else "none",
        "postprocess": [{"name": step.name, "params": dict(step.params)} for step in postprocess],
        "false_rates": list(params.false_rates),
        "intervals": resampled if params.bootstrap_draws else None,
        "sizes": _sizes(query, gallery, ranking),
        "identical_matches": int(ranking.copies.sum()),
        **(_narrow_directions(gallery_vectors) if distance.part.normalizes or postprocess else {}),
        "made_up_names": [name for name in ("query", "gallery") if splits[name].names_are_made_up],
        "data": _joined(query.meta, gallery.meta),
    }


def _narrow_directions(gallery: Vectors) -> dict[str, float]:
    """Return how far the directions of the gallery spread if that is too little for float32."""
    prepared = Cosine().prepare(gallery)
    spread = spread_of_directions(prepared.features, prepared.aux["inverse_norm"])
    return {"direction_spread": float(f"{spread:.2g}")} if spread < NARROW else {}


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


def _joined(query: Mapping[str, Any], gallery: Mapping[str, Any]) -> dict[str, Any]:
    """Join the facts of both splits; where they differ, keep both under their split."""
    merged: dict[str, Any] = {**query, **gallery}
    for key in set(query) & set(gallery):
        if query[key] != gallery[key]:
            merged[key] = {"query": query[key], "gallery": gallery[key]}
    return merged

"""What `cross_modality` computes.

Shapes: Q queries, G gallery images, P persons; all images of the splits are kept, those of another
modality are neither queried nor ranked.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from reid_core import ReidError
from reid_core.contracts import Features, NamedPart, Scores
from reid_evaluate.distances.comparison import Distance
from reid_plugins.toolkit.image_sets import keys, vectors

if TYPE_CHECKING:
    from reid_cross_modality.evaluator import CrossModalityParams

Array = np.ndarray[Any, Any]

NAME = "cross_modality"


class CrossModality:
    """Scores the splits ``query`` and ``gallery``."""

    def __init__(
        self, params: CrossModalityParams, distance: NamedPart[Distance], device: str
    ) -> None:
        """Keep the choices."""
        self.params, self.distance, self.device = params, distance, device

    def __call__(self, splits: Mapping[str, Features]) -> Scores:
        """Return ``mAP`` (primary) and ``rank<k>``, means over draws and queries with a match.

        Raises:
            ReidError: A place is unknown, a modality is missing, or no query has a match.
        """
        query, gallery = splits["query"], splits["gallery"]
        asked = self._of(query, "query", self.params.query)
        shown = self._of(gallery, "gallery", self.params.gallery)
        shown &= ~(gallery.junk | gallery.distractor)
        distances = self._distances(query, gallery)
        same_place = _equal(query.columns, gallery.columns, self.params.place)
        found = [
            ranked(distances, query.pids, gallery.pids, asked, drawn[None, :] & ~same_place)
            for drawn in self._galleries(gallery, shown)
        ]
        ap, first_rank, matches = (np.stack(column) for column in zip(*found, strict=True))
        counted = matches.min(axis=0) > 0
        if not counted.any():
            raise ReidError(
                f"{NAME}: none of {int(asked.sum())} queries has a match in every drawn gallery; "
                f"check the columns '{self.params.place}' and 'modality'"
            )
        by_draw = {"mAP": ap[:, counted].mean(axis=1)}
        for k in self.params.ranks:
            hit = (first_rank > 0) & (first_rank <= k)
            by_draw[f"rank{k}"] = hit[:, counted].mean(axis=1)
        sizes = {
            "query": int(asked.sum()),
            "valid_queries": int(counted.sum()),
            "gallery": int(shown.sum()),
        }
        protocol = self._protocol(sizes, query, gallery)
        return Scores(
            metrics={name: float(values.mean()) for name, values in by_draw.items()},
            primary="mAP",
            protocol=protocol,
            card=card_of(protocol),
            per_query={
                "ap": np.where(counted, ap.mean(axis=0), 0.0),
                "first_rank": np.where(counted, first_rank[0], 0),  # of the first draw
                "name": query.names,
                "pid": query.pids,
                "camid": query.camids,
            },
            tables={f"draws.{name}": values for name, values in by_draw.items()},
        )

    def _of(self, features: Features, split: str, modality: str) -> Array:
        """Return which images are of a modality; refuse unknown places."""
        places, kinds = features.columns[self.params.place], features.columns["modality"]
        unknown = "" if places.dtype.kind == "U" else -1
        if count := int((places == unknown).sum()):
            raise ReidError(
                f"{NAME}: the '{self.params.place}' of {count} images of the {split} split is "
                "unknown; give it for all of them"
            )
        found: Array = kinds.astype(np.str_) == modality
        if not found.any():
            raise ReidError(
                f"{NAME}: no image of the {split} split has the modality '{modality}'; there is "
                f"{', '.join(sorted(set(kinds.astype(np.str_).tolist())))}"
            )
        return found

    def _distances(self, query: Features, gallery: Features) -> Array:
        """Return all distances ``(Q, G)``."""
        sides = [
            vectors(features, self.params.output, self.distance, device=self.device, split=split)
            for split, features in (("query", query), ("gallery", gallery))
        ]
        found: Array = self.distance.part.values(keys(*sides, self.distance)).cpu().numpy()
        return found

    def _galleries(self, gallery: Features, shown: Array) -> list[Array]:
        """Return for each draw which images ``(G,)`` are in it."""
        if not self.params.shots:
            return [shown]
        rng, draws = np.random.default_rng(self.params.seed), []
        groups = np.char.add(np.char.add(gallery.pids, "\n"), gallery.camids.astype(np.str_))
        for _ in range(self.params.draws):
            drawn = np.zeros(len(gallery), dtype=bool)
            for group in np.unique(groups[shown]):
                at = np.flatnonzero(shown & (groups == group))
                drawn[rng.permutation(at)[: self.params.shots]] = True
            draws.append(drawn)
        return draws

    def _protocol(
        self, sizes: dict[str, int], query: Features, gallery: Features
    ) -> dict[str, Any]:
        """Return every choice and size as JSON values."""
        params = self.params
        return {
            "evaluator": NAME,
            "modalities": {"query": params.query, "gallery": params.gallery},
            "place": params.place,
            "draws": {"draws": params.draws, "shots": params.shots, "seed": params.seed}
            if params.shots
            else None,
            "distance": self.distance.name,
            "distance_params": dict(self.distance.params),
            "output": params.output,
            "ap": "standard",
            "denominator": "valid",
            "ties": "pessimistic",
            "sizes": sizes,
            "data": {"query": dict(query.meta), "gallery": dict(gallery.meta)},
        }


def ranked(
    distances: Array, query_pids: Array, gallery_pids: Array, asked: Array, shown: Array
) -> tuple[Array, Array, Array]:
    """Rank the gallery for every query.

    Args:
        distances: ``(Q, G)``.
        query_pids: ``(Q,)`` strings.
        gallery_pids: ``(G,)`` strings.
        asked: ``(Q,)`` bool, which queries are scored; the others get zeros.
        shown: ``(Q, G)`` bool, which images a query is scored on.

    Returns:
        ``(Q,)`` each: standard AP over images, rank of the first match among persons from 1, and
        the number of matches; zeros for a query without a match. At one distance, wrong images
        come before matches.
    """
    ap, first_rank = np.zeros(len(asked)), np.zeros(len(asked), dtype=np.int64)
    matches = np.zeros(len(asked), dtype=np.int64)
    for i in np.flatnonzero(asked):
        at = np.flatnonzero(shown[i])
        right = gallery_pids[at] == query_pids[i]
        order = np.lexsort((right, distances[i, at]))
        ranks = np.flatnonzero(right[order]) + 1
        if len(ranks):
            matches[i] = len(ranks)
            ap[i] = np.mean(np.arange(1, len(ranks) + 1) / ranks)
            first_rank[i] = 1 + len(np.unique(gallery_pids[at][order][: ranks[0] - 1]))
    return ap, first_rank, matches


def card_of(protocol: Mapping[str, Any]) -> dict[str, Any]:
    """Return the protocol in words."""
    drawn = protocol["draws"]
    return {
        "evaluator": protocol["evaluator"],
        "modalities": "queries {query}, gallery {gallery}".format(**protocol["modalities"]),
        "junk_rule": f"images of the query's {protocol['place']} are removed, whatever their pid",
        "gallery": "whole gallery"
        if drawn is None
        else "mean over {draws} draws of {shots} images of every pid and camid, seed {seed}; "
        "neither the official draws nor those of AGW".format(**drawn),
        "ranks": "of persons: the first image of each",
        "ap": "standard: mean of the precision at each match, over images",
        "queries_without_match": "valid: left out of every mean",
        "ties": "pessimistic: a wrong image at the same distance ranks before the match",
        "distance": protocol["distance"],
        "output": protocol["output"],
        "sizes": protocol["sizes"],
        "data": protocol["data"],
    }


def _equal(query: Mapping[str, Array], gallery: Mapping[str, Array], name: str) -> Array:
    """Return which pairs ``(Q, G)`` have one value in a column."""
    equal: Array = query[name][:, None] == gallery[name][None, :]
    return equal

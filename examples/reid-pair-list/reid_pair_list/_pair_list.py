"""What `pair_list` computes.

Shapes: n pairs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from reid_core import ReidError
from reid_core.contracts import Features, NamedPart, Scores
from reid_evaluate.distances.comparison import Distance, Vectors
from reid_evaluate.statistics.bootstrap import mean_interval
from reid_pair_list._pairs import Pairs, read_pairs
from reid_pair_list._rates import area, equal_error_rate, judged_by_folds
from reid_plugins.toolkit.image_sets import vectors

if TYPE_CHECKING:
    from reid_pair_list.evaluator import PairListParams

Array = np.ndarray[Any, Any]

NAME = "pair_list"
AT_ONCE = 256
"""Pairs whose images are compared all with all, of which the diagonal is kept."""
INTERVALS = "95 % bootstrap over pairs, {draws} draws, seed {seed}; thresholds held"
SHOWN = 5
"""Missing names that a message lists."""


class PairList:
    """Scores a list of pairs."""

    def __init__(self, params: PairListParams, distance: NamedPart[Distance], device: str) -> None:
        """Read the list, so that a wrong one is found before anything else."""
        self.params, self.distance, self.device = params, distance, device
        self.pairs = read_pairs(params.pairs)
        self.same = np.array(self.pairs.same, dtype=bool)
        if min(self.same.sum(), (~self.same).sum()) < params.folds:
            raise ReidError(
                f"{params.pairs}: {int(self.same.sum())} pairs of one person and "
                f"{int((~self.same).sum())} of two are too few for {params.folds} folds"
            )

    def __call__(self, splits: Mapping[str, Features]) -> Scores:
        """Return ``accuracy`` (primary), ``auc`` and ``eer``; a row per pair in the tables.

        Raises:
            ReidError: A name of the list is in no split, or in more than one.
        """
        first, second = self._places(splits)
        distances = self._distances(splits, first, second)
        right, thresholds = judged_by_folds(distances, self.same, self.params.folds)
        draws, seed = self.params.bootstrap_draws, self.params.seed
        protocol = self._protocol(splits)
        return Scores(
            metrics={
                "accuracy": float(right.mean()),
                "auc": area(distances, self.same),
                "eer": equal_error_rate(distances, self.same),
            },
            primary="accuracy",
            protocol=protocol,
            card=card_of(protocol),
            tables={
                "pairs.first": np.array(self.pairs.first),
                "pairs.second": np.array(self.pairs.second),
                "pairs.same": self.same,
                "pairs.distance": distances,
                "pairs.right": right,
                "thresholds": thresholds,
            },
            intervals=mean_interval({"accuracy": right}, draws=draws, seed=seed) if draws else {},
        )

    def _places(self, splits: Mapping[str, Features]) -> tuple[Array, Array]:
        """Return where the images of the pairs are among those of all splits, ``(n,)`` each."""
        if nameless := [split for split, f in splits.items() if f.names_are_made_up]:
            raise ReidError(f"{NAME}: the features of the {nameless[0]} split have no names")
        names = np.concatenate([features.names for features in splits.values()]).tolist()
        place = {name: at for at, name in enumerate(names)}
        asked = dict.fromkeys([*self.pairs.first, *self.pairs.second])
        where = f"{NAME}: {self.params.pairs}"
        if missing := [name for name in asked if name not in place]:
            more = f" and {len(missing) - SHOWN} more" if len(missing) > SHOWN else ""
            raise ReidError(
                f"{where}: no image of the splits {', '.join(splits)} has the name "
                f"{', '.join(missing[:SHOWN])}{more}"
            )
        if twice := [name for name, count in Counter(names).items() if count > 1 and name in asked]:
            raise ReidError(f"{where}: '{twice[0]}' is in two of the splits {', '.join(splits)}")
        sides = (self.pairs.first, self.pairs.second)
        first, second = (np.array([place[name] for name in side]) for side in sides)
        return first, second

    def _distances(self, splits: Mapping[str, Features], first: Array, second: Array) -> Array:
        """Return the distance of every pair ``(n,)``."""
        parts = [
            vectors(f, self.params.output, self.distance, device=self.device, split=split)
            for split, f in splits.items()
        ]
        images: Vectors = parts[0]
        for other in parts[1:]:
            images = images.and_(other)
        part, found = self.distance.part, []
        for start in range(0, len(first), AT_ONCE):
            rows = slice(start, start + AT_ONCE)
            one, other = images.at(first[rows]), images.at(second[rows])
            keys = torch.empty(len(one), len(other), device=self.device)
            part.fill(one, other, keys)
            found.append(part.values(keys.diagonal().clone()).cpu().numpy())
        return np.concatenate(found).astype(np.float64)

    def _protocol(self, splits: Mapping[str, Features]) -> dict[str, Any]:
        """Return every choice and size as JSON values."""
        params, pairs = self.params, self.pairs
        resampled = {"draws": params.bootstrap_draws, "seed": params.seed}
        return {
            "evaluator": NAME,
            "pairs": {"digest": pairs.digest, "sizes": _sizes(pairs)},
            "folds": params.folds,
            "distance": self.distance.name,
            "distance_params": dict(self.distance.params),
            "output": params.output,
            "intervals": resampled if params.bootstrap_draws else None,
            "data": {split: dict(features.meta) for split, features in splits.items()},
        }


def _sizes(pairs: Pairs) -> dict[str, int]:
    return {"pairs": len(pairs), "same": sum(pairs.same)}


def card_of(protocol: Mapping[str, Any]) -> dict[str, Any]:
    """Return the protocol in words."""
    return {
        "evaluator": protocol["evaluator"],
        "accuracy": f"mean over {protocol['folds']} parts of the list in its order, each with the "
        "threshold that is best on the others",
        "auc": "area under the ROC curve of all pairs; ties count half",
        "eer": "rate at which as many pairs of one person are refused as others accepted; the "
        "smaller, the better",
        "distance": protocol["distance"],
        "output": protocol["output"],
        "intervals": INTERVALS.format(**protocol["intervals"]) if protocol["intervals"] else "none",
        "sizes": protocol["pairs"]["sizes"],
        "pairs": f"file with the digest {protocol['pairs']['digest']}",
        "data": protocol["data"],
    }

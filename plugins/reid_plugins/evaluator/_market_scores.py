"""What ``market_evaluate`` does: from the features of the splits to scores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from reid_core import ReidError
from reid_core.contracts import Features, NamedPart, Scores
from reid_evaluate.distances.comparison import Distance, Postprocess
from reid_evaluate.protocols.rule_data import columns_of
from reid_evaluate.ranking.ap_and_cmc import cmc
from reid_evaluate.ranking.camera_pairs import CameraPairs
from reid_evaluate.ranking.identification import (
    detection_identification_interval,
    detection_identification_rate,
)
from reid_evaluate.ranking.images import ImageSet
from reid_evaluate.ranking.keys import Keyed, compare
from reid_evaluate.ranking.rank_queries import Ranking, rank_queries
from reid_evaluate.ranking.single_shot import single_shot_ranks
from reid_evaluate.ranking.verification import Verification
from reid_evaluate.statistics.bootstrap import mean_interval
from reid_plugins.evaluator._market_card import card_of, no_match_message
from reid_plugins.evaluator._market_params import NAME, MarketParams
from reid_plugins.evaluator._market_protocol import protocol_of
from reid_plugins.toolkit.image_sets import image_set

Arrays = dict[str, npt.NDArray[Any]]


class MarketEvaluator:
    """Scores query features against gallery features."""

    def __init__(
        self,
        params: MarketParams,
        distance: NamedPart[Distance],
        postprocess: tuple[NamedPart[Postprocess], ...],
        device: str,
    ) -> None:
        """Keep the choices of the protocol."""
        self.params, self.distance, self.postprocess = params, distance, postprocess
        self.device = torch.device(device)

    def __call__(self, splits: Mapping[str, Features]) -> Scores:
        """Score the splits.

        Args:
            splits: ``"query"`` and ``"gallery"``, and what the steps read.

        Returns:
            ``mAP`` (primary), ``mAP_standard``, ``mAP_trapezoid``, ``mINP``, ``rank<k>``,
            ``tpr@<rate>`` and ``dir@<rate>`` as fractions; per query the arrays of
            ``rank_queries.Ranking`` with name, pid and camid; tables of the CMC, of the distances
            of pairs and of the pairs of cameras.

        Raises:
            ReidError: A split, the chosen output or names that the junk rule needs are
                missing, features cannot be ranked, or the junk rule leaves no query a match.
        """
        images = {name: self._images(splits, name) for name in self._split_names()}
        rule = self.params.rule
        if rule == "exclude_self":
            _check_names(splits["query"], splits["gallery"])
        try:
            keyed = self._compare(images)
            ranking, verification, tables = self._rank(keyed)
            if self.params.protocol == "cuhk03":
                tables["single_shot_ranks"] = self._single_shots(keyed)
        except ValueError as error:
            raise ReidError(f"{NAME}: {error}") from error
        if not ranking.num_matches.any():
            raise ReidError(no_match_message(splits["query"], splits["gallery"], rule))
        values = self._per_query_values(ranking, tables)
        query = splits["query"]
        metrics = {name: float(column.mean()) for name, column in values.items()}
        intervals = self._intervals(values)
        if verification:
            metrics |= self._rates(ranking, verification)
            intervals |= self._rate_intervals(ranking, verification)
        protocol = protocol_of(
            splits, ranking, keyed.gallery.vectors, self.params, self.distance, self.postprocess
        )
        names = np.asarray(splits["gallery"].names, dtype=np.str_)
        tables["gallery_names"] = np.char.encode(names, "utf-8")  # a fourth of its size
        tables["cmc"] = cmc(ranking.first_rank[self._counted(ranking)], 50)
        return Scores(
            metrics=metrics,
            primary="mAP",
            protocol=protocol,
            card=card_of(protocol),
            per_query={
                **vars(ranking),
                "name": np.asarray(query.names, dtype=np.str_),
                "pid": np.asarray(query.pids, dtype=np.str_),
                "camid": np.asarray(query.camids, dtype=np.int64),
            },
            tables=tables,
            intervals=intervals,
        )

    # ---- input --------------------------------------------------------------------------

    def _split_names(self) -> tuple[str, ...]:
        steps = (split for step in self.postprocess for split in step.splits)
        return tuple(dict.fromkeys(("query", "gallery", *steps)))

    def _images(self, splits: Mapping[str, Features], split: str) -> ImageSet:
        """Return one split as the ranking takes it."""
        if split not in splits:
            raise ReidError(f"{NAME} needs the split '{split}'; got {', '.join(splits) or 'none'}")
        own = columns_of(self.params.rule)
        return image_set(splits[split], self.params.output, self.distance, columns=own, split=split)

    def _compare(self, images: dict[str, ImageSet]) -> Keyed:
        extra = {name: i for name, i in images.items() if name not in ("query", "gallery")}
        return compare(
            images["query"],
            images["gallery"],
            distance=self.distance.part,
            postprocess=[step.part for step in self.postprocess],
            extra=extra,
            device=self.device,
        )

    # ---- ranking ------------------------------------------------------------------------

    def _rank(self, keyed: Keyed) -> tuple[Ranking, Verification | None, Arrays]:
        """Return the ranking, the pairs at false rates if there are any, and their tables."""
        query, gallery, rates = keyed.query, keyed.gallery, self.params.false_rates
        pairs = len(query.pids) * len(gallery.pids)
        verification = Verification(pairs, rates) if rates else None
        cameras = CameraPairs(query.camids, gallery.camids) if self.params.camera_pairs else None
        ranking = rank_queries(
            keyed,
            junk_rule=self.params.rule,
            top_k=self.params.top_k,
            block_size=self.params.block_size,
            groups=cameras.groups if cameras else None,
            observers=[observer for observer in (verification, cameras) if observer],
        )
        tables = _pair_tables(keyed, verification) if verification else {}
        if cameras:
            table = cameras.table()
            tables |= {f"camera_pairs.{name}": array for name, array in vars(table).items()}
        return ranking, verification, tables

    def _single_shots(self, keyed: Keyed) -> npt.NDArray[np.int64]:
        return single_shot_ranks(
            keyed,
            junk_rule=self.params.rule,
            draws=self.params.single_shot_draws,
            seed=self.params.seed,
            block_size=self.params.block_size,
        )

    # ---- scores at false rates ----------------------------------------------------------

    def _rates(self, ranking: Ranking, verification: Verification) -> dict[str, float]:
        open_set = detection_identification_rate(*_nearest(ranking), self.params.false_rates)
        pairs = {f"tpr@{rate:g}": tpr for rate, (tpr, _) in verification.rates().items()}
        return pairs | {f"dir@{rate:g}": share for rate, share in open_set.items()}

    def _rate_intervals(
        self, ranking: Ranking, verification: Verification
    ) -> dict[str, tuple[float, float]]:
        if not self.params.bootstrap_draws:
            return {}
        how = {"draws": self.params.bootstrap_draws, "seed": self.params.seed}
        nearest, rates = _nearest(ranking), self.params.false_rates
        open_set = detection_identification_interval(*nearest, rates, **how)
        pairs = {f"tpr@{rate:g}": ends for rate, ends in verification.intervals(**how).items()}
        return pairs | {f"dir@{rate:g}": ends for rate, ends in open_set.items()}

    # ---- means --------------------------------------------------------------------------

    def _counted(self, ranking: Ranking) -> npt.NDArray[np.int64]:
        """Return the queries that every mean is over."""
        return np.flatnonzero((ranking.num_matches > 0) | (self.params.denominator == "all"))

    def _per_query_values(
        self, ranking: Ranking, tables: Arrays
    ) -> dict[str, npt.NDArray[np.float64]]:
        """Return for each metric its value for each query that counts."""
        at = self._counted(ranking)
        precision = {"standard": ranking.ap[at], "trapezoid": ranking.ap_trapezoid[at]}
        ranks = tables.get("single_shot_ranks", ranking.first_rank[None, :])[:, at]
        return {
            "mAP": precision[self.params.ap],
            "mAP_standard": precision["standard"],
            "mAP_trapezoid": precision["trapezoid"],
            "mINP": ranking.inp[at],
            **{
                f"rank{k}": ((ranks > 0) & (ranks <= k)).mean(axis=0, dtype=np.float64)
                for k in self.params.ranks
            },
        }

    def _intervals(
        self, values: dict[str, npt.NDArray[np.float64]]
    ) -> dict[str, tuple[float, float]]:
        draws = self.params.bootstrap_draws
        return mean_interval(values, draws=draws, seed=self.params.seed) if draws else {}


def _nearest(ranking: Ranking) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]:
    """Return what the search for unknown persons looks at of each query."""
    return ranking.first_rank, ranking.nearest_match, ranking.nearest_wrong


def _pair_tables(keyed: Keyed, verification: Verification) -> Arrays:
    """Return histograms and thresholds in distances."""

    def distances(keys: Any) -> npt.NDArray[Any]:
        values: npt.NDArray[Any] = keyed.keys.values(torch.as_tensor(keys)).numpy()
        return values

    found = verification.rates()
    edges, counts = verification.histogram()
    return {
        "pairs.edges": distances(edges),
        "pairs.counts": counts,
        "pairs.false_rates": np.array(list(found)),
        "pairs.thresholds": distances(np.array([key for _, key in found.values()])),
    }


def _check_names(query: Features, gallery: Features) -> None:
    """Refuse to look for a query's name in the gallery where each file has made up its own."""
    splits = {"query": query, "gallery": gallery}
    made_up = [name for name, split in splits.items() if split.names_are_made_up]
    if made_up and not np.array_equal(query.names, gallery.names):
        raise ReidError(
            f"{NAME}: junk_rule 'exclude_self' needs names, and the features of "
            f"{' and '.join(made_up)} have none: add 'names', the same name for an image in both "
            "files, or set junk_rule to 'none' if query and gallery share no image"
        )

"""The Market-1501 protocol and its relatives: rank the gallery for every query.

A query is scored on the gallery images that its junk rule leaves: mean average precision
(mAP), mean inverse negative penalty (mINP) and the cumulative matching characteristic at
some ranks (rank1, ...). Papers differ in the definition of AP, in the junk and in what
happens to queries without a match; each is an option here and all are on the card.

Reference: Zheng et al., "Scalable Person Re-identification: A Benchmark", ICCV 2015.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from reid_core import EvaluatorComponent, hookimpl
from reid_core.contracts import Evaluator, NamedPart
from reid_evaluate.protocols.rule_data import by_camera, columns_of
from reid_plugins.evaluator._market_params import NAME, MarketParams

if TYPE_CHECKING:
    from reid_evaluate.distances.comparison import Distance, Postprocess

SPLITS = ("query", "gallery")


def build(
    params: MarketParams,
    *,
    distance: NamedPart[Distance],
    postprocess: Sequence[NamedPart[Postprocess]] = (),
    device: str = "cpu",
) -> Evaluator:
    """Return the evaluator with its params and parts."""
    from reid_plugins.evaluator._market_scores import MarketEvaluator

    return MarketEvaluator(params, distance, tuple(postprocess), device)


@hookimpl
def reid_evaluator() -> list[EvaluatorComponent]:
    """Offer ``market_evaluate``."""
    return [
        EvaluatorComponent(
            name=NAME,
            build=build,
            params=MarketParams,
            summary="CMC, mAP and mINP of queries against a gallery (Market-1501 protocol)",
            reference="Zheng et al., ICCV 2015",
            splits=SPLITS,
            outputs=lambda params: (params.output,),
            columns=lambda params: columns_of(params.rule),
            cameras=lambda params: SPLITS if by_camera(params.rule) else (),
            distance="cosine",
        )
    ]

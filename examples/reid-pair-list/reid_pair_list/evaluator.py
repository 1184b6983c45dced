"""The evaluator `pair_list`: pairs of images, of one person or not, told apart by a threshold.

Reference: Huang et al., "Labeled Faces in the Wild", 2007: accuracy over ten folds, the threshold
chosen on the other nine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from reid_core import EvaluatorComponent, Params, PathText, hookimpl
from reid_core.contracts import Evaluator, NamedPart

if TYPE_CHECKING:
    from reid_evaluate.distances.comparison import Distance


class PairListParams(Params):
    """Params of the evaluator `pair_list`."""

    pairs: PathText = Field(
        description="CSV file with the header first,second,same: two image names and 1 or 0."
    )
    splits: list[str] = Field(
        default=["query"], min_length=1, description="Splits that the images are in."
    )
    folds: int = Field(default=10, ge=2, description="Parts of the list, in its order; 2 or more.")
    output: str = Field(
        default="embedding", pattern="^(embedding|feature)$", description="embedding or feature."
    )
    bootstrap_draws: int = Field(
        default=1000,
        ge=0,
        description="Resamplings of the pairs behind the 95 % interval; 0: none.",
    )
    seed: int = Field(default=0, ge=0, description="Seed of the bootstrap.")


def build(params: PairListParams, *, distance: NamedPart[Distance], device: str) -> Evaluator:
    """Return the evaluator."""
    from reid_pair_list._pair_list import PairList

    return PairList(params, distance, device)


def splits(params: PairListParams) -> tuple[str, ...]:
    """Return the splits that it reads."""
    return tuple(dict.fromkeys(params.splits))


def outputs(params: PairListParams) -> tuple[str, ...]:
    """Return the vector that it reads."""
    return (params.output,)


@hookimpl
def reid_evaluator() -> list[EvaluatorComponent]:
    """Offer ``pair_list``."""
    return [
        EvaluatorComponent(
            name="pair_list",
            params=PairListParams,
            build=build,
            summary="Accuracy, AUC and EER of a list of image pairs (as LFW)",
            reference="Huang et al., Labeled Faces in the Wild, 2007",
            splits=splits,
            outputs=outputs,
            distance="cosine",
        )
    ]

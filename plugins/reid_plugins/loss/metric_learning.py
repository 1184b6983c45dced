"""The loss `metric_learning`: a loss and a miner of the library pytorch-metric-learning.

For what this framework does not write itself; `docs/losses.md` lists what is offered and what is
refused, and why. The library is an extra: `pip install "reid-core[metric-learning]"`. Names and
arguments are checked against the installed version when the loss is built: before the first
image, and by `reid check --model`. The library normalises in its distances, so the input is
handed to it as it is.

Where both have a loss, prefer ours: it makes a GPU wait for nothing, its margins may follow a
schedule, its monitors are logged, and losses over identities use the branch's classifier. These
are `triplet`, `contrastive`, `circle`, `multi_similarity`, `lifted_structure`, `ranked_list`,
`instance`, `normalized_softmax`, `arcface`, `am_softmax` (CosFace) and `sphereface`.

`DistanceWeightedMiner`, `UniformHistogramMiner` and a number as `triplets_per_anchor` draw from
torch's global generators. Checkpoints hold their states, so a resumed run repeats; but anything
else that draws from them changes what is mined. `BatchHardMiner`, `BatchEasyHardMiner` and
`HDCMiner` choose by position among equal distances.

Reference: Musgrave et al., "PyTorch Metric Learning", arXiv:2008.09164; the default, supervised
contrastive loss: Khosla et al., arXiv:2004.11362.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from reid_core import LossComponent, Params, hookimpl
from reid_plugins.loss._metric_learning_part import Part

if TYPE_CHECKING:
    from reid_plugins.loss._metric_learning import MetricLearningLoss


class MetricLearningParams(Params):
    """Params of the loss `metric_learning`."""

    loss: Part = Field(
        default=Part(name="SupConLoss"),
        description="Class of pytorch_metric_learning.losses; its parameters, if any, are trained.",
    )
    miner: Part | None = Field(
        default=None,
        description="Class of pytorch_metric_learning.miners that chooses pairs or triplets; "
        "default: the loss takes all.",
    )
    distance: Part | None = Field(
        default=None,
        description="Class of pytorch_metric_learning.distances, for the loss, and for the miner "
        "unless its params have one; default: what each has by default.",
    )
    reducer: Part | None = Field(
        default=None,
        description="Class of pytorch_metric_learning.reducers: how single losses become one; "
        "default: the loss's own.",
    )
    embedding_regularizer: Part | None = Field(
        default=None,
        description="Class of pytorch_metric_learning.regularizers, for the embeddings.",
    )
    weight_regularizer: Part | None = Field(
        default=None,
        description="Class of pytorch_metric_learning.regularizers, for the loss's own weights.",
    )


def build(params: MetricLearningParams, *, dim: int, num_pids: int) -> MetricLearningLoss:
    """Build the loss; the weights of a loss that has some come from torch's global generator."""
    from reid_plugins.loss._metric_learning import NESTED, build_metric_learning

    beside = {name: part for name in NESTED if (part := getattr(params, name)) is not None}
    return build_metric_learning(params.loss, params.miner, beside, dim, num_pids)


@hookimpl
def reid_loss() -> list[LossComponent]:
    """Offer the losses of the library."""
    return [
        LossComponent(
            name="metric_learning",
            params=MetricLearningParams,
            build=build,
            summary="Any loss and miner of the library pytorch-metric-learning, by its name",
            reference="arXiv:2008.09164",
            role="metric",
            on="embedding",
            needs=frozenset({"batch"}),
        )
    ]

"""The loss `normalized_softmax`: cross entropy over scaled cosines, without a margin.

Features and class weights are compared by angle alone, as the test ranks images. The
scale replaces their lengths, without which a softmax over cosines stays almost flat.

Stands on `toolkit/accuracy.py` and `toolkit/margin_logits.py`.

Reference: Wang et al., "NormFace: L2 Hypersphere Embedding for Face Verification",
arXiv:1704.06369, section 3.
"""

from __future__ import annotations

from pydantic import Field

from reid_core import LossComponent, Params, hookimpl
from reid_core.contracts import Loss, LossInput, LossOutput
from reid_plugins.toolkit.accuracy import accuracy
from reid_plugins.toolkit.margin_logits import cosine_monitors, cosine_similarity


class NormalizedSoftmaxParams(Params):
    """Params of the loss `normalized_softmax`."""

    scale: float = Field(
        default=20.0,
        gt=0.0,
        description="Multiplies the cosines before the softmax, above 0: 1 / temperature.",
    )


def build(params: NormalizedSoftmaxParams) -> Loss:
    """Build the loss; it reads the classifier's weight and ignores its bias."""

    def loss(x: LossInput) -> LossOutput:
        import torch.nn.functional as F

        assert x.weight is not None, "declared in needs"
        cosine = cosine_similarity(x.features, x.weight)  # (B, num_pids)
        value = F.cross_entropy(params.scale * cosine, x.pids)
        monitors = cosine_monitors(cosine, x.pids)
        return LossOutput(value, monitors, accuracy(cosine, x.pids))

    return loss


@hookimpl
def reid_loss() -> list[LossComponent]:
    """Offer the normalized softmax loss."""
    return [
        LossComponent(
            name="normalized_softmax",
            params=NormalizedSoftmaxParams,
            build=build,
            summary="NormFace: cross entropy over scaled cosines",
            reference="arXiv:1704.06369",
            role="id",
            on="embedding",
            needs=frozenset({"classifier"}),
        )
    ]

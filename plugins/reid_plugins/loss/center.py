"""The loss `center`: every image is pulled towards the center of its identity.

The centers are no weights of the network: after every step each moves towards the images of
its identity in the batch, at a rate of its own that neither the optimizer nor the weight of
this loss changes. Every process keeps all centers and sees the batch of all processes, so that the
centers stay equal without being exchanged.

Reference: Wen et al., "A Discriminative Feature Learning Approach for Deep Face
Recognition", ECCV 2016; value and rate as in Luo et al., "Bag of Tricks and A Strong
Baseline for Deep Person Re-identification", arXiv:1903.07071, where the loss has the weight
0.0005.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from reid_core import LossComponent, Params, hookimpl

if TYPE_CHECKING:
    from reid_plugins.loss._center import CenterLoss


class CenterParams(Params):
    """Params of the loss `center`."""

    rate: float = Field(
        default=0.5,
        ge=0.0,
        description="Learning rate of the centers, from 0: the step of plain gradient descent on "
        "this loss alone; 0 leaves them where they begin.",
    )


def build(params: CenterParams, *, dim: int, num_pids: int) -> CenterLoss:
    """Build the loss with a random center for each of ``num_pids`` identities."""
    from reid_plugins.loss._center import CenterLoss

    return CenterLoss(num_pids, dim, params.rate)


@hookimpl
def reid_loss() -> list[LossComponent]:
    """Offer the center loss."""
    return [
        LossComponent(
            name="center",
            params=CenterParams,
            build=build,
            summary="Squared distance of every image to the moving center of its identity",
            reference="Wen et al., ECCV 2016",
            role="metric",
            on="feature",
            needs=frozenset({"batch"}),
        )
    ]

"""Training without identities: clusters are the persons, and a memory of them is the classifier.

Before every epoch the callback `cluster_labels` extracts all training images, finds clusters among
them with DBSCAN and makes them the identities; what belongs to no cluster is left out. The loss
`cluster_memory` compares an image with the mean vector of every cluster, which moves along with
the images that are seen.

Reference: Dai et al., "Cluster Contrast for Unsupervised Person Re-Identification",
arXiv:2103.11568, equations 1 to 3; the radius of the clustering: Fu et al., "Self-similarity
Grouping", arXiv:1811.10144, section 3.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from reid_core import Component, LossComponent, Params, hookimpl
from reid_core.contracts import Callback, CallbackContext, Loss, LossInput, LossOutput, Relabelling

if TYPE_CHECKING:
    import numpy as np


class ClusterLabelsParams(Params):
    """Params of the callback `cluster_labels`."""

    rho: float = Field(
        default=0.0016,
        gt=0.0,
        lt=1.0,
        description="Share, in (0, 1), of the smallest distances whose mean is the radius within "
        "which images are neighbours.",
    )
    min_samples: int = Field(
        default=4, ge=2, description="Neighbours, itself among them, that make a cluster (>= 2)."
    )


def clusters(vectors: np.ndarray, rho: float, min_samples: int) -> np.ndarray:
    """Return the cluster of every image, ``(N,)`` int64; -1 for those in none.

    Args:
        vectors: ``(N, D)``, of any length.
        rho: Share of the smallest distances whose mean is DBSCAN's radius.
        min_samples: Neighbours that make a cluster.
    """
    import numpy as np
    from sklearn.cluster import DBSCAN

    # In float64: what 1 - cosine leaves of a narrow cone of directions is rounding in float32.
    unit = vectors.astype(np.float64)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True).clip(min=1e-12)
    distances = (1.0 - unit @ unit.T).clip(min=0.0)
    pairs = np.sort(distances[np.triu_indices(len(unit), k=1)])
    radius = max(1e-6, pairs[: max(1, round(rho * len(pairs)))].mean())
    found = DBSCAN(eps=radius, min_samples=min_samples, metric="precomputed").fit(distances)
    return found.labels_.astype(np.int64)


class ClusterLabels(Callback):
    """Clusters the training images before every epoch; it keeps nothing between them."""

    def __init__(self, params: ClusterLabelsParams) -> None:
        """Keep the params of the clustering."""
        self.params = params

    def before_epoch(self, context: CallbackContext) -> None:
        """Make the clusters of the images, as the network sees them now, their identities."""
        features = context.extract()
        vectors = features.values["embedding"]
        labels = clusters(vectors, self.params.rho, self.params.min_samples)
        context.log({"clusters": int(labels.max()) + 1, "left_out": int((labels < 0).sum())})
        context.relabel(labels, features)


class ClusterMemoryParams(Params):
    """Params of the loss `cluster_memory`."""

    temperature: float = Field(
        default=0.05, gt=0.0, description="Divisor of the cosines, above 0; small is sharp."
    )
    momentum: float = Field(
        default=0.1, ge=0.0, le=1.0, description="Share of the old vector that an update keeps."
    )


def build_labels(params: ClusterLabelsParams) -> Callback:
    """Build the callback."""
    return ClusterLabels(params)


def build_memory(params: ClusterMemoryParams, *, dim: int, num_pids: int) -> Loss:
    """Build the loss for vectors of ``dim`` numbers and ``num_pids`` clusters."""
    import torch
    from torch import Tensor, nn
    from torch.nn import functional as F

    class ClusterMemory(nn.Module):
        """Cross entropy of the cosines to the clusters' vectors, which follow the images."""

        memory: Tensor

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("memory", torch.zeros(num_pids, dim))
            self._seen: tuple[Tensor, Tensor] | None = None

        def set_classes(self, change: Relabelling) -> None:
            """Start from the clusters' mean vectors; those of a checkpoint come afterwards."""
            self.memory = self.memory.new_zeros(change.num_pids, dim)
            if change.features is not None:
                kept = torch.from_numpy(change.new >= 0)
                labels = torch.from_numpy(change.new)[kept].to(self.memory.device)
                vectors = torch.from_numpy(change.features.values["embedding"])[kept]
                vectors = F.normalize(vectors.to(self.memory), dim=1)
                self.memory = F.normalize(self.memory.index_add(0, labels, vectors), dim=1)

        def forward(self, x: LossInput) -> LossOutput:
            """Compare ``x.features``, of length 1, with every cluster."""
            cosine = x.features @ self.memory.T  # (B, num_pids)
            self._seen = x.features.detach(), x.pids
            accuracy = (cosine.argmax(dim=1) == x.pids).float().mean()
            value = F.cross_entropy(cosine / params.temperature, x.pids)
            return LossOutput(value, accuracy=accuracy.detach())

        def after_step(self) -> None:
            """Move the vectors of the clusters that were seen towards the images, one by one."""
            assert self._seen is not None
            for vector, pid in zip(*self._seen, strict=True):
                moved = params.momentum * self.memory[pid] + (1.0 - params.momentum) * vector
                self.memory[pid] = F.normalize(moved, dim=0)

    return ClusterMemory()


@hookimpl
def reid_callback() -> list[Component]:
    """Offer the clustering."""
    return [
        Component(
            name="cluster_labels",
            params=ClusterLabelsParams,
            build=build_labels,
            summary="Clusters of the training images are their identities, anew in every epoch",
            reference="arXiv:2103.11568",
        )
    ]


@hookimpl
def reid_loss() -> list[LossComponent]:
    """Offer the memory."""
    return [
        LossComponent(
            name="cluster_memory",
            params=ClusterMemoryParams,
            build=build_memory,
            summary="Cross entropy of the cosines to a memory with one vector for each cluster",
            reference="arXiv:2103.11568",
            role="metric",
            on="embedding",
            normalize=True,
            needs=frozenset({"batch"}),
        )
    ]

"""K-means of a batch: a fixed number of rounds, reproducible, without asking the device."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reid_plugins.toolkit.loss_distances import squared_distance

if TYPE_CHECKING:
    import torch
    from torch import Tensor

ROUNDS = 10
"""A test for convergence would make a GPU wait in every round."""


def kmeans(points: Tensor, clusters: int, generator: torch.Generator) -> Tensor:
    """Return the cluster of every point after ``ROUNDS`` rounds of Lloyd's algorithm.

    Args:
        points: ``(N, d)``; no gradient passes.
        clusters: Their number K; with fewer different points some stay empty.
        generator: On the CPU; decides on the first centers.

    Returns:
        ``(N,)`` int64, 0 to K - 1.
    """
    import torch

    points = points.detach()
    centers = first_centers(points, clusters, generator)
    numbers = torch.arange(clusters, device=points.device)[:, None]  # (K, 1)
    for _ in range(ROUNDS):
        members = (numbers == nearest(points, centers)).to(points)  # (K, N)
        count = members.sum(dim=1, keepdim=True)  # (K, 1)
        means = members @ points / count.clamp(min=1)
        centers = means.where(count > 0, centers)  # (K, d)
    return nearest(points, centers)


def first_centers(points: Tensor, clusters: int, generator: torch.Generator) -> Tensor:
    """Draw centers among the points, far ones more likely (k-means++).

    Reference: Arthur and Vassilvitskii, "k-means++: The Advantages of Careful Seeding",
    SODA 2007.

    Args:
        points: ``(N, d)``.
        clusters: Their number K.
        generator: On the CPU.

    Returns:
        ``(K, d)``.
    """
    import torch

    draws = torch.empty(clusters, len(points)).exponential_(generator=generator)
    weights = torch.ones_like(points[:, 0])  # (N,)
    chosen: list[Tensor] = []
    for draw in draws.to(points, non_blocking=True):
        # The largest ratio of weight to exponential draw falls on a point in proportion to
        # its weight, and needs no running sum, which GPUs do not repeat to the bit.
        center = points.index_select(0, (weights / draw).argmax()[None])  # (1, d)
        distance = squared_distance(points, center)[:, 0]
        weights = weights.minimum(distance) if chosen else distance
        chosen.append(center)
    return torch.cat(chosen)


def nearest(points: Tensor, centers: Tensor) -> Tensor:
    """Return the nearest of the centers ``(K, d)`` to every point ``(N, d)``: ``(N,)`` int64."""
    return squared_distance(points, centers).argmin(dim=1)

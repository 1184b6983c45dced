"""Inputs of losses for which numbers are known, random ones, and how gradients are compared."""

import math

import torch

PIDS = torch.tensor([0, 0, 1, 1, 2, 2, 3, 3])
FEATURES = torch.tensor(
    [
        [(1 + 0.25 * i) * math.sin(1 + 3 * i + 2 * k**2 + 0.5 * i * k) for k in range(4)]
        for i in range(8)
    ],
    dtype=torch.float64,
)
"""The deterministic inputs of the published vectors: 8 images of 4 identities, 4 values."""

POINTS = torch.tensor([[0, 0], [1, 0], [0, 2], [0, 3], [4, 0], [4, 1]], dtype=torch.float64)
POINT_PIDS = torch.tensor([0, 0, 1, 1, 2, 2])
"""Three identities on a plane; every nearest and farthest distance is known by hand."""

UNIT = torch.tensor(
    [[1, 0, 0], [0.8, 0.6, 0], [0, 1, 0], [0, 0.6, 0.8], [0, 0, 1]], dtype=torch.float64
)
UNIT_PIDS = torch.tensor([0, 0, 1, 1, 2])
"""Five unit vectors of three identities."""


def random_batch(seed, counts, dim=5, others=()):
    """Draw a batch whose identity j has ``counts[j]`` images.

    Returns:
        Features ``(sum(counts), dim)``, an array of each shape in ``others``, all normally
        distributed in float64, and the identities in any order.
    """
    generator = torch.Generator().manual_seed(seed)
    pids = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    drawn = [
        torch.randn(*shape, generator=generator, dtype=torch.float64)
        for shape in ((len(pids), dim), *others)
    ]
    return *drawn, pids[torch.randperm(len(pids), generator=generator)]


def value_and_gradients(function, *inputs):
    """Return the value of a function and its gradients by every input, 0 where it ignores one."""
    leaves = [x.clone().requires_grad_() for x in inputs]
    value = function(*leaves)
    gradients = torch.autograd.grad(value, leaves, allow_unused=True, materialize_grads=True)
    return value.detach(), *gradients

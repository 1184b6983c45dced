"""Queries and gallery of plain rows, all their keys, and vectors as lists for brute force."""

import math

import numpy as np
import torch

from reid_evaluate.distances.comparison import Comparison, Vectors
from reid_evaluate.distances.distance_matrix import Cosine


def vectors(rows):
    """Return rows as images of different people, all of camera 0."""
    features = torch.tensor(np.asarray(rows), dtype=torch.float32)
    return Vectors(features, np.arange(len(rows)).astype(str), np.zeros(len(rows), dtype=int))


def comparison_of(query, gallery, distance=None):
    return Comparison(vectors(query), vectors(gallery), distance or Cosine())


def filled(keys, comparison, block_size=1000):
    """Return all keys ``(queries, gallery)``, filled in blocks of queries."""
    out = torch.full((len(comparison.query), len(comparison.gallery)), torch.nan)
    for start in range(0, len(out), block_size):
        stop = min(start + block_size, len(out))
        keys.fill(start, stop, out[start:stop])
    return out.numpy()


def keys_of(comparison, block_size=1000):
    return filled(comparison.keys, comparison, block_size)


def random_rows(rng, count, size):
    """Draw rows in all directions, of lengths that differ much."""
    return rng.standard_normal((count, size)) * rng.uniform(0.1, 10, (count, 1))


def unit(vector):
    norm = math.sqrt(sum(x * x for x in vector))
    return [x / norm for x in vector] if norm else list(vector)


def dot(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True))

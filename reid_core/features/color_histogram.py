"""What a score must be compared with: a colour histogram knows nothing of people."""

from __future__ import annotations

import numpy as np
from PIL import Image

from reid_core.storage.store import Store

STRIPES = 3
BINS = 8


def color_histogram(image: Image.Image) -> np.ndarray:
    """Return the colour histogram of an RGB picture in three horizontal stripes.

    Each stripe gives an 8 x 8 x 8 RGB histogram that sums to 1; square roots are taken, so
    that the dot product of two vectors is the Bhattacharyya coefficient.

    Returns:
        ``(1536,)`` float32, values 0 to 1.
    """
    pixels = np.asarray(image.resize((32, 64)), dtype=np.int64) * BINS // 256  # (64, 32, 3)
    codes = (pixels[..., 0] * BINS + pixels[..., 1]) * BINS + pixels[..., 2]
    stripes = np.array_split(codes, STRIPES)
    counts = [np.bincount(s.ravel(), minlength=BINS**3) / s.size for s in stripes]
    histogram: np.ndarray = np.sqrt(np.concatenate(counts)).astype(np.float32)
    return histogram


def histogram_features(store: Store, split: str) -> np.ndarray:
    """Return the histograms ``(N, 1536)`` of a split's images, in the order of the store."""
    positions = store.index.positions(split)
    return np.stack([color_histogram(store.image(int(p))) for p in positions])

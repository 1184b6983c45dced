"""Augmentations beside their contract: what is random is no preprocessing."""

import numpy as np
import torch
from PIL import Image


def test_an_operation_of_training_alone_is_random(augmentation):
    component = augmentation.component
    pixels = np.random.default_rng(0).integers(0, 256, (64, 32, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    if component.stage == "tensor":
        image = torch.from_numpy(pixels).permute(2, 0, 1).float().div(255)
    results = {
        np.asarray(augmentation.build()(image, np.random.default_rng(seed))).tobytes()
        for seed in range(30)
    }
    # An operation without randomness is preprocessing: its use is 'both'.
    assert (len(results) > 1) == (component.use == "train")

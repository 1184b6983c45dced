"""Images are found to be the same by their bytes, whatever they are called."""

import io

import numpy as np
import pytest
from PIL import Image

from reid_core.contracts import ImageRecord, Listing
from reid_core.storage.packing import pack
from reid_core.storage.same_pictures import Images, same_as


def encoded(seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 4, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "BMP")  # all of one size
    return buffer.getvalue()


@pytest.fixture
def store_of(tmp_path):
    """A function: a store of these pictures, by their seeds."""

    def make(name, seeds):
        records = [
            ImageRecord(f"{name}{i}.bmp", "train", "1", 0, lambda seed=seed: encoded(seed))
            for i, seed in enumerate(seeds)
        ]
        return pack(Listing(records), tmp_path / name, {"name": name, "params": {}})

    return make


def test_the_same_bytes_are_found_under_other_names_in_another_store(store_of):
    ours, theirs = store_of("a", [1, 2, 3, 4]), store_of("b", [4, 9, 2])
    every = [Images(s, np.arange(len(s))) for s in (ours, theirs)]
    assert same_as(every[0], [every[1]]).tolist() == [False, True, False, True]
    assert same_as(every[1], [every[0]]).tolist() == [True, False, True]


def test_only_the_images_asked_for_are_compared(store_of):
    store = store_of("a", [1, 2, 1, 2])
    first, last = Images(store, np.array([0, 1])), Images(store, np.array([2]))
    assert same_as(first, [last]).tolist() == [True, False]
    assert same_as(first, []).tolist() == [False, False]
    assert same_as(Images(store, np.array([], dtype=np.int64)), [last]).tolist() == []

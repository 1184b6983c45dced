"""Augmentations: the declared stage, randomness from ``rng`` alone, inputs left as they were."""

import pickle

import numpy as np
import pytest
import torch
from PIL import Image

SIZES = [(64, 32), (256, 128), (37, 21)]
"""(height, width) in pixels."""

pytestmark = pytest.mark.usefixtures("untouched_global_generators")


class Forbidden:
    """A generator that nobody may use."""

    def __getattribute__(self, name):
        raise AssertionError(f"rng.{name} is used")


def picture(stage, size):
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    if stage == "pil":
        return Image.fromarray(pixels)
    return torch.from_numpy(pixels).permute(2, 0, 1).float().div(255)


def content(image):
    """Size and values, to compare."""
    if isinstance(image, Image.Image):
        return image.mode, image.size, image.tobytes()
    return tuple(image.shape), image.contiguous().numpy().tobytes()


def rng(seed=0):
    return np.random.default_rng([seed, 1, 2])


def test_the_stage_is_known(augmentation):
    assert augmentation.component.stage in ("pil", "tensor")
    assert augmentation.component.use in ("train", "test", "both")
    assert augmentation.component.extras in ("keeps", "moves", None)


@pytest.mark.parametrize("size", SIZES)
def test_the_result_is_an_image_of_the_same_stage(augmentation, size):
    stage = augmentation.component.stage
    apply = augmentation.build()
    for seed in range(10):
        result = apply(picture(stage, size), rng(seed))
        if stage == "pil":
            assert isinstance(result, Image.Image)
            assert result.mode == "RGB"
        else:
            assert result.dtype == torch.float32
            assert result.ndim == 3
            assert result.shape[0] == 3
            assert result.isfinite().all()


@pytest.mark.parametrize("size", SIZES)
def test_the_size_of_the_result_is_not_random(augmentation, size):
    apply, image = augmentation.build(), picture(augmentation.component.stage, size)
    results = [content(apply(image, rng(seed))) for seed in range(10)]
    assert len({result[:-1] for result in results}) == 1


@pytest.mark.parametrize("size", SIZES)
def test_the_same_rng_gives_the_same_image(augmentation, size):
    image = picture(augmentation.component.stage, size)
    apply = augmentation.build()
    for seed in range(10):
        first, again = apply(image, rng(seed)), apply(image, rng(seed))
        other = augmentation.build()(image, rng(seed))
        assert content(first) == content(again) == content(other)


@pytest.mark.parametrize("size", SIZES)
def test_the_input_is_not_modified(augmentation, size):
    image = picture(augmentation.component.stage, size)
    before = content(image)
    for seed in range(10):
        augmentation.build()(image, rng(seed))
    assert content(image) == before


def test_preprocessing_draws_no_random_number_and_training_may(augmentation):
    image = picture(augmentation.component.stage, (64, 32))
    results = {content(augmentation.build()(image, rng(seed))) for seed in range(30)}
    if augmentation.component.use != "train":
        assert content(augmentation.build()(image, Forbidden())) in results
        assert len(results) == 1
    else:
        assert len(results) > 1, "an operation without randomness is preprocessing: its use is 'both'"


def test_the_operation_can_be_sent_to_loader_processes(augmentation):
    apply = augmentation.build()
    copied = pickle.loads(pickle.dumps(apply))
    image = picture(augmentation.component.stage, (64, 32))
    assert content(copied(image, rng())) == content(apply(image, rng()))

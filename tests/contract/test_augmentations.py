"""Augmentations: the declared stage, randomness from ``rng`` alone, inputs left as they were."""

import pickle

import numpy as np
import pytest
import torch
from PIL import Image

from reid_core.contracts import Sample
from reid_core.data.transforms import Operation

SIZES = [(64, 32), (256, 128), (37, 21)]
"""(height, width) in pixels."""

COUNT = 4
"""Images of a batch."""

pytestmark = pytest.mark.usefixtures("untouched_global_generators")


class Forbidden:
    """A generator that nobody may use."""

    def __getattribute__(self, name):
        raise AssertionError(f"rng.{name} is used")


@pytest.fixture
def make(augmentation):
    """A function from a sample and randomness to the new sample, as the core calls it."""
    component = augmentation.component

    def build():
        operation = Operation(
            augmentation.offer.origin,
            component.stage,
            component.use,
            component.extras == "moves",
            augmentation.build(),
        )
        return lambda sample, rng: operation(sample, rng, "on an image")

    return build


@pytest.fixture
def sample(augmentation):
    """A function from a size to an image, or a batch of them, with a mask beside it."""
    stage = augmentation.component.stage

    def make_sample(size, *, masked=True):
        generator = np.random.default_rng(0)
        pixels = generator.integers(0, 256, (COUNT, *size, 3), dtype=np.uint8)
        masks = generator.integers(0, 256, (COUNT, *size), dtype=np.uint8)
        if stage == "pil":
            image, mask = Image.fromarray(pixels[0]), Image.fromarray(masks[0])
        else:
            image = torch.from_numpy(pixels).permute(0, 3, 1, 2).float().div(255).contiguous()
            mask = torch.from_numpy(masks)
            image, mask = (image, mask) if stage == "batch" else (image[0], mask[0])
        return Sample(image, {"mask": mask} if masked else {})

    return make_sample


@pytest.fixture
def randomness(augmentation):
    """A function from a seed to a generator, or to those of the images of a batch."""

    def generators(seed=0):
        if augmentation.component.stage == "batch":
            return [np.random.default_rng([seed, 1, place]) for place in range(COUNT)]
        return np.random.default_rng([seed, 1, 2])

    return generators


def content(sample):
    """Size and values, to compare."""
    return [_content(part) for part in (sample.image, *sample.masks.values())]


def _content(image):
    if isinstance(image, Image.Image):
        return image.mode, image.size, image.tobytes()
    return tuple(image.shape), image.contiguous().numpy().tobytes()


def test_the_stage_is_known(augmentation):
    assert augmentation.component.stage in ("pil", "tensor", "batch")
    assert augmentation.component.use in ("train", "test", "both")
    assert augmentation.component.extras in ("keeps", "moves", None)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("masked", [False, True])
def test_the_result_is_an_image_of_the_same_stage(
    augmentation, make, sample, randomness, size, masked
):
    if masked and augmentation.component.extras is None:
        masked = False  # a training that reads masks refuses it
    apply = make()
    for seed in range(10):
        given = sample(size, masked=masked)
        result = apply(given, randomness(seed))  # checks type, channels, sizes of masks
        assert type(result.image) is type(given.image) or augmentation.component.stage == "pil"
        assert np.isfinite(np.asarray(result.image)).all()


@pytest.mark.parametrize("size", SIZES)
def test_the_size_of_the_result_is_not_random(make, sample, randomness, size):
    apply, given = make(), sample(size, masked=False)
    results = [content(apply(given, randomness(seed)))[0] for seed in range(10)]
    assert len({result[:-1] for result in results}) == 1


@pytest.mark.parametrize("size", SIZES)
def test_the_same_rng_gives_the_same_image(make, sample, randomness, size):
    given, apply = sample(size, masked=False), make()
    for seed in range(10):
        first, again = apply(given, randomness(seed)), apply(given, randomness(seed))
        other = make()(given, randomness(seed))
        assert content(first) == content(again) == content(other)


@pytest.mark.parametrize("size", SIZES)
def test_the_input_is_not_modified(make, sample, randomness, size):
    given = sample(size, masked=False)
    before = content(given)
    for seed in range(10):
        make()(given, randomness(seed))
    assert content(given) == before


def test_preprocessing_draws_no_random_number_and_training_may(
    augmentation, make, sample, randomness
):
    given = sample((64, 32), masked=False)
    results = {tuple(content(make()(given, randomness(seed)))) for seed in range(30)}
    if augmentation.component.use != "train":
        nobody = [Forbidden()] * COUNT if augmentation.component.stage == "batch" else Forbidden()
        assert tuple(content(make()(given, nobody))) in results
        assert len(results) == 1
    else:
        assert len(results) > 1, (
            "an operation without randomness is preprocessing: its use is 'both'"
        )


def test_an_image_of_a_batch_depends_on_its_own_generator(augmentation, make, sample, randomness):
    given, several = sample((64, 32), masked=False), augmentation.component.stage == "batch"
    together = make()(given, randomness(3)).image
    alone = (
        [make()(Sample(given.image[i : i + 1]), randomness(3)[i : i + 1]) for i in range(COUNT)]
        if several
        else [Sample(together)]
    )
    joined = torch.cat([s.image for s in alone]) if several else alone[0].image
    assert content(Sample(joined)) == content(Sample(together))


def test_the_operation_can_be_sent_to_loader_processes(augmentation, sample, randomness):
    moves = augmentation.component.extras == "moves"
    given = sample((64, 32), masked=False)
    apply = augmentation.build()
    results = [
        each(given if moves else given.image, randomness())
        for each in (apply, pickle.loads(pickle.dumps(apply)))
    ]
    first, second = results if moves else [Sample(result) for result in results]
    assert content(first) == content(second)

"""The augmentations: against torchvision where it has the same, by hand elsewhere."""

import pickle
from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError
from torchvision.transforms import functional as reference

from reid_core.component import call_build
from reid_core.contracts import Sample
from reid_plugins.augmentation import (
    color_jitter,
    flip,
    normalize,
    pad_crop,
    random_erasing,
    resize,
)

ALL = [color_jitter, flip, normalize, pad_crop, random_erasing, resize]


def built(module, **params):
    (component,) = module.reid_augmentation()
    return call_build(component, component.params.model_validate(params))


def make(module, **params):
    """Return the operation on an image that nothing stands beside."""
    apply = built(module, **params)
    if module.reid_augmentation()[0].extras != "moves":
        return apply
    return lambda image, rng: apply(Sample(image), rng).image


def noise(height=64, width=32, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def tensor(height=64, width=32):
    return torch.rand(3, height, width, generator=torch.Generator().manual_seed(0))


def rng(seed=0):
    return np.random.default_rng(seed)


def stage(module):
    return module.reid_augmentation()[0].stage


def example(module):
    if stage(module) == "batch":
        return torch.stack([tensor() + number for number in range(4)])
    return noise() if stage(module) == "pil" else tensor()


def randomness(module, seed):
    """Return a generator, or those of the images of a batch."""
    return [rng(seed + i) for i in range(4)] if stage(module) == "batch" else rng(seed)


def array(image):
    return np.asarray(image)


# ---- every one --------------------------------------------------------------------------


@pytest.mark.parametrize("module", ALL)
def test_the_same_generator_gives_the_same_image(module):
    apply = make(module)
    results = [array(apply(example(module), randomness(module, 3))) for _ in range(2)]

    np.testing.assert_array_equal(*results)


@pytest.mark.parametrize("module", ALL)
def test_the_input_is_not_changed(module):
    image = example(module)
    before = array(image).copy()
    apply = make(module)
    for seed in range(5):
        apply(image, randomness(module, seed))

    np.testing.assert_array_equal(array(image), before)


@pytest.mark.parametrize("module", ALL)
def test_worker_processes_can_receive_it(module):
    apply = built(module)
    sent = pickle.loads(pickle.dumps(apply))
    results = []
    for each in (apply, sent):
        moves = module.reid_augmentation()[0].extras == "moves"
        image = Sample(example(module)) if moves else example(module)
        result = each(image, randomness(module, 1))
        results.append(array(result.image if moves else result))

    np.testing.assert_array_equal(*results)


@pytest.mark.parametrize("module", [normalize, resize])
def test_preprocessing_uses_no_randomness(module):
    (component,) = module.reid_augmentation()
    generator = rng()
    before = generator.bit_generator.state

    make(module)(example(module), generator)

    assert component.use == "both"
    assert generator.bit_generator.state == before


@pytest.mark.parametrize("module", [color_jitter, flip, pad_crop, random_erasing])
def test_training_augmentation_stays_out_of_evaluation(module):
    assert module.reid_augmentation()[0].use == "train"


# ---- resize -----------------------------------------------------------------------------


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(32, 16), (128, 64), (256, 128)])
def test_resize_is_torchvisions(interpolation, size):
    mode = reference.InterpolationMode(interpolation)
    expected = reference.resize(noise(), list(size), interpolation=mode, antialias=True)
    got = make(resize, height=size[0], width=size[1], interpolation=interpolation)(noise(), None)

    assert got.size == (size[1], size[0])
    np.testing.assert_array_equal(array(got), array(expected))


def test_resize_averages_when_it_shrinks():
    stripes = Image.fromarray(np.tile(np.array([[[0] * 3], [[255] * 3]], np.uint8), (64, 64, 1)))
    small = array(make(resize, height=8, width=8)(stripes, None)).astype(int)

    assert abs(small[2:6, 2:6] - 127).max() < 8


# ---- flip -------------------------------------------------------------------------------


def batch_of(count, dtype=torch.float32):
    """Return images that are no mirror images of themselves."""
    pixels = torch.arange(count * 3 * 4 * 2).reshape(count, 3, 4, 2)
    return (pixels % 251).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.uint8, torch.bfloat16])
def test_flip_mirrors_left_to_right(dtype):
    images = batch_of(5, dtype)
    result = make(flip, p=1)(images, [rng()] * 5)

    assert result.dtype == dtype
    assert torch.equal(result, torch.stack([image[..., [1, 0]] for image in images]))


def test_flip_with_probability_zero_changes_nothing():
    assert torch.equal(make(flip, p=0)(batch_of(5), [rng()] * 5), batch_of(5))


def test_an_image_is_flipped_by_its_own_generator_and_half_of_the_time():
    count = 2000
    images, generators = batch_of(count), [rng(seed) for seed in range(count)]
    result = make(flip)(images, generators)
    was_flipped = [not torch.equal(*pair) for pair in zip(result, images, strict=True)]

    assert 900 < sum(was_flipped) < 1100
    assert was_flipped == [rng(seed).random() < 0.5 for seed in range(count)]
    alone = [make(flip)(images[i : i + 1], [rng(i)])[0] for i in range(50)]
    assert torch.equal(torch.stack(alone), result[:50])


# ---- masks ------------------------------------------------------------------------------


def coordinates(height=24, width=12):
    """Return a picture and a mask that say in every pixel where it comes from, never 0."""
    rows, columns = np.mgrid[1 : height + 1, 1 : width + 1]
    place = (rows * 10 + columns).astype(np.uint8)
    return Image.fromarray(np.stack([place] * 3, axis=-1)), Image.fromarray(place)


def test_pad_crop_moves_masks_with_the_image():
    picture, mask = coordinates()
    apply, generator = built(pad_crop, padding=7), rng()
    moved = [apply(Sample(picture, {"m": mask}), generator) for _ in range(30)]

    for result in moved:
        np.testing.assert_array_equal(array(result.image)[..., 0], array(result.masks["m"]))
    assert len({result.image.tobytes() for result in moved}) > 20


def test_resize_takes_the_nearest_pixel_of_a_mask():
    picture, mask = coordinates()
    result = built(resize, height=8, width=6)(Sample(picture, {"m": mask}), None)

    np.testing.assert_array_equal(array(result.masks["m"]), array(mask)[1::3, 1::2])
    assert result.masks["m"].mode == "L"


def test_erasing_writes_zero_into_masks():
    ones = torch.ones(64, 32, dtype=torch.uint8)
    image = tensor() + 2
    result = built(random_erasing, p=1)(Sample(image, {"m": ones}), rng(5))

    erased_here = (result.image != image).any(0)
    assert erased_here.any()
    assert torch.equal(result.masks["m"], (~erased_here).to(torch.uint8))
    assert ones.all(), "the mask that was given is not changed"


def test_flip_mirrors_masks_with_their_images():
    images = batch_of(200)
    masks = images[:, 0].to(torch.uint8)
    result = built(flip)(Sample(images, {"m": masks}), [rng(seed) for seed in range(200)])

    assert torch.equal(result.masks["m"], result.image[:, 0].to(torch.uint8))
    assert 0 < int((result.masks["m"] != masks).any(-1).any(-1).sum()) < 200


# ---- pad_crop ---------------------------------------------------------------------------


@pytest.mark.parametrize("padding", [0, 3, [1, 4], [5, 0]])
def test_pad_crop_is_a_crop_of_the_padded_image(padding):
    apply, generator, image = make(pad_crop, padding=padding), rng(), noise(8, 6)
    vertical, horizontal = padding if isinstance(padding, list) else (padding, padding)
    padded = np.pad(array(image), ((vertical,) * 2, (horizontal,) * 2, (0, 0)))
    crops = [
        padded[top : top + 8, left : left + 6].tobytes()
        for top in range(2 * vertical + 1)
        for left in range(2 * horizontal + 1)
    ]
    seen = Counter(crops.index(array(apply(image, generator)).tobytes()) for _ in range(1500))

    assert set(seen) == set(range(len(crops)))
    assert max(seen.values()) < 3 * 1500 / len(crops)


@pytest.mark.parametrize("padding", [-1, [1], [1, 2, 3], [1, -2], 1.5])
def test_pad_crop_refuses_other_paddings(padding):
    with pytest.raises(ValidationError):
        make(pad_crop, padding=padding)


# ---- random_erasing ---------------------------------------------------------------------


def erased(**params):
    """Return (mask (H, W) of what was overwritten, the result) of one image that was erased."""
    image = tensor(256, 128) + 2
    result = make(random_erasing, p=1, **params)(image, rng(5))
    return (result != image).any(0), result


@pytest.mark.parametrize(
    ("params", "value"),
    [
        ({}, [0.485, 0.456, 0.406]),
        ({"mean": [0.1, 0.2, 0.3]}, [0.1, 0.2, 0.3]),
        ({"fill": "zero"}, [0, 0, 0]),
    ],
)
def test_erasing_writes_the_fill_into_one_rectangle(params, value):
    mask, result = erased(**params)
    rows, columns = mask.any(1).nonzero().flatten(), mask.any(0).nonzero().flatten()

    assert mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
    assert int(mask.sum()) == (rows[-1] - rows[0] + 1) * (columns[-1] - columns[0] + 1)
    assert torch.equal(result[:, mask], torch.tensor(value)[:, None].expand(3, int(mask.sum())))


def test_erasing_with_noise_is_standard_normal():
    mask, result = erased(fill="noise", area=[0.4, 0.4])
    values = result[:, mask]

    assert result.dtype == torch.float32
    assert abs(float(values.mean())) < 0.03
    assert abs(float(values.std()) - 1) < 0.03


def test_erased_boxes_keep_to_the_ranges_and_reach_every_place():
    generator = rng()
    boxes = np.array(
        [
            random_erasing.erased_box(generator, 256, 128, (0.02, 0.4), (0.3, 3.33))
            for _ in range(4000)
        ]
    )
    top, left, h, w = boxes.T
    area, aspect = h * w / (256 * 128), h / w

    assert area.min() > 0.019
    assert area.max() < 0.41
    assert aspect.min() > 0.28
    assert aspect.max() < 3.6
    assert top.min() == left.min() == 0
    assert (top + h).max() == 256
    assert (left + w).max() == 128
    assert (h < 256).all()
    assert (w < 128).all()


def test_erasing_a_wall_wide_box_gives_up_and_leaves_the_image():
    image = tensor(8, 8)
    assert make(random_erasing, p=1, area=[1, 1], aspect=[1, 1])(image, rng()) is image


def test_erasing_with_probability_zero_does_nothing():
    image = tensor()
    assert make(random_erasing, p=0)(image, rng()) is image


def test_erasing_happens_half_of_the_time():
    apply, generator, image = make(random_erasing), rng(), tensor(16, 16)
    assert 900 < sum(apply(image, generator) is not image for _ in range(2000)) < 1100


def test_the_mean_before_normalize_is_zero_after_it():
    image, norm = tensor(), make(normalize)
    before = norm(make(random_erasing, p=1)(image, rng(2)), None)
    after = make(random_erasing, p=1, fill="zero")(norm(image, None), rng(2))

    torch.testing.assert_close(before, after, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"area": [0.4, 0.02]}, "first number must not be larger"),
        ({"aspect": [3.0, 0.3]}, "first number must not be larger"),
        ({"area": [0.0, 0.4]}, "greater than 0"),
        ({"area": [0.4]}, "at least 2"),
        ({"mean": [0.5, 0.5]}, "at least 3"),
        ({"fill": "black"}, "zero"),
    ],
)
def test_erasing_refuses_impossible_ranges(params, message):
    with pytest.raises(ValidationError, match=message):
        make(random_erasing, **params)


# ---- color_jitter -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("brightness", [0, 0.4, 1, 1.7]),
        ("contrast", [0, 0.4, 1, 1.7]),
        ("saturation", [0, 0.4, 1, 1.7]),
        ("hue", [-0.5, -0.13, 0, 0.2, 0.5]),
    ],
)
def test_each_change_is_torchvisions(kind, values):
    for value in values:
        expected = getattr(reference, f"adjust_{kind}")(noise(), value)
        np.testing.assert_array_equal(
            array(color_jitter.adjust(noise(), kind, value)), array(expected)
        )


def test_jitter_draws_factors_from_the_whole_range(monkeypatch):
    calls = []
    monkeypatch.setattr(color_jitter, "adjust", lambda image, kind, v: calls.append((kind, v)))
    apply = make(color_jitter, brightness=0.2, contrast=1.5, saturation=0.4, hue=0.1)
    generator = rng()
    for _ in range(500):
        apply(None, generator)
    ranges = {"brightness": (0.8, 1.2), "contrast": (0, 2.5), "saturation": (0.6, 1.4)}

    for kind, (low, high) in {**ranges, "hue": (-0.1, 0.1)}.items():
        values = [v for k, v in calls if k == kind]
        assert len(values) == 500
        assert min(values) == pytest.approx(low, abs=0.03)
        assert max(values) == pytest.approx(high, abs=0.03)
    orders = {tuple(k for k, _ in calls[i : i + 4]) for i in range(0, len(calls), 4)}
    assert len(orders) == 24


def test_jitter_of_zero_does_nothing():
    image = noise()
    assert make(color_jitter, brightness=0, contrast=0, saturation=0)(image, rng()) is image
    assert make(color_jitter, p=0)(image, rng()) is image


def test_jitter_changes_the_image_and_keeps_its_form():
    result = make(color_jitter, brightness=0.5, hue=0.2)(noise(), rng())

    assert result.mode == "RGB"
    assert result.size == noise().size
    assert (array(result) != array(noise())).any()


# ---- normalize --------------------------------------------------------------------------


def test_normalize_is_torchvisions():
    mean, std = [0.5, 0.4, 0.3], [0.2, 0.3, 0.4]
    expected = reference.normalize(tensor(), mean, std)

    assert torch.equal(make(normalize, mean=mean, std=std)(tensor(), None), expected)


def test_normalize_defaults_to_imagenet():
    expected = reference.normalize(tensor(), [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])

    assert torch.equal(make(normalize)(tensor(), None), expected)


def test_normalize_refuses_a_deviation_of_zero():
    with pytest.raises(ValidationError, match="greater than 0"):
        make(normalize, std=[0.2, 0.0, 0.2])

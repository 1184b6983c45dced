"""The three stages of image operations: masks, generators, sizes, and what plugins do wrong."""

from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image

from reid_core import AugmentationComponent, ReidError, hookimpl
from reid_core.boundary import PluginError
from reid_core.contracts import Sample
from reid_core.data.pipeline_checks import check_extras, check_training_size
from reid_core.data.transforms import Pipeline
from reid_core.params.entries import AugmentationEntry
from reid_core.params.messages import read_params

RESIZE = {"name": "resize", "params": {"height": 24, "width": 12}}


def operation(apply, name="mine", **facts):
    """Return a component of a plain function."""
    facts = {"stage": "tensor", "use": "train", **facts}
    return AugmentationComponent(name=name, build=lambda params: apply, summary="-", **facts)


@pytest.fixture
def entries_of(catalog_with):
    """A function from components and an augmentation section to its entries."""

    def make(raw, *components):
        class Plugin:
            @hookimpl
            def reid_augmentation(self):
                return list(components)

        catalog = catalog_with(Plugin())
        return [read_params(AugmentationEntry, entry, catalog) for entry in raw]

    return make


@pytest.fixture
def pipeline_of(entries_of):
    return lambda raw, *components: Pipeline(entries_of(raw, *components), training=True)


def picture(size=(64, 128)):
    pixels = np.random.default_rng(0).integers(1, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def rng(seed=0):
    return np.random.default_rng(seed)


# ---- masks ------------------------------------------------------------------------------


def test_a_mask_follows_its_image_through_every_stage(pipeline_of):
    """Of a picture with one bright rectangle and its mask, the two stay where each other is."""
    pipeline = pipeline_of(
        [
            RESIZE,
            {"name": "pad_crop", "params": {"padding": 6}},
            {"name": "random_erasing", "params": {"p": 0.7, "fill": "zero"}},
            {"name": "flip"},
        ]
    )
    pixels = np.zeros((48, 24), dtype=np.uint8)
    pixels[8:30, 2:12] = 255  # in whole pixels of the resized image
    one = Sample(Image.fromarray(np.stack([pixels] * 3, -1)), {"body": Image.fromarray(pixels)})
    generators = [rng(seed) for seed in range(40)]
    each = [pipeline.single(one, generator) for generator in generators]
    batch = pipeline.batch(each, generators, [""] * 40)
    assert batch.image.shape == (40, 3, 24, 12)
    assert (batch.masks["body"].shape, batch.masks["body"].dtype) == ((40, 24, 12), torch.uint8)
    # A resized edge is between black and white; a mask has no such numbers.
    bright = (batch.image[:, 0] > 0.99).to(torch.uint8) * 255
    apart = (bright != batch.masks["body"]).flatten(1).sum(1)
    assert len({mask.numpy().tobytes() for mask in batch.masks["body"]}) > 30
    assert set(batch.masks["body"].unique().tolist()) == {0, 255}
    perimeter = 2 * (11 + 5) + 8
    assert int(apart.max()) <= perimeter


def test_operations_that_keep_pixels_get_the_image_alone(pipeline_of):
    seen = []

    def look(image, rng):
        seen.append(type(image))
        return image + 0

    pipeline = pipeline_of(
        [RESIZE, {"name": "mine"}, {"name": "normalize"}], operation(look, extras="keeps")
    )
    mask = Image.new("L", (64, 128), 7)
    result = pipeline.single(Sample(picture(), {"m": mask}), rng())
    assert seen == [torch.Tensor]
    assert torch.equal(result.masks["m"], torch.full((24, 12), 7, dtype=torch.uint8))


def test_a_training_that_reads_masks_wants_to_know_what_happens_to_them(entries_of):
    silent = operation(lambda image, rng: image, "silent")
    tests_only = operation(lambda image, rng: image, "late", use="test")
    raw = [RESIZE, {"name": "silent"}, {"name": "flip"}]
    with pytest.raises(
        ReidError,
        match=r"augmentation: 'body' is read beside the images, and augmentation 'silent' of .* "
        r"does not say whether it moves pixels; .* must declare extras 'moves' or 'keeps'",
    ):
        check_extras(entries_of(raw, silent), ["body"])
    check_extras(entries_of(raw, silent), [])
    check_extras(entries_of([RESIZE, {"name": "late"}, {"name": "flip"}], tests_only), ["body"])


# ---- randomness -------------------------------------------------------------------------


def test_a_generator_goes_on_from_stage_to_stage(pipeline_of):
    drawn = []

    def draw(image, rng):
        drawn.append(rng.random())
        return image

    def draw_each(images, rngs):
        drawn.extend(generator.random() for generator in rngs)
        return images

    pipeline = pipeline_of(
        [{"name": "one"}, {"name": "two"}, {"name": "three"}],
        operation(draw, "one", stage="pil"),
        operation(draw, "two"),
        operation(draw_each, "three", stage="batch"),
    )
    pipeline(picture(), rng(5))
    generator = rng(5)
    assert drawn == [generator.random() for _ in range(3)]


# ---- what plugins do wrong --------------------------------------------------------------

WRONG = {
    "pil": [
        (lambda image, rng: image.convert("L"), r"a PIL\.Image of mode L and 128 x 64 pixels"),
        (lambda image, rng: np.asarray(image), "a ndarray"),
        (lambda image, rng: None, "a NoneType"),
    ],
    "tensor": [
        (lambda image, rng: image.double(), r"a float64 tensor \(3, 128, 64\)"),
        (lambda image, rng: image[0], r"a float32 tensor \(128, 64\)"),
        (lambda image, rng: image.numpy(), "a ndarray"),
    ],
    "batch": [
        (lambda images, rngs: images[0], r"a float32 tensor \(3, 128, 64\)"),
        (lambda images, rngs: (images * 255).byte(), r"a uint8 tensor \(1, 3, 128, 64\)"),
    ],
}
EXPECTED = {
    "pil": r"an RGB PIL\.Image",
    "tensor": r"a float32 tensor \(3, H, W\)",
    "batch": r"a float32 tensor \(1, 3, H, W\)",
}


@pytest.mark.parametrize(
    ("stage", "apply", "came"), [(stage, *case) for stage, cases in WRONG.items() for case in cases]
)
def test_a_wrong_result_names_plugin_image_and_what_came(pipeline_of, stage, apply, came):
    pipeline = pipeline_of([{"name": "mine"}], operation(apply, stage=stage))
    place = "on the batch of image 'a.png'" if stage == "batch" else "on image 'a.png'"
    with pytest.raises(
        PluginError,
        match=rf"^augmentation 'mine' of .* returned {came}; expected {EXPECTED[stage]} {place}; "
        "the plugin must be corrected$",
    ):
        pipeline.batch([pipeline.single(Sample(picture()), rng(), "a.png")], [rng()], ["a.png"])


MASKED = [
    ("tensor", lambda s, rng: Sample(s.image), "returned the masks none; expected m"),
    (
        "tensor",
        lambda s, rng: Sample(s.image[:, :9], s.masks),
        r"left the mask 'm' as a uint8 tensor \(128, 64\); expected a uint8 tensor \(9, 64\)",
    ),
    (
        "tensor",
        lambda s, rng: Sample(s.image, {"m": s.masks["m"].float()}),
        r"left the mask 'm' as a float32 tensor .*; expected a uint8 tensor",
    ),
    (
        "pil",
        lambda s, rng: Sample(s.image.resize((5, 6)), s.masks),
        r"as a PIL\.Image of mode L and 128 x 64 pixels; expected a PIL\.Image of mode L and 6 x 5",
    ),
    (
        "batch",
        lambda s, rngs: Sample(s.image, {"m": s.masks["m"][0]}),
        r"as a uint8 tensor \(128, 64\); expected a uint8 tensor \(1, 128, 64\)",
    ),
    ("tensor", lambda s, rng: s.image, "returned a Tensor; expected a Sample, as it declares"),
]


@pytest.mark.parametrize(("stage", "apply", "message"), MASKED)
def test_a_wrong_mask_names_what_came(pipeline_of, stage, apply, message):
    pipeline = pipeline_of([{"name": "mine"}], operation(apply, stage=stage, extras="moves"))
    one = Sample(picture(), {"m": Image.new("L", (64, 128))})
    with pytest.raises(PluginError, match=message):
        pipeline.batch([pipeline.single(one, rng())], [rng()])


def test_a_sample_of_an_operation_that_moves_nothing_is_refused(pipeline_of):
    pipeline = pipeline_of([{"name": "mine"}], operation(lambda image, rng: Sample(image)))
    with pytest.raises(PluginError, match="returned a Sample; expected an image alone"):
        pipeline(picture(), rng())


def test_an_operation_that_keeps_pixels_and_changes_the_size_is_found_out(pipeline_of):
    cut = operation(lambda image, rng: image[:, :100], extras="keeps")
    pipeline = pipeline_of([{"name": "mine"}], cut)
    one = Sample(picture(), {"m": Image.new("L", (64, 128))})
    with pytest.raises(PluginError, match=r"left the mask 'm' as .* \(128, 64\); .* \(100, 64\)"):
        pipeline.single(one, rng())


def fails(image, rng):
    raise ZeroDivisionError("by nothing")


@pytest.mark.parametrize("stage", ["pil", "tensor", "batch"])
def test_an_operation_that_fails_is_named_with_its_image(pipeline_of, stage):
    pipeline = pipeline_of([{"name": "mine"}], operation(fails, stage=stage))
    with pytest.raises(
        PluginError, match=r"augmentation 'mine' .* failed on .*image 'a\.png': ZeroDivisionError"
    ):
        pipeline.batch([pipeline.single(Sample(picture()), rng(), "a.png")], [rng()], ["a.png"])


# ---- sizes ------------------------------------------------------------------------------


def grown(image, rng, to):
    return torch.zeros(3, *to)


def test_a_training_image_of_another_size_is_refused_and_the_operation_named(entries_of):
    bigger = operation(partial(grown, to=(30, 12)), "bigger")
    harmless = operation(lambda image, rng: image.resize((9, 9)), "harmless", stage="pil")
    entries = entries_of([{"name": "harmless"}, RESIZE, {"name": "bigger"}], bigger, harmless)
    size = Pipeline(entries, training=False).input_size()
    assert size == (24, 12)
    with pytest.raises(
        ReidError,
        match=r"^augmentation: images of the training are 30 x 12 pixels high and wide, those of "
        "evaluation 24 x 12; augmentation 'bigger' of .* changes their size; both must be the same",
    ):
        check_training_size(entries, size)
    check_training_size(entries_of([{"name": "harmless"}, RESIZE], harmless), size)


def test_without_an_operation_to_blame_both_sizes_are_named(entries_of):
    entries = entries_of([RESIZE])
    with pytest.raises(ReidError, match=r"here: .* 24 x 12 .* 48 x 12; both must be the same"):
        check_training_size(entries, (48, 12), "here")


def test_preprocessing_of_evaluation_alone_counts_for_its_size(entries_of):
    late = operation(partial(grown, to=(50, 20)), "late", use="test")
    entries = entries_of([RESIZE, {"name": "late"}], late)
    assert Pipeline(entries, training=False).input_size() == (50, 20)
    assert Pipeline(entries, training=True).input_size() == (24, 12)

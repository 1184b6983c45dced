"""Augmentations: the core calls them; randomness from ``rng`` alone, inputs left as they were."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import torch
from PIL import Image

from reid_core.component import AugmentationComponent
from reid_core.contracts import Sample
from reid_core.data.transforms import Operation
from reid_core.params.entries import AugmentationEntry
from reid_core.testing.subject import Subject, expect, untouched_generators

SIZES = ((64, 32), (256, 128), (37, 21))
"""(height, width) in pixels, where a case names none."""

BATCH = 4
SEEDS = range(10)


class _Forbidden:
    """A generator that nobody may use."""

    def __getattribute__(self, name: str) -> Any:
        raise AssertionError(f"preprocessing draws random numbers: rng.{name} is used")


def operation(subject: Subject) -> Callable[[Sample, Any], Sample]:
    """Return a function from (sample, rng) to the new sample, whose form the core has checked."""
    apply = Operation.of(subject.read(AugmentationEntry))
    return lambda sample, rng: apply(sample, rng, "on an image")


def sample_of(subject: Subject, size: tuple[int, int], *, masked: bool = False) -> Sample:
    """Return an image, or a batch of them, as the stage has it."""
    stage, generator = _component(subject).stage, np.random.default_rng(0)
    pixels = generator.integers(0, 256, (BATCH, *size, 3), dtype=np.uint8)
    mask = generator.integers(0, 256, (BATCH, *size), dtype=np.uint8)
    image: Any = Image.fromarray(pixels[0])
    masks: Any = Image.fromarray(mask[0])
    if stage != "pil":
        image = torch.from_numpy(pixels).permute(0, 3, 1, 2).float().div(255).contiguous()
        masks = torch.from_numpy(mask)
        image, masks = (image, masks) if stage == "batch" else (image[0], masks[0])
    return Sample(image, {"mask": masks} if masked else {})


def randomness(subject: Subject, seed: int = 0) -> Any:
    """Return a generator, or those of the images of a batch."""
    if _component(subject).stage == "batch":
        return [np.random.default_rng([seed, 1, place]) for place in range(BATCH)]
    return np.random.default_rng([seed, 1, 2])


def content(sample: Sample) -> list[Any]:
    """Return form and values of the image and its masks, to compare."""
    return [_content(part) for part in (sample.image, *sample.masks.values())]


def _content(image: Any) -> tuple[Any, bytes]:
    if isinstance(image, Image.Image):
        return (image.mode, image.size), image.tobytes()
    return tuple(image.shape), image.contiguous().numpy().tobytes()


def _component(subject: Subject) -> AugmentationComponent:
    return cast(AugmentationComponent, subject.component)


def _samples(subject: Subject) -> list[Sample]:
    """Return images of all sizes; with masks, unless a training that reads any refuses it."""
    sizes = (subject.case.size,) if subject.case.size else SIZES
    with_masks = [False] if _component(subject).extras is None else [False, True]
    return [sample_of(subject, size, masked=masked) for size in sizes for masked in with_masks]


# ---- checks -----------------------------------------------------------------------------


def the_result_is_an_image_of_the_same_stage_and_its_size_is_not_random(subject: Subject) -> None:
    """The core looks at its form and at that of the masks; images of a batch are stacked."""
    apply = operation(subject)
    for given in _samples(subject):
        forms = set()
        for seed in SEEDS:
            image = apply(given, randomness(subject, seed)).image
            finite = not isinstance(image, torch.Tensor) or bool(image.isfinite().all())
            expect(finite, "it returns values that are not finite")
            forms.add(_content(image)[0])
        expect(len(forms) == 1, f"the size is random: {sorted(forms)}")


def the_same_rng_gives_the_same_image(subject: Subject) -> None:
    """And nothing else is drawn from."""
    apply, other = operation(subject), operation(subject)
    with untouched_generators():
        for given in _samples(subject):
            for seed in SEEDS:
                first, again, third = (
                    content(each(given, randomness(subject, seed)))
                    for each in (apply, apply, other)
                )
                expect(first == again == third, "the same rng gives different images")


def the_input_is_left_as_it_was(subject: Subject) -> None:
    """The result is a new object."""
    apply = operation(subject)
    for given in _samples(subject):
        before = content(given)
        for seed in SEEDS:
            apply(given, randomness(subject, seed))
        expect(content(given) == before, "the image that it was given has been changed")


def preprocessing_draws_no_random_number(subject: Subject) -> None:
    """What has a use other than "train" is written into weights files."""
    if _component(subject).use == "train":
        return
    rng: Any = _Forbidden()
    rng = [rng] * BATCH if _component(subject).stage == "batch" else rng
    apply = subject.build()
    for given in _samples(subject):
        apply(given if _component(subject).extras == "moves" else given.image, rng)


def an_image_of_a_batch_depends_on_its_own_generator(subject: Subject) -> None:
    """Whoever else is in the batch."""
    if _component(subject).stage != "batch":
        return
    apply, given = operation(subject), _samples(subject)[-1]
    together = apply(given, randomness(subject, 3))
    for at in (slice(i, i + 1) for i in range(BATCH)):
        masks = {name: mask[at] for name, mask in given.masks.items()}
        alone = apply(Sample(given.image[at], masks), randomness(subject, 3)[at])
        masks = {name: mask[at] for name, mask in together.masks.items()}
        same = content(alone) == content(Sample(together.image[at], masks))
        expect(same, "an image becomes another one beside other images")


def it_can_be_sent_to_loader_processes(subject: Subject) -> None:
    """By pickling."""
    moves, given = _component(subject).extras == "moves", _samples(subject)[0]
    apply = subject.build()
    results = [
        each(given if moves else given.image, randomness(subject))
        for each in (apply, pickle.loads(pickle.dumps(apply)))
    ]
    first, second = (content(r if isinstance(r, Sample) else Sample(r)) for r in results)
    expect(first == second, "a pickled copy does something else")


CHECKS = (
    the_result_is_an_image_of_the_same_stage_and_its_size_is_not_random,
    the_same_rng_gives_the_same_image,
    the_input_is_left_as_it_was,
    preprocessing_draws_no_random_number,
    an_image_of_a_batch_depends_on_its_own_generator,
    it_can_be_sent_to_loader_processes,
)

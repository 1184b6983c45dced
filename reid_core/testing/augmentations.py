"""Augmentations: the declared stage, randomness from ``rng`` alone, inputs left as they were."""

from __future__ import annotations

import pickle
from typing import Any, cast

import numpy as np
import torch
from PIL import Image

from reid_core.component import AugmentationComponent
from reid_core.contracts import Sample
from reid_core.testing.subject import Subject, expect, untouched_generators

SIZES = ((64, 32), (256, 128), (37, 21))
"""(height, width) in pixels, where a case names none."""

BATCH = 4


class _Forbidden:
    """A generator that nobody may use."""

    def __getattribute__(self, name: str) -> Any:
        raise AssertionError(f"preprocessing draws random numbers: rng.{name} is used")


def _component(subject: Subject) -> AugmentationComponent:
    return cast(AugmentationComponent, subject.component)


def _sizes(subject: Subject) -> tuple[tuple[int, int], ...]:
    return (subject.case.size,) if subject.case.size else SIZES


def _image(subject: Subject, size: tuple[int, int]) -> Any:
    """Return an image as the stage has it; with a mask where the operation moves masks."""
    stage, moves = _component(subject).stage, _component(subject).extras == "moves"
    count = BATCH if stage == "batch" else 1
    pixels = np.random.default_rng(0).integers(0, 256, (count, *size, 3), dtype=np.uint8)
    mask = pixels[..., 0].copy()
    if stage == "pil":
        image: Any = Image.fromarray(pixels[0])
        masks: Any = Image.fromarray(mask[0])
    else:
        image = torch.from_numpy(pixels).permute(0, 3, 1, 2).float().div(255)
        masks = torch.from_numpy(mask)
        image, masks = (image, masks) if stage == "batch" else (image[0], masks[0])
    return Sample(image, {"mask": masks}) if moves else image


def _rng(subject: Subject, seed: int = 0) -> Any:
    if _component(subject).stage == "batch":
        return [np.random.default_rng([seed, 1, i]) for i in range(BATCH)]
    return np.random.default_rng([seed, 1, 2])


def _content(image: Any) -> Any:
    """Return form and values, to compare."""
    if isinstance(image, Sample):
        return _content(image.image), *(_content(mask) for mask in image.masks.values())
    if isinstance(image, Image.Image):
        return image.mode, image.size, image.tobytes()
    return tuple(image.shape), image.contiguous().numpy().tobytes()


# ---- checks -----------------------------------------------------------------------------


def stage_and_use_are_known(subject: Subject) -> None:
    """They say where it stands in the pipeline."""
    component = _component(subject)
    expect(component.stage in ("pil", "tensor", "batch"), f"stage: {component.stage!r}")
    expect(component.use in ("train", "test", "both"), f"use: {component.use!r}")
    expect(component.extras in ("keeps", "moves", None), f"extras: {component.extras!r}")


def the_result_is_an_image_of_the_same_stage_and_its_size_is_not_random(subject: Subject) -> None:
    """Images of a batch are stacked."""
    apply, stage = subject.build(), _component(subject).stage
    for size in _sizes(subject):
        forms = set()
        for seed in range(10):
            given = _image(subject, size)
            result = apply(given, _rng(subject, seed))
            both = isinstance(given, Sample), isinstance(result, Sample)
            expect(
                both[0] == both[1], f"it is given a Sample: {both[0]}; it returns one: {both[1]}"
            )
            image = result.image if isinstance(result, Sample) else result
            if stage == "pil":
                expect(isinstance(image, Image.Image), f"it returns a {type(image).__name__}")
                expect(image.mode == "RGB", f"it returns a picture of mode {image.mode}")
                forms.add(image.size)
            else:
                expect(isinstance(image, torch.Tensor), f"it returns a {type(image).__name__}")
                expect(image.dtype == torch.float32, f"it returns {image.dtype}")
                expect(bool(image.isfinite().all()), "it returns values that are not finite")
                forms.add(tuple(image.shape))
                channels = image.shape[-3] if image.ndim >= 3 else 0
                expect(channels == 3, f"it returns the shape {tuple(image.shape)}")
        expect(len(forms) == 1, f"the size is random: {sorted(forms)}")


def the_same_rng_gives_the_same_image(subject: Subject) -> None:
    """And nothing else is drawn from."""
    apply, image = subject.build(), _image(subject, _sizes(subject)[0])
    with untouched_generators():
        for seed in range(10):
            results = [_content(apply(image, _rng(subject, seed))) for _ in range(2)]
            results.append(_content(subject.build()(image, _rng(subject, seed))))
            same = results[0] == results[1] == results[2]
            expect(same, "the same rng gives different images")


def the_input_is_left_as_it_was(subject: Subject) -> None:
    """The result is a new object."""
    image = _image(subject, _sizes(subject)[0])
    before = _content(image)
    for seed in range(10):
        subject.build()(image, _rng(subject, seed))
    expect(_content(image) == before, "the image that it was given has been changed")


def preprocessing_draws_no_random_number(subject: Subject) -> None:
    """What has a use other than "train" is written into weights files."""
    if _component(subject).use == "train":
        return
    image = _image(subject, _sizes(subject)[0])
    rng: Any = _Forbidden()
    subject.build()(image, [rng] * BATCH if _component(subject).stage == "batch" else rng)


def it_can_be_sent_to_loader_processes(subject: Subject) -> None:
    """By pickling."""
    apply, image = subject.build(), _image(subject, _sizes(subject)[0])
    copied = pickle.loads(pickle.dumps(apply))
    same = _content(copied(image, _rng(subject))) == _content(apply(image, _rng(subject)))
    expect(same, "a pickled copy does something else")


CHECKS = (
    stage_and_use_are_known,
    the_result_is_an_image_of_the_same_stage_and_its_size_is_not_random,
    the_same_rng_gives_the_same_image,
    the_input_is_left_as_it_was,
    preprocessing_draws_no_random_number,
    it_can_be_sent_to_loader_processes,
)

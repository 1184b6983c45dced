"""Drawn people under several cameras, in Market-1501 naming: data that needs no download.

Every identity has body, clothes, hair and bags of its own; every camera has its own light,
view and background. Colours come from small palettes that people share, so that a colour
histogram confuses them, while who wears what where decides. Everything follows from the seed;
identities of the test splits are never seen in training. The columns hat, bag and lower say what an
identity wears.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import numpy as np
from pydantic import Field, model_validator

from reid_core import Component, Params, hookimpl
from reid_core.contracts import ImageRecord, Listing
from reid_core.limits import (
    LARGEST_SEED,
    LARGEST_SIDE,
    MOST_DRAWN,
    MOST_DRAWN_IMAGES,
    MOST_DRAWN_PERSONS,
)

TRAIN_FOLDER, QUERY_FOLDER, GALLERY_FOLDER = "bounding_box_train", "query", "bounding_box_test"
JUNK_PID, DISTRACTOR_PID = "-1", "0000"
BACKGROUND_PID = 1_000_000
"""Identities from here on are junk: people cut off by a bad detection."""


class SyntheticMarketParams(Params):
    """Params of the dataset ``synthetic_market``."""

    seed: int = Field(
        default=0, ge=0, le=LARGEST_SEED, description="Seed of people, cameras and poses."
    )
    train_identities: int = Field(
        default=200, ge=2, le=MOST_DRAWN_PERSONS, description="Identities to train on."
    )
    test_identities: int = Field(
        default=120, ge=2, le=MOST_DRAWN_PERSONS, description="Identities to score on."
    )
    cameras: int = Field(default=6, ge=2, le=9, description="Cameras.")
    train_images: int = Field(
        default=2,
        ge=1,
        le=MOST_DRAWN_IMAGES,
        description="Images per training identity and camera.",
    )
    test_images: int = Field(
        default=2,
        ge=2,
        le=MOST_DRAWN_IMAGES,
        description="Images per test identity and camera; one is the query.",
    )
    distractors: int = Field(
        default=60, ge=0, le=MOST_DRAWN_PERSONS, description="Gallery images without a person."
    )
    junk: int = Field(
        default=40,
        ge=0,
        le=MOST_DRAWN_PERSONS,
        description="Gallery images that are never counted.",
    )
    height: int = Field(
        default=128, ge=16, le=LARGEST_SIDE, description="Height of an image in pixels."
    )
    width: int = Field(
        default=64, ge=8, le=LARGEST_SIDE, description="Width of an image in pixels."
    )

    @model_validator(mode="after")
    def _size(self) -> SyntheticMarketParams:
        persons = (
            self.train_identities * self.train_images + self.test_identities * self.test_images
        )
        images = persons * self.cameras + self.distractors + self.junk
        if images > MOST_DRAWN:
            raise ValueError(f"at most {MOST_DRAWN} images are drawn, these would be {images}")
        return self


def encode_person(params: SyntheticMarketParams, pid: int, camid: int, shot: int) -> bytes:
    """Draw one detection of a person and return it as a JPEG file's bytes."""
    from reid_plugins.dataset._attributes import make_person
    from reid_plugins.dataset._camera import make_camera
    from reid_plugins.dataset._people import draw_person

    rng = np.random.default_rng([params.seed, 1, pid, camid, shot])
    camera = make_camera(params.seed, camid)
    image = draw_person(make_person(params.seed, pid), camera, rng, params.height, params.width)
    return _jpeg(image)


def encode_background(params: SyntheticMarketParams, camid: int, shot: int) -> bytes:
    """Draw a false alarm of the detector: a place without a person."""
    from reid_plugins.dataset._camera import make_camera
    from reid_plugins.dataset._scenes import draw_background

    rng = np.random.default_rng([params.seed, 2, camid, shot])
    return _jpeg(draw_background(make_camera(params.seed, camid), rng, params.height, params.width))


def list_images(params: SyntheticMarketParams) -> Iterator[ImageRecord]:
    """Yield the records of all splits; the pictures are drawn when they are read."""
    for number in range(params.train_identities + params.test_identities):
        columns = worn_by(params.seed, number)
        test = number >= params.train_identities
        for camid in range(1, params.cameras + 1):
            for shot in range(params.test_images if test else params.train_images):
                folder, split = TRAIN_FOLDER, "train"
                if test:
                    query = shot == 0
                    folder, split = (
                        (QUERY_FOLDER, "query") if query else (GALLERY_FOLDER, "gallery")
                    )
                draw = partial(encode_person, params, number, camid, shot)
                record = _record(folder, split, f"{number + 1:04d}", camid, shot, draw)
                yield replace(record, columns=columns)
    for shot in range(params.distractors):
        camid = shot % params.cameras + 1
        draw = partial(encode_background, params, camid, shot)
        yield _record(GALLERY_FOLDER, "gallery", DISTRACTOR_PID, camid, shot, draw)
    for shot in range(params.junk):
        camid = shot % params.cameras + 1
        draw = partial(encode_person, params, BACKGROUND_PID + shot, camid, shot)
        yield _record(GALLERY_FOLDER, "gallery", JUNK_PID, camid, shot, draw)


def worn_by(seed: int, number: int) -> dict[str, str]:
    """Return what an identity wears, as columns of its images."""
    from reid_plugins.dataset._attributes import make_person

    person = make_person(seed, number)
    return {"hat": person.hat, "bag": person.bag, "lower": person.lower}


def build(params: SyntheticMarketParams) -> Listing:
    """List the images; nothing is drawn yet."""
    return Listing(list(list_images(params)))


def _record(
    folder: str, split: str, pid: str, camid: int, shot: int, draw: partial[bytes]
) -> ImageRecord:
    return ImageRecord(
        name=f"{folder}/{pid}_c{camid}s1_{shot:06d}_00.jpg",
        split=split,
        pid=pid,
        camid=camid,
        source=draw,
        junk=pid == JUNK_PID,
        distractor=pid == DISTRACTOR_PID,
    )


def _jpeg(image: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=92)  # type: ignore[attr-defined]
    return buffer.getvalue()


@hookimpl
def reid_dataset() -> list[Component]:
    """Offer ``synthetic_market``."""
    return [
        Component(
            name="synthetic_market",
            params=SyntheticMarketParams,
            build=build,
            summary="Drawn people under several cameras, made on the spot from a seed",
        )
    ]

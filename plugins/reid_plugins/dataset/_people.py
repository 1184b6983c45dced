"""Draw the people of the data set `synthetic_market`, as a camera sees them.

Everything is a pure function of its seeds: no state is kept between calls.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from reid_plugins.dataset._attributes import Person
from reid_plugins.dataset._camera import Camera, develop
from reid_plugins.dataset._figure import paint_person
from reid_plugins.dataset._scenes import paint_occluder, paint_scene


def draw_person(
    person: Person,
    camera: Camera,
    rng: np.random.Generator,
    height: int = 128,
    width: int = 64,
) -> Image.Image:
    """Draw one detection of a person, in a random pose, as a camera sees it.

    Args:
        person: Who is drawn.
        camera: The camera that sees the person.
        rng: Source of pose, place and clutter; it is advanced.
        height: Height of the image in pixels.
        width: Width of the image in pixels.

    Returns:
        RGB image of `width` x `height` pixels.
    """
    canvas = paint_scene(camera, rng, height, width)
    paint_person(canvas, person, camera, rng)
    if rng.random() < 0.12:
        paint_occluder(canvas, rng)
    return develop(canvas, camera, rng, height, width)

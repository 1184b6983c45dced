"""Cameras of the drawn data set `synthetic_market`.

A camera is a place (what is seen behind the people), a view (how large and how
tilted they appear) and a light (what it does to every colour). Everything is a
pure function of its seeds: no state is kept between calls.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

Colour = tuple[int, int, int]

SCENES = ("street", "corridor", "grass", "wall", "shop", "plaza")


@dataclass(frozen=True)
class Camera:
    """What a camera does to everything it sees.

    Attributes:
        scene: Name of the background, one of `SCENES`.
        tones: Three base colours of the background (far, near, detail).
        horizon: Height of the floor line, as a fraction of the image from the top.
        gain: Brightness factor, about 0.77 to 1.1.
        gamma: Exponent applied to values in 0..1, 0.8 to 1.25.
        white_balance: Factors for red, green and blue, about 0.88 to 1.12.
        contrast: Contrast about mid grey, about 0.8 to 1.1.
        scale: Height of an average person as a fraction of the image height.
        centre: Horizontal offset of people from the middle, fraction of the width.
        tilt: Sideways lean of upright things, pixels per pixel of height.
        squash: Exponent on body height; above 1 seen from above (large head).
        noise: Standard deviation of the sensor noise, in grey levels (0..255).
        blur: Radius of the lens blur in pixels of an image 128 pixels high.
    """

    scene: str
    tones: tuple[Colour, Colour, Colour]
    horizon: float
    gain: float
    gamma: float
    white_balance: tuple[float, float, float]
    contrast: float
    scale: float
    centre: float
    tilt: float
    squash: float
    noise: float
    blur: float


def make_camera(seed: int, camid: int) -> Camera:
    """Return camera `camid` of the world `seed`.

    Scenes and colour casts are dealt out from shuffled decks of six, so that the
    first six cameras of every world differ clearly and worlds are equally hard.

    Args:
        seed: Seed of the world, 0 or more.
        camid: Number of the camera, 0 or more.

    Returns:
        The camera; the same one on every call.
    """
    decks = np.random.default_rng([seed, 29])
    places, casts, lights = (decks.permutation(len(SCENES)) for _ in range(3))
    slot = camid % len(SCENES)
    rng = np.random.default_rng([seed, 23, camid])
    level = float(lights[slot]) / (len(SCENES) - 1)
    scene = SCENES[int(places[slot])]
    return Camera(
        scene=scene,
        tones=_tones(scene, rng),
        horizon=float(rng.uniform(0.5, 0.68)),
        gain=0.8 + 0.26 * level + float(rng.uniform(-0.03, 0.03)),
        gamma=float(rng.uniform(0.8, 1.25)),
        white_balance=_cast(2 * math.pi * (float(casts[slot]) + float(rng.uniform(-0.3, 0.3))) / 6),
        contrast=float(rng.uniform(0.8, 1.05)),
        scale=float(rng.uniform(0.84, 0.94)),
        centre=float(rng.uniform(-0.05, 0.05)),
        tilt=float(rng.uniform(-0.06, 0.06)),
        squash=float(rng.uniform(0.94, 1.1)),
        noise=float(rng.uniform(2.0, 6.0)),
        blur=float(rng.uniform(0.0, 0.6)),
    )


def develop(
    canvas: Image.Image, camera: Camera, rng: np.random.Generator, height: int, width: int
) -> Image.Image:
    """Turn a canvas in neutral light into the picture that the camera takes.

    Args:
        canvas: RGB canvas of any size.
        camera: The camera whose light, blur and noise to apply.
        rng: Source of the light's flicker and the noise; it is advanced.
        height: Height of the image in pixels.
        width: Width of the image in pixels.

    Returns:
        RGB image of `width` x `height` pixels.
    """
    image = canvas.resize((width, height), Image.Resampling.BOX)
    radius = camera.blur * height / 128
    if radius > 0.15:
        image = image.filter(ImageFilter.GaussianBlur(radius))
    flicker = float(rng.uniform(0.93, 1.07))
    ramp = np.linspace(0.0, 1.0, 256) ** camera.gamma
    gains = np.asarray(camera.white_balance)[:, None] * camera.gain * flicker
    curves = ((ramp * gains - 0.5) * camera.contrast + 0.5) * 255
    image = image.point(np.clip(curves, 0, 255).astype(np.uint8).ravel().tolist())
    grain = rng.standard_normal((height, width, 1), dtype=np.float32) * camera.noise
    pixels = np.asarray(image, dtype=np.float32) + grain
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def shade(colour: Colour, factor: float) -> Colour:
    """Return `colour` (0..255 per channel) made darker (<1) or lighter (>1)."""
    red, green, blue = (min(255, int(value * factor)) for value in colour)
    return red, green, blue


def pick(rng: np.random.Generator, colours: tuple[Colour, ...]) -> Colour:
    """Return one of `colours`, each equally likely."""
    return colours[int(rng.integers(len(colours)))]


def _tones(scene: str, rng: np.random.Generator) -> tuple[Colour, Colour, Colour]:
    base: dict[str, tuple[Colour, Colour, Colour]] = {
        "street": ((168, 150, 132), (112, 112, 116), (82, 102, 128)),
        "corridor": ((206, 202, 186), (142, 124, 104), (96, 122, 136)),
        "grass": ((176, 200, 216), (112, 148, 76), (62, 100, 56)),
        "wall": ((164, 98, 78), (138, 134, 128), (196, 176, 160)),
        "shop": ((90, 104, 122), (172, 168, 164), (178, 62, 70)),
        "plaza": ((186, 190, 196), (196, 184, 160), (134, 124, 112)),
    }
    far, near, detail = (shade(tone, float(rng.uniform(0.88, 1.1))) for tone in base[scene])
    return far, near, detail


def _cast(hue: float) -> tuple[float, float, float]:
    red, green, blue = (1 + 0.12 * math.cos(hue - 2 * math.pi * k / 3) for k in range(3))
    return red, green, blue

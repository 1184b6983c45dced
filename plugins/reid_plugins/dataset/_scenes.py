"""Cameras and their backgrounds for the drawn data set `synthetic_market`.

A camera is a place (what is seen behind the people), a view (how large and how
tilted they appear) and a light (what it does to every colour). Everything is a
pure function of its seeds: no state is kept between calls.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

Colour = tuple[int, int, int]

SUPERSAMPLE = 2
SCENES = ("street", "corridor", "grass", "wall", "shop", "plaza")

_CLUTTER: tuple[Colour, ...] = (
    (196, 52, 48), (50, 92, 180), (58, 140, 72), (226, 192, 62), (235, 235, 230),
    (46, 46, 52), (128, 72, 150), (228, 130, 48), (60, 160, 165), (120, 90, 66),
)  # fmt: skip


@dataclass(frozen=True)
class Camera:
    """What a camera does to everything it sees.

    Attributes:
        scene: Name of the background, one of `SCENES`.
        tones: Three base colours of the background (far, near, detail).
        horizon: Height of the floor line, as a fraction of the image from the top.
        gain: Brightness factor, about 0.7 to 1.2.
        gamma: Exponent applied to values in 0..1, about 0.75 to 1.35.
        white_balance: Factors for red, green and blue, about 0.75 to 1.25.
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
        gain=0.72 + 0.45 * level + float(rng.uniform(-0.03, 0.03)),
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


def draw_background(
    camera: Camera, rng: np.random.Generator, height: int = 128, width: int = 64
) -> Image.Image:
    """Draw what a detector's false alarm shows: the place without a person.

    Args:
        camera: The camera that sees it.
        rng: Source of the clutter; it is advanced.
        height: Height of the image in pixels.
        width: Width of the image in pixels.

    Returns:
        RGB image of `width` x `height` pixels.
    """
    return develop(paint_scene(camera, rng, height, width), camera, rng, height, width)


def shade(colour: Colour, factor: float) -> Colour:
    """Return `colour` (0..255 per channel) made darker (<1) or lighter (>1)."""
    red, green, blue = (min(255, int(value * factor)) for value in colour)
    return red, green, blue


def pick(rng: np.random.Generator, colours: tuple[Colour, ...]) -> Colour:
    """Return one of `colours`, each equally likely."""
    return colours[int(rng.integers(len(colours)))]


def paint_scene(camera: Camera, rng: np.random.Generator, height: int, width: int) -> Image.Image:
    """Paint the place in neutral light at `SUPERSAMPLE` times the size asked for.

    Args:
        camera: The camera that sees it.
        rng: Source of the viewpoint and the clutter; it is advanced.
        height: Height of the final image in pixels.
        width: Width of the final image in pixels.

    Returns:
        RGB canvas, `SUPERSAMPLE` times as high and wide as the final image.
    """
    size = (width * SUPERSAMPLE, height * SUPERSAMPLE)
    canvas = Image.new("RGB", size, camera.tones[0])
    brush = _Brush(ImageDraw.Draw(canvas), *size)
    floor = camera.horizon + float(rng.uniform(-0.04, 0.04))
    brush.box(0, floor, 1, 1, camera.tones[1])
    _PAINTERS[camera.scene](brush, camera, rng, floor)
    for _ in range(int(rng.integers(0, 4))):
        _clutter(brush, rng, floor)
    return canvas


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


@dataclass(frozen=True)
class _Brush:
    """Draws with coordinates given as fractions of the canvas (0..1)."""

    draw: ImageDraw.ImageDraw
    width: int
    height: int

    def box(self, x0: float, y0: float, x1: float, y1: float, colour: Colour) -> None:
        w, h = self.width, self.height
        self.draw.rectangle((x0 * w, y0 * h, max(x0, x1) * w, max(y0, y1) * h), fill=colour)

    def disc(self, x: float, y: float, rx: float, ry: float, colour: Colour) -> None:
        w, h = self.width, self.height
        self.draw.ellipse(((x - rx) * w, (y - ry) * h, (x + rx) * w, (y + ry) * h), fill=colour)

    def line(self, x0: float, y0: float, x1: float, y1: float, colour: Colour) -> None:
        w, h = self.width, self.height
        thickness = max(1, round(h / 128))
        self.draw.line((x0 * w, y0 * h, x1 * w, y1 * h), fill=colour, width=thickness)

    def area(self, points: list[tuple[float, float]], colour: Colour) -> None:
        self.draw.polygon([(x * self.width, y * self.height) for x, y in points], fill=colour)


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
    red, green, blue = (1 + 0.2 * math.cos(hue - 2 * math.pi * k / 3) for k in range(3))
    return red, green, blue


def _street(brush: _Brush, camera: Camera, rng: np.random.Generator, floor: float) -> None:
    shift = float(rng.uniform(0, 0.4))
    for row in range(4):
        for column in range(-1, 4):
            x, y = column * 0.4 + shift, row * 0.17 + 0.03
            if y + 0.1 < floor:
                brush.box(x, y, x + 0.2, y + 0.1, camera.tones[2])
                brush.line(x + 0.1, y, x + 0.1, y + 0.1, shade(camera.tones[0], 1.15))
    brush.box(0, floor, 1, floor + 0.02, shade(camera.tones[1], 1.4))
    if rng.random() < 0.6:
        x, body = float(rng.uniform(-0.5, 0.7)), pick(rng, _CLUTTER)
        brush.disc(x + 0.4, floor - 0.08, 0.32, 0.09, shade(body, 0.75))
        brush.box(x, floor - 0.09, x + 0.8, floor + 0.02, body)
        for wheel in (0.18, 0.62):
            brush.disc(x + wheel, floor + 0.02, 0.1, 0.045, (34, 34, 36))


def _corridor(brush: _Brush, camera: Camera, rng: np.random.Generator, floor: float) -> None:
    vanish = float(rng.uniform(0.3, 0.7))
    wall, ground, door = camera.tones
    brush.area([(0, 0), (vanish - 0.18, 0.1), (vanish - 0.18, floor), (0, 1)], shade(wall, 0.86))
    brush.area([(1, 0), (vanish + 0.18, 0.1), (vanish + 0.18, floor), (1, 1)], shade(wall, 0.78))
    brush.area([(0, 0), (1, 0), (vanish + 0.18, 0.1), (vanish - 0.18, 0.1)], shade(wall, 1.12))
    brush.box(vanish - 0.1, 0.2, vanish + 0.1, floor, door)
    for side in (-1, 1):
        x = 0.5 + side * float(rng.uniform(0.36, 0.5))
        brush.box(x - 0.09, 0.16, x + 0.09, floor + 0.14, shade(door, 0.9))
    for k in range(3):
        y = floor + 0.08 + 0.11 * k
        brush.line(0, y, 1, y, shade(ground, 0.85))


def _grass(brush: _Brush, camera: Camera, rng: np.random.Generator, floor: float) -> None:
    leaf = camera.tones[2]
    for _ in range(5):
        x, size = float(rng.uniform(-0.1, 1.1)), float(rng.uniform(0.12, 0.3))
        brush.box(x - 0.03, floor - 0.3, x + 0.03, floor, (92, 72, 54))
        brush.disc(x, floor - 0.3, size, size * 0.75, shade(leaf, float(rng.uniform(0.8, 1.35))))
    for x, y in rng.uniform((0, floor), (1, 1), size=(14, 2)).tolist():
        brush.line(x, y, x + 0.03, y - 0.025, shade(camera.tones[1], 0.78))
    x = float(rng.uniform(0, 1))
    brush.area([(x, floor), (x + 0.1, floor), (x + 0.5, 1), (x - 0.2, 1)], (186, 170, 136))


def _wall(brush: _Brush, camera: Camera, rng: np.random.Generator, floor: float) -> None:
    brick, _, mortar = camera.tones
    shift, rows = float(rng.uniform(0, 0.25)), 11
    for row in range(rows):
        y = floor * row / rows
        brush.line(0, y, 1, y, mortar)
        for column in range(5):
            x = column * 0.25 + shift - (0.125 if row % 2 else 0.0)
            brush.line(x, y, x, y + floor / rows, mortar)
    for x, y in rng.uniform((0, 0), (0.9, floor - 0.1), size=(2, 2)).tolist():
        brush.box(x, y, x + 0.22, y + floor / rows, shade(brick, 0.85))
    if rng.random() < 0.5:
        x = float(rng.uniform(-0.1, 0.8))
        brush.box(x, 0.12, x + 0.34, 0.34, (238, 236, 226))
        brush.box(x + 0.04, 0.14, x + 0.3, 0.32, pick(rng, _CLUTTER))


def _shop(brush: _Brush, camera: Camera, rng: np.random.Generator, floor: float) -> None:
    awning, shift = camera.tones[2], float(rng.uniform(0, 0.3))
    for row in range(3):
        for column in range(5):
            x, y = column * 0.24 + shift - 0.2, 0.22 + row * 0.13
            brush.box(x, y, x + 0.15, min(y + 0.1, floor), shade(pick(rng, _CLUTTER), 0.8))
    for stripe in range(8):
        x = stripe * 0.15 + shift - 0.3
        brush.box(x, 0, x + 0.15, 0.14, awning if stripe % 2 else (236, 230, 222))
    brush.box(0, floor - 0.05, 1, floor, shade(camera.tones[0], 0.6))
    for k in range(4):
        brush.line(0, floor + 0.09 * k, 1, floor + 0.09 * k, shade(camera.tones[1], 0.86))


def _plaza(brush: _Brush, camera: Camera, rng: np.random.Generator, floor: float) -> None:
    far, ground, stone = camera.tones
    shift = float(rng.uniform(-0.3, 0.3))
    for k in range(-1, 3):
        x = 0.45 * k + shift
        brush.box(x, 0.05, x + 0.13, floor, shade(far, 0.82))
        brush.box(x, 0.05, x + 0.04, floor, shade(far, 1.12))
    brush.box(0, 0, 1, 0.08, stone)
    for k in range(-3, 8):
        brush.line(0.5 + (k / 4 - 0.5) * 0.5 + shift, floor, k / 2 - 0.75 + shift, 1, stone)
    for y in (0.03, 0.09, 0.18, 0.3):
        brush.line(0, floor + y, 1, floor + y, stone)


_Painter = Callable[[_Brush, Camera, np.random.Generator, float], None]
_PAINTERS: dict[str, _Painter] = {
    "street": _street, "corridor": _corridor, "grass": _grass,
    "wall": _wall, "shop": _shop, "plaza": _plaza,
}  # fmt: skip


def _clutter(brush: _Brush, rng: np.random.Generator, floor: float) -> None:
    kind, colour = int(rng.integers(4)), pick(rng, _CLUTTER)
    x, y = float(rng.uniform(-0.05, 1.0)), floor + float(rng.uniform(0, 0.15))
    if kind == 0:
        brush.box(x, 0, x + 0.05, y, shade(colour, 0.7))
    elif kind == 1:
        brush.box(x - 0.08, y - 0.17, x + 0.1, y, colour)
        brush.box(x - 0.1, y - 0.19, x + 0.12, y - 0.16, shade(colour, 0.7))
    elif kind == 2:
        brush.box(x, y - 0.4, x + 0.02, y, (90, 90, 94))
        brush.box(x - 0.12, y - 0.45, x + 0.14, y - 0.31, colour)
    else:
        _passer_by(brush, rng, x, y)


def _passer_by(brush: _Brush, rng: np.random.Generator, x: float, y: float) -> None:
    brush.box(x - 0.05, y - 0.2, x - 0.01, y, shade(pick(rng, _CLUTTER), 0.8))
    brush.box(x + 0.01, y - 0.2, x + 0.05, y, (56, 56, 64))
    brush.box(x - 0.08, y - 0.38, x + 0.08, y - 0.17, pick(rng, _CLUTTER))
    brush.disc(x, y - 0.43, 0.055, 0.045, (196, 150, 124))

"""Places behind the drawn people: backgrounds, clutter and things in the way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from reid_plugins.dataset._camera import Camera, Colour, develop, pick, shade

SUPERSAMPLE = 2

_CLUTTER: tuple[Colour, ...] = (
    (196, 52, 48), (50, 92, 180), (58, 140, 72), (226, 192, 62), (235, 235, 230),
    (46, 46, 52), (128, 72, 150), (228, 130, 48), (60, 160, 165), (120, 90, 66),
)  # fmt: skip


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


def paint_occluder(canvas: Image.Image, rng: np.random.Generator) -> None:
    """Paint a post, a bush or a planter in front of whatever is on the canvas.

    Args:
        canvas: RGB canvas of any size; it is changed.
        rng: Source of the kind, place and colour; it is advanced.
    """
    brush = _Brush(ImageDraw.Draw(canvas), *canvas.size)
    kind, tint = int(rng.integers(3)), float(rng.uniform(0.6, 1.3))
    x, top = float(rng.uniform(0.1, 0.9)), float(rng.uniform(0.7, 0.84))
    if kind == 0:
        brush.box(x - 0.06, 0, x + 0.06, 1, shade((112, 112, 116), tint))
        brush.box(x - 0.04, 0, x - 0.01, 1, shade((140, 140, 144), tint))
    elif kind == 1:
        for offset in (-0.2, 0.18, 0.0):
            brush.disc(x + offset, 1 - abs(offset) / 4, 0.2, 0.94 - top, shade((66, 104, 58), tint))
    else:
        brush.box(x - 0.3, top, x + 0.3, 1, shade((132, 112, 92), tint))
        brush.box(x - 0.33, top, x + 0.33, top + 0.025, shade((160, 140, 116), tint))


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
    far, _, stone = camera.tones
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

"""How a drawn person stands and where on the canvas: pose and pen."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from reid_plugins.dataset._camera import Camera, Colour, shade


@dataclass(frozen=True)
class Pose:
    """Direction and walking phase of a body."""

    front: float  # 1 faces the camera, -1 turns the back to it
    side: float  # 1 walks to the right of the image, -1 to the left
    step: float  # -1..1, where the person's left leg is in its swing
    arms: float  # 0..1, how far the arms swing


@dataclass(frozen=True)
class Pen:
    """Maps the body (x sideways, y 0 at the crown to 1 at the soles) to the canvas."""

    draw: ImageDraw.ImageDraw
    left: float
    top: float
    size: float
    tilt: float
    squash: float

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Return the canvas pixel (x, y) of a point of the body."""
        drop = y**self.squash if y > 0 else y
        return self.left + (x + self.tilt * (y - 0.5)) * self.size, self.top + drop * self.size

    def area(self, points: list[tuple[float, float]], colour: Colour) -> None:
        """Fill a polygon of body points."""
        self.draw.polygon([self.at(x, y) for x, y in points], fill=colour)

    def box(self, x0: float, y0: float, x1: float, y1: float, colour: Colour) -> None:
        """Fill a box upright on the body."""
        self.area([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], colour)

    def disc(self, x: float, y: float, rx: float, ry: float, colour: Colour) -> None:
        """Fill an ellipse; the radii are in body heights."""
        cx, cy = self.at(x, y)
        rx, ry = rx * self.size, ry * self.size
        self.draw.ellipse((cx - rx, cy - ry, cx + rx, cy + ry), fill=colour)

    def stroke(self, points: list[tuple[float, float]], width: float, colour: Colour) -> None:
        """Draw a round-ended line; `width` is in body heights."""
        dots = [self.at(x, y) for x, y in points]
        self.draw.line(dots, fill=colour, width=max(1, round(width * self.size)), joint="curve")
        radius = width * self.size / 2
        for x, y in (dots[0], dots[-1]):
            self.draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)

    def limb(self, points: list[tuple[float, float]], width: float, colour: Colour) -> None:
        """Stroke with a dark rim and a lit side, so that limbs stand out from the body."""
        self.stroke(points, width, shade(colour, 0.62))
        self.stroke(points, width * 0.78, colour)
        lit = [(x - width * 0.15, y) for x, y in points]
        self.stroke(lit, width * 0.25, shade(colour, 1.16))


def make_pose(rng: np.random.Generator) -> Pose:
    """Return a random pose; one of four directions, each somewhat varied."""
    yaw = math.pi / 2 * int(rng.integers(4)) + float(rng.uniform(-0.5, 0.5))
    step = math.sin(float(rng.uniform(0, 2 * math.pi)))
    return Pose(math.cos(yaw), math.sin(yaw), step, float(rng.uniform(0.3, 1.0)))


def make_pen(canvas: Image.Image, stature: float, camera: Camera, rng: np.random.Generator) -> Pen:
    """Return a pen for a person somewhere near the middle of the canvas.

    Args:
        canvas: RGB canvas of any size.
        stature: Height of the person relative to the average, about 0.93 to 1.05.
        camera: The camera whose view (scale, tilt, height) to apply.
        rng: Source of the person's place and size; it is advanced.
    """
    width, height = canvas.size
    size = height * camera.scale * stature * float(rng.uniform(0.96, 1.04))
    spare = height - size
    return Pen(
        draw=ImageDraw.Draw(canvas),
        left=width * (0.5 + camera.centre + float(rng.uniform(-0.07, 0.07))),
        top=spare * 0.6 + height * float(rng.uniform(-0.025, 0.025)),
        size=size,
        tilt=camera.tilt + float(rng.uniform(-0.03, 0.03)),
        squash=camera.squash,
    )

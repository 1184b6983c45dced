"""Bodies of the drawn people: pose, limbs, clothes, hair, hats and bags."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from reid_plugins.dataset._attributes import Person
from reid_plugins.dataset._camera import Camera, shade
from reid_plugins.dataset._pen import Pen, Pose, make_pen, make_pose

_Outline = tuple[tuple[float, float], ...]
_SASH: _Outline = ((0.0, 0.0), (0.35, 0.0), (1.0, 0.75), (1.0, 1.0), (0.8, 1.0), (0.0, 0.3))
_HAIRLINE: _Outline = (
    (-0.056, 0.08), (-0.05, 0.03), (-0.02, 0.008), (0.02, 0.008), (0.05, 0.03), (0.056, 0.075),
    (0.03, 0.05), (-0.035, 0.05),
)  # fmt: skip
_CROWN: _Outline = (
    (-0.06, 0.058), (-0.055, 0.02), (-0.025, -0.006), (0.025, -0.006), (0.055, 0.02), (0.06, 0.058),
)  # fmt: skip


def paint_person(
    canvas: Image.Image, person: Person, camera: Camera, rng: np.random.Generator
) -> None:
    """Paint a person in a random pose onto a canvas, in neutral light.

    Args:
        canvas: RGB canvas of any size; it is changed.
        person: Who is drawn.
        camera: The camera whose view (scale, tilt, height) to apply.
        rng: Source of the pose and the place; it is advanced.
    """
    pose, pen = make_pose(rng), make_pen(canvas, person.stature, camera, rng)
    _Figure(canvas, person, pose, pen).paint()


@dataclass(frozen=True)
class _Figure:
    """One person in one pose; `paint` draws from the far side to the near side."""

    canvas: Image.Image
    person: Person
    pose: Pose
    pen: Pen

    @property
    def near(self) -> int:
        return -1 if self.pose.side > 0 else 1

    def breadth(self, frontal: float, profile: float) -> float:
        """Half width of a part of the body as seen from the pose's direction."""
        seen = math.hypot(frontal * self.pose.front, profile * self.pose.side)
        return seen * self.person.build

    def paint(self) -> None:
        self.pen.disc(0.0, 0.985, 0.15, 0.022, (58, 56, 58))
        self.bag_behind()
        for side in (-self.near, self.near):
            self.leg(side)
        if self.person.lower == "skirt":
            self.skirt()
        profile = abs(self.pose.side) > 0.45
        if profile:
            self.arm(-self.near)
        self.torso()
        self.head()
        self.bag_before()
        if not profile:
            self.arm(-self.near)
        self.arm(self.near)

    def leg(self, side: int) -> None:
        person, pose, pen = self.person, self.pose, self.pen
        x = 0.046 * side * pose.front * person.build
        swing = 0.13 * side * pose.step * pose.side
        lift = 0.03 * max(0.0, side * pose.step) * abs(pose.front)
        hip, ankle = (x, 0.5), (x * 1.15 + swing, 0.94 - lift)
        knee = (x * 1.1 + swing * 0.55 + 0.02 * pose.side, 0.73 - lift)
        cloth, thick = person.skin, 0.064 * person.build
        if person.lower == "trousers":
            cloth, thick = person.lower_colour, 0.08 * person.build
        pen.limb([hip, knee, ankle], thick, cloth)
        self.shoe(ankle[0], 0.985 - lift)
        if person.lower == "shorts":
            half, dark = 0.054 * person.build, shade(person.lower_colour, 0.62)
            for reach, end, colour in (
                (half, 0.7, dark),
                (half - 0.008, 0.692, person.lower_colour),
            ):
                top, bottom = (hip[0] - reach, hip[0] + reach), (knee[0] + reach, knee[0] - reach)
                pen.area([(x, 0.46) for x in top] + [(x, end) for x in bottom], colour)

    def shoe(self, x: float, sole: float) -> None:
        colour, toe = self.person.shoes, 0.045 * self.pose.side
        heel, tip = x - toe * 0.3, x + toe
        self.pen.stroke([(heel, sole - 0.018), (tip, sole - 0.014)], 0.05, shade(colour, 0.6))
        self.pen.stroke([(heel, sole - 0.024), (tip, sole - 0.018)], 0.038, colour)

    def skirt(self) -> None:
        waist, hem = self.breadth(0.085, 0.07), self.breadth(0.135, 0.115)
        colour = self.person.lower_colour
        for inner, outer, tone in ((-1.0, -1.0, colour), (0.4, 0.5, shade(colour, 0.78))):
            top = [(waist * inner, 0.46), (waist, 0.46)]
            self.pen.area([*top, (hem, 0.72), (hem * outer, 0.72)], tone)

    def torso(self) -> None:
        hem = 0.66 if self.person.coat else 0.525
        neck, chest = self.breadth(0.04, 0.04), self.breadth(0.125, 0.08)
        waist = self.breadth(0.1, 0.075)
        flare = waist * (1.2 if self.person.coat else 1.0)
        half = [(neck, 0.155), (chest, 0.185), (chest, 0.26), (waist, 0.45), (flare, hem)]
        outline = [self.pen.at(x, y) for x, y in half + [(-x, y) for x, y in reversed(half)]]
        left, right = (f(x for x, _ in outline) for f in (min, max))
        top, bottom = outline[0][1], outline[4][1]
        corner = (math.floor(left), math.floor(top))
        size = (math.ceil(right) - corner[0] + 1, math.ceil(bottom) - corner[1] + 1)
        mask = Image.new("L", size)
        ImageDraw.Draw(mask).polygon([(x - corner[0], y - corner[1]) for x, y in outline], fill=255)
        self.canvas.paste(self.cloth(size), corner, mask)
        if self.pose.front > -0.4:
            throat = [(-neck * 0.8, 0.15), (neck * 0.8, 0.15), (0.02 * self.pose.side, 0.19)]
            self.pen.area(throat, shade(self.person.skin, 0.85))

    def cloth(self, size: tuple[int, int]) -> Image.Image:
        """Return the upper garment as a flat piece of shaded cloth, (width, height) pixels."""
        person, (w, h) = self.person, size
        tile = Image.new("RGB", size, person.top)
        draw, ink = ImageDraw.Draw(tile), person.second
        for x0, y0, x1, y1 in _pattern_boxes(person.pattern, self.pose.front):
            x0, y0 = x0 * w, y0 * h
            draw.rectangle((x0, y0, max(x0, x1 * w - 1), max(y0, y1 * h - 1)), fill=ink)
        if person.pattern == "sash":
            ends = [(x if self.pose.front > 0 else 1 - x, y) for x, y in _SASH]
            draw.polygon([(x * w, y * h) for x, y in ends], fill=ink)
        hem = shade(ink if person.pattern == "two_tone" else person.top, 0.7)
        draw.line((0, h - 2, w, h - 2), fill=hem, width=max(1, h // 24))
        across = np.linspace(-1, 1, w, dtype=np.float32)[None, :, None]
        light = 1.04 - 0.14 * across - 0.22 * across**4
        return Image.fromarray(np.clip(np.asarray(tile) * light, 0, 255).astype(np.uint8))

    def arm(self, side: int) -> None:
        person, pose = self.person, self.pose
        x = 0.122 * side * pose.front * person.build
        swing = -0.12 * side * pose.step * pose.arms * pose.side
        out = 0.03 * side * pose.front
        shoulder, elbow = (x, 0.205), (x + out + swing * 0.5, 0.36)
        hand = (x + out * 1.2 + swing + 0.03 * pose.side, 0.5)
        sleeve = person.second if person.sleeves == "contrast" else person.top
        self.pen.disc(*hand, 0.026, 0.026, person.skin)
        thick = 0.056 * math.sqrt(person.build)
        if person.sleeves == "short":
            self.pen.limb([elbow, hand], thick * 0.85, person.skin)
            self.pen.limb([shoulder, elbow], thick * 1.1, sleeve)
        else:
            self.pen.limb([shoulder, elbow, hand], thick, sleeve)
            self.pen.disc(*hand, 0.025, 0.022, person.skin)
        if person.bag == "hand" and side == person.bag_side:
            self.hand_bag(*hand)

    def hand_bag(self, x: float, y: float) -> None:
        half, colour = 0.05 + 0.025 * abs(self.pose.side), self.person.bag_colour
        handle = [(x - half * 0.6, y + 0.05), (x, y), (x + half * 0.6, y + 0.05)]
        self.pen.stroke(handle, 0.014, colour)
        self.pen.box(x - half, y + 0.05, x + half, y + 0.16, colour)
        self.pen.box(x - half, y + 0.05, x + half, y + 0.075, shade(colour, 0.7))

    def head(self) -> None:
        person, pose, pen = self.person, self.pose, self.pen
        x, radius = 0.015 * pose.side, 0.054
        back = -0.018 * pose.side
        self.hair_behind(x + back)
        pen.stroke([(0, 0.13), (0, 0.17)], 0.05, shade(person.skin, 0.75))
        pen.disc(x, 0.085, radius, 0.066, shade(person.skin, 0.85))
        pen.disc(x - 0.006, 0.083, radius * 0.85, 0.06, person.skin)
        if pose.front > -0.4:
            self.face(x)
        self.hair_before(x, back)
        self.hat(x)

    def face(self, x: float) -> None:
        pose, pen, dark = self.pose, self.pen, (44, 34, 32)
        turn = 0.028 * pose.side
        if abs(pose.side) > 0.6:
            tip = math.copysign(0.058, pose.side)
            pen.disc(x + tip, 0.095, 0.011, 0.01, self.person.skin)
        for eye in (-0.022, 0.022):
            if eye * pose.side >= 0 or pose.front > 0.6:
                pen.disc(x + eye * max(pose.front, 0.4) + turn, 0.084, 0.008, 0.009, dark)
        lip = shade(self.person.skin, 0.6)
        pen.stroke([(x + turn - 0.014, 0.122), (x + turn + 0.014, 0.122)], 0.009, lip)

    def hair_behind(self, x: float) -> None:
        style, colour = self.person.hair_style, self.person.hair
        if style == "afro":
            self.pen.disc(x, 0.065, 0.088, 0.08, colour)
        elif style in ("long", "bob"):
            reach = 0.25 if style == "long" else 0.15
            self.pen.stroke([(x, 0.07), (x, reach - 0.04)], 0.135, shade(colour, 0.85))

    def hair_before(self, x: float, back: float) -> None:
        style, colour, front = self.person.hair_style, self.person.hair, self.pose.front
        if style == "bald":
            return
        pen = self.pen
        pen.area([(x + dx, y) for dx, y in _HAIRLINE], colour)
        if front < -0.4:
            pen.disc(x, 0.08, 0.056, 0.064 if style != "short" else 0.055, colour)
        elif abs(self.pose.side) > 0.45:
            pen.disc(x + back * 1.7, 0.07, 0.036, 0.055, colour)
        if style == "bun":
            pen.disc(x + back * 1.8, -0.002, 0.034, 0.03, shade(colour, 0.9))
        if style in ("long", "bob") and front < 0.2:
            reach = 0.25 if style == "long" else 0.15
            pen.stroke([(x + back, 0.07), (x + back * 1.3, reach - 0.03)], 0.1, colour)

    def hat(self, x: float) -> None:
        if self.person.hat == "none":
            return
        colour, pen, pose = self.person.hat_colour, self.pen, self.pose
        tall = 0.012 if self.person.hat == "beanie" else 0.0
        pen.area([(x + dx, y - tall * (y < 0.05)) for dx, y in _CROWN], colour)
        if self.person.hat == "beanie":
            pen.stroke([(x - 0.05, 0.05), (x + 0.05, 0.05)], 0.022, shade(colour, 0.7))
        elif pose.front > -0.5:
            tip = x + 0.075 * pose.side
            brim = [(x - 0.03 + tip * 0.3, 0.056), (tip + 0.03, 0.06)]
            pen.stroke(brim, 0.018, shade(colour, 0.7))

    def bag_behind(self) -> None:
        if self.person.bag == "backpack" and self.pose.front > 0:
            self.backpack()
        if self.person.bag == "shoulder" and self.near != self.person.bag_side:
            self.shoulder_bag()

    def bag_before(self) -> None:
        person, pose = self.person, self.pose
        if person.bag == "backpack":
            for side in (-1, 1):
                x = 0.07 * side * pose.front * person.build + 0.03 * pose.side
                self.pen.stroke([(x, 0.17), (x, 0.36)], 0.022, person.bag_colour)
            if pose.front <= 0:
                self.backpack()
        elif person.bag == "shoulder":
            x = 0.09 * person.bag_side * pose.front
            self.pen.stroke([(-x * 0.8, 0.17), (x * 1.2, 0.47)], 0.02, person.bag_colour)
            if self.near == person.bag_side or abs(pose.front) > 0.7:
                self.shoulder_bag()

    def backpack(self) -> None:
        pose, colour = self.pose, self.person.bag_colour
        x, half = -0.11 * pose.side * self.person.build, 0.06 + 0.045 * abs(pose.front)
        lid = [(x - half, 0.2), (x - half * 0.7, 0.175), (x + half * 0.7, 0.175), (x + half, 0.2)]
        self.pen.area([*lid, (x + half, 0.42), (x - half, 0.42)], colour)
        self.pen.box(x - half * 0.7, 0.31, x + half * 0.7, 0.395, shade(colour, 0.7))

    def shoulder_bag(self) -> None:
        x = 0.135 * self.person.bag_side * self.pose.front * self.person.build
        half, colour = 0.045 + 0.03 * abs(self.pose.side), self.person.bag_colour
        self.pen.box(x - half, 0.45, x + half, 0.56, colour)
        self.pen.box(x - half, 0.45, x + half, 0.485, shade(colour, 0.7))


def _pattern_boxes(pattern: str, front: float) -> list[tuple[float, float, float, float]]:
    """Return where the second colour goes: (x0, y0, x1, y1) in fractions of the cloth."""
    if pattern == "hoops":
        return [(0, (2 * k + 1) / 8, 1, (2 * k + 2) / 8) for k in range(4)]
    if pattern == "stripes":
        return [((2 * k + 1) / 7, 0, (2 * k + 2) / 7, 1) for k in range(3)]
    if pattern == "checks":
        cells = [(i, j) for i in range(4) for j in range(6) if (i + j) % 2]
        return [(i / 4, j / 6, (i + 1) / 4, (j + 1) / 6) for i, j in cells]
    if pattern == "logo":
        centre = 0.5 if abs(front) > 0.45 else 0.6
        return [(centre - 0.24, 0.22, centre + 0.24, 0.52)]
    fixed = {
        "two_tone": [(0.0, 0.5, 1.0, 1.0)],
        "band": [(0.0, 0.3, 1.0, 0.5)],
        "panels": [(0.0, 0.0, 0.28, 1.0), (0.72, 0.0, 1.0, 1.0)],
    }
    return fixed.get(pattern, [])

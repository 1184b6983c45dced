"""Drawn people for the data set `synthetic_market`.

Each identity is a set of attributes from small palettes shared by everybody: what
sets two people apart is which garment has which colour, its pattern and cut, the
hair, the hat and the bag, not the mix of colours in the picture. Everything is a
pure function of its seeds: no state is kept between calls.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from reid_plugins.dataset._scenes import (
    SCENES,
    SUPERSAMPLE,
    Camera,
    Colour,
    develop,
    draw_background,
    make_camera,
    paint_scene,
    pick,
    shade,
)

__all__ = ["SCENES", "Camera", "Person", "draw_background", "draw_person", "make_camera",
           "make_person"]  # fmt: skip

PATTERNS = ("plain", "hoops", "stripes", "checks", "logo", "two_tone", "band", "sash", "panels")
SLEEVES = ("long", "short", "contrast")
LOWERS = ("trousers", "trousers", "shorts", "skirt")
HAIR_STYLES = ("short", "short", "bald", "bob", "long", "bun", "afro")
HATS = ("none", "none", "none", "cap", "beanie")
BAGS = ("none", "backpack", "backpack", "shoulder", "hand")

_TOPS: tuple[Colour, ...] = (
    (200, 44, 44), (44, 84, 190), (52, 146, 70), (232, 200, 60), (240, 240, 238),
    (44, 44, 50), (134, 64, 158), (234, 126, 40),
)  # fmt: skip
_LOWERS: tuple[Colour, ...] = (
    (56, 76, 126), (40, 40, 46), (194, 172, 130), (132, 134, 138), (232, 230, 224), (124, 46, 50),
)  # fmt: skip
_BAG_COLOURS: tuple[Colour, ...] = (
    (38, 38, 42), (190, 50, 46), (124, 82, 48), (60, 150, 160), (236, 206, 90),
)  # fmt: skip
_SHOES: tuple[Colour, ...] = ((40, 38, 38), (242, 242, 240), (192, 56, 52), (120, 84, 54))
_HAIR: tuple[Colour, ...] = ((34, 28, 26), (96, 62, 38), (206, 168, 96), (158, 70, 38), (168, 166, 164))
_SKIN: tuple[Colour, ...] = ((240, 204, 178), (214, 168, 132), (164, 114, 80), (104, 70, 50))


@dataclass(frozen=True)
class Person:
    """Appearance of an identity; colours are (red, green, blue) in 0..255.

    Attributes:
        build: Width of the body, about 0.85 (slim) to 1.25 (broad).
        stature: Height of the body, about 0.93 to 1.05.
        skin: Colour of face, hands and bare legs.
        hair_style: One of `HAIR_STYLES`.
        hair: Colour of the hair.
        hat: One of `HATS`.
        hat_colour: Colour of the hat.
        top: Main colour of the upper garment.
        second: Other colour of the upper garment, different from `top`.
        pattern: One of `PATTERNS`: how `second` is laid on `top`.
        sleeves: One of `SLEEVES`; contrast is long and in the colour `second`.
        coat: Whether the upper garment reaches the thighs.
        lower: One of `LOWERS`.
        lower_colour: Colour of the lower garment.
        shoes: Colour of the shoes.
        bag: One of `BAGS`.
        bag_colour: Colour of the bag.
        bag_side: 1 for a bag on the person's left, -1 on the right.
    """

    build: float
    stature: float
    skin: Colour
    hair_style: str
    hair: Colour
    hat: str
    hat_colour: Colour
    top: Colour
    second: Colour
    pattern: str
    sleeves: str
    coat: bool
    lower: str
    lower_colour: Colour
    shoes: Colour
    bag: str
    bag_colour: Colour
    bag_side: int


def make_person(seed: int, pid: int) -> Person:
    """Return identity `pid` of the world `seed`.

    Args:
        seed: Seed of the world, 0 or more.
        pid: Number of the identity, 0 or more.

    Returns:
        The identity's appearance; the same one on every call.
    """
    rng = np.random.default_rng([seed, 11, pid])
    top, second = (_TOPS[int(k)] for k in rng.permutation(len(_TOPS))[:2])
    return Person(
        build=float(rng.choice((0.86, 1.0, 1.2))),
        stature=float(rng.uniform(0.93, 1.05)),
        skin=pick(rng, _SKIN),
        hair_style=_word(rng, HAIR_STYLES),
        hair=pick(rng, _HAIR),
        hat=_word(rng, HATS),
        hat_colour=pick(rng, _TOPS),
        top=top,
        second=second,
        pattern=_word(rng, PATTERNS),
        sleeves=_word(rng, SLEEVES),
        coat=bool(rng.random() < 0.25),
        lower=_word(rng, LOWERS),
        lower_colour=pick(rng, _LOWERS),
        shoes=pick(rng, _SHOES),
        bag=_word(rng, BAGS),
        bag_colour=pick(rng, _BAG_COLOURS),
        bag_side=int(rng.choice((-1, 1))),
    )


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
    _Figure(canvas, person, _pose(rng), _pen(canvas, person, camera, rng)).paint()
    if rng.random() < 0.12:
        _occlude(canvas, rng)
    return develop(canvas, camera, rng, height, width)


@dataclass(frozen=True)
class _Pose:
    front: float  # 1 faces the camera, -1 turns the back to it
    side: float  # 1 walks to the right of the image, -1 to the left
    step: float  # -1..1, where the person's left leg is in its swing
    arms: float  # 0..1, how far the arms swing


@dataclass(frozen=True)
class _Pen:
    """Maps the body (x sideways, y 0 at the crown to 1 at the soles) to the canvas."""

    draw: ImageDraw.ImageDraw
    left: float
    top: float
    size: float
    tilt: float
    squash: float

    def at(self, x: float, y: float) -> tuple[float, float]:
        drop = max(y, 0.0) ** self.squash if y > 0 else y
        return self.left + (x + self.tilt * (y - 0.5)) * self.size, self.top + drop * self.size

    def area(self, points: list[tuple[float, float]], colour: Colour) -> None:
        self.draw.polygon([self.at(x, y) for x, y in points], fill=colour)

    def disc(self, x: float, y: float, rx: float, ry: float, colour: Colour) -> None:
        cx, cy = self.at(x, y)
        rx, ry = rx * self.size, ry * self.size
        self.draw.ellipse((cx - rx, cy - ry, cx + rx, cy + ry), fill=colour)

    def stroke(self, points: list[tuple[float, float]], width: float, colour: Colour) -> None:
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


def _word(rng: np.random.Generator, words: tuple[str, ...]) -> str:
    return words[int(rng.integers(len(words)))]


def _pose(rng: np.random.Generator) -> _Pose:
    yaw = math.pi / 2 * int(rng.integers(4)) + float(rng.uniform(-0.5, 0.5))
    step = math.sin(float(rng.uniform(0, 2 * math.pi)))
    return _Pose(math.cos(yaw), math.sin(yaw), step, float(rng.uniform(0.3, 1.0)))


def _pen(canvas: Image.Image, person: Person, camera: Camera, rng: np.random.Generator) -> _Pen:
    width, height = canvas.size
    size = height * camera.scale * person.stature * float(rng.uniform(0.96, 1.04))
    spare = height - size
    return _Pen(
        draw=ImageDraw.Draw(canvas),
        left=width * (0.5 + camera.centre + float(rng.uniform(-0.07, 0.07))),
        top=spare * 0.6 + height * float(rng.uniform(-0.025, 0.025)),
        size=size,
        tilt=camera.tilt + float(rng.uniform(-0.03, 0.03)),
        squash=camera.squash,
    )


def _occlude(canvas: Image.Image, rng: np.random.Generator) -> None:
    width, height = canvas.size
    draw = ImageDraw.Draw(canvas)
    grey = shade((120, 116, 110), float(rng.uniform(0.5, 1.4)))
    x = width * float(rng.uniform(0.15, 0.85))
    if rng.random() < 0.5:
        draw.rectangle((x, 0, x + width * 0.1, height), fill=grey)
        return
    top = height * float(rng.uniform(0.68, 0.82))
    draw.rectangle((x - width * 0.3, top, x + width * 0.3, height), fill=grey)
    draw.rectangle((x - width * 0.3, top, x + width * 0.3, top + 4), fill=shade(grey, 1.3))


@dataclass(frozen=True)
class _Figure:
    """One person in one pose; `paint` draws from the far side to the near side."""

    canvas: Image.Image
    person: Person
    pose: _Pose
    pen: _Pen

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
        person, pose = self.person, self.pose
        x = 0.046 * side * pose.front * person.build
        swing = 0.13 * side * pose.step * pose.side
        lift = 0.03 * max(0.0, side * pose.step) * abs(pose.front)
        hip, foot = (x, 0.5), (x * 1.15 + swing, 0.965 - lift)
        knee = (x * 1.1 + swing * 0.55 + 0.02 * pose.side, 0.73 - lift)
        cloth = person.lower_colour if person.lower == "trousers" else person.skin
        self.pen.disc(foot[0] + 0.024 * pose.side, foot[1] + 0.012,
                      0.036 + 0.02 * abs(pose.side), 0.022, person.shoes)  # fmt: skip
        self.pen.limb([hip, knee, foot], 0.078 * person.build, cloth)
        if person.lower == "shorts":
            self.pen.limb([hip, knee], 0.1 * person.build, person.lower_colour)

    def skirt(self) -> None:
        waist, hem = self.breadth(0.085, 0.07), self.breadth(0.135, 0.115)
        colour = self.person.lower_colour
        self.pen.area([(-waist, 0.46), (waist, 0.46), (hem, 0.72), (-hem, 0.72)], colour)
        self.pen.area([(waist * 0.4, 0.46), (waist, 0.46), (hem, 0.72), (hem * 0.5, 0.72)],
                      shade(colour, 0.78))  # fmt: skip

    def torso(self) -> None:
        hem = 0.66 if self.person.coat else 0.525
        neck, chest, waist = self.breadth(0.04, 0.04), self.breadth(0.125, 0.08), self.breadth(0.1, 0.075)
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

    def cloth(self, size: tuple[int, int]) -> Image.Image:
        """Return the upper garment as a flat piece of shaded cloth, (width, height) pixels."""
        person, (w, h) = self.person, size
        tile = Image.new("RGB", size, person.top)
        draw, ink = ImageDraw.Draw(tile), person.second
        for box in _pattern_boxes(person.pattern, self.pose.front):
            draw.rectangle((box[0] * w, box[1] * h, box[2] * w - 1, box[3] * h - 1), fill=ink)
        if person.pattern == "sash":
            ends = [(0.0, 0.0), (0.35, 0.0), (1.0, 0.75), (1.0, 1.0), (0.8, 1.0), (0.0, 0.3)]
            draw.polygon([((x if self.pose.front > 0 else 1 - x) * w, y * h) for x, y in ends], fill=ink)
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
        half = 0.05 + 0.025 * abs(self.pose.side)
        colour = self.person.bag_colour
        self.pen.stroke([(x - half * 0.6, y + 0.05), (x, y), (x + half * 0.6, y + 0.05)], 0.014, colour)
        self.pen.area([(x - half, y + 0.05), (x + half, y + 0.05), (x + half, y + 0.16),
                       (x - half, y + 0.16)], colour)  # fmt: skip
        self.pen.area([(x - half, y + 0.05), (x + half, y + 0.05), (x + half, y + 0.075),
                       (x - half, y + 0.075)], shade(colour, 0.7))  # fmt: skip

    def head(self) -> None:
        person, pose, pen = self.person, self.pose, self.pen
        x, radius = 0.015 * pose.side, 0.054
        back = -0.018 * pose.side
        self.hair_behind(x + back)
        pen.stroke([(0, 0.13), (0, 0.17)], 0.05, shade(person.skin, 0.75))
        pen.disc(x, 0.085, radius, 0.066, shade(person.skin, 0.85))
        pen.disc(x - 0.006, 0.083, radius * 0.85, 0.06, person.skin)
        if pose.front > -0.4:
            for eye in (-0.022, 0.022):
                pen.disc(x + eye * max(pose.front, 0.3) + 0.025 * pose.side, 0.085, 0.008, 0.008, (40, 32, 30))
        self.hair_before(x, back)
        self.hat(x)

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
        pen.area([(x - 0.056, 0.085 - 0.02 * (front < 0)), (x - 0.05, 0.03), (x - 0.02, 0.008),
                  (x + 0.02, 0.008), (x + 0.05, 0.03), (x + 0.056, 0.075), (x + 0.03, 0.05),
                  (x - 0.035, 0.05)], colour)  # fmt: skip
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
        pen.area([(x - 0.06, 0.058), (x - 0.055, 0.02 - tall), (x - 0.025, -0.006 - tall),
                  (x + 0.025, -0.006 - tall), (x + 0.055, 0.02 - tall), (x + 0.06, 0.058)], colour)  # fmt: skip
        if self.person.hat == "beanie":
            pen.stroke([(x - 0.05, 0.05), (x + 0.05, 0.05)], 0.022, shade(colour, 0.7))
        elif pose.front > -0.5:
            tip = x + 0.075 * pose.side
            pen.stroke([(x - 0.03 + tip * 0.3, 0.056), (tip + 0.03, 0.06)], 0.018, shade(colour, 0.7))

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
        person, pose = self.person, self.pose
        x, half = -0.11 * pose.side * person.build, 0.06 + 0.045 * abs(pose.front)
        box = [(x - half, 0.2), (x - half * 0.7, 0.175), (x + half * 0.7, 0.175), (x + half, 0.2),
               (x + half, 0.42), (x - half, 0.42)]  # fmt: skip
        self.pen.area(box, person.bag_colour)
        self.pen.area([(x - half * 0.7, 0.31), (x + half * 0.7, 0.31), (x + half * 0.7, 0.395),
                       (x - half * 0.7, 0.395)], shade(person.bag_colour, 0.7))  # fmt: skip

    def shoulder_bag(self) -> None:
        x = 0.135 * self.person.bag_side * self.pose.front * self.person.build
        half = 0.045 + 0.03 * abs(self.pose.side)
        box = [(x - half, 0.45), (x + half, 0.45), (x + half * 1.1, 0.56), (x - half * 1.1, 0.56)]
        self.pen.area(box, self.person.bag_colour)
        self.pen.area([(x - half, 0.45), (x + half, 0.45), (x + half, 0.485), (x - half, 0.485)],
                      shade(self.person.bag_colour, 0.7))  # fmt: skip


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

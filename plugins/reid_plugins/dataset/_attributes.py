"""Who the drawn people of the data set `synthetic_market` are.

Each identity is a set of attributes from small palettes shared by everybody: what
sets two people apart is which garment has which colour, its pattern and cut, the
hair, the hat and the bag, not the mix of colours in the picture.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from reid_plugins.dataset._camera import Colour, pick

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
_HAIR: tuple[Colour, ...] = (
    (34, 28, 26),
    (96, 62, 38),
    (206, 168, 96),
    (158, 70, 38),
    (168, 166, 164),
)
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


def _word(rng: np.random.Generator, words: tuple[str, ...]) -> str:
    return words[int(rng.integers(len(words)))]

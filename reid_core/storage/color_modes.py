"""From the pixels that a file has to RGB of 8 bits: one rule for each of Pillow's modes."""

from __future__ import annotations

import numpy as np
from PIL import Image

BACKGROUND = (0, 0, 0)
"""RGB of what transparent pixels lie on: black, as padding is."""

PLAIN = ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBX", "RGBA", "RGBa", "CMYK", "YCbCr")
"""Modes of 8 bits, or one, per channel; Pillow converts them."""

DEEP = ("I;16", "I;16L", "I;16B", "I;16N")
"""Modes of one channel of 16 bits."""

DEEP_FORMATS = ("PNG", "PPM")
"""Formats whose pixels of mode I are 0 to 65535; of other files nobody knows the range."""


class RefusedError(Exception):
    """There is no rule for these pixels; the text says why."""


def to_rgb(image: Image.Image, stored: str) -> Image.Image:
    """Return a picture as RGB.

    Transparent pixels are mixed with ``BACKGROUND``. Of 16 bits the upper 8 are kept. Colour
    profiles are ignored.

    Args:
        image: The picture, loaded.
        stored: How its file has the pixels (``stored_as``).

    Raises:
        RefusedError: There is no rule for its mode.
    """
    mode, image_format = image.mode, getattr(image, "format", None)
    if mode == "RGB" and "transparency" not in image.info:
        return image.convert("RGB")
    if mode in DEEP or (mode == "I" and image_format in DEEP_FORMATS):
        return _of_16_bits(image, stored)
    if mode not in PLAIN:
        raise RefusedError(
            f"its pixels are of mode {mode}, of which the range is not known; save it with 8 bits "
            "per channel"
        )
    if not image.has_transparency_data:
        return image.convert("RGB")
    return _composed(image, stored)


def stored_as(image: Image.Image) -> str:
    """Return Pillow's word for how a file has the pixels; to be asked before they are loaded."""
    tiles = getattr(image, "tile", None)
    given = tiles[0][3] if tiles else ""
    raw = given[0] if isinstance(given, tuple) and given else given
    tags = getattr(image, "tag_v2", {})
    return f"{raw} from white" if tags.get(262) == 0 else str(raw)


def _of_16_bits(image: Image.Image, stored: str) -> Image.Image:
    """Return the upper 8 bits as RGB."""
    if "transparency" in image.info:
        raise _transparent_color()
    if stored.startswith("I;12") or stored.endswith("from white"):
        raise RefusedError(f"no rule for pixels of the form {stored}; save it with 8 bits")
    upper = (np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8)
    return Image.fromarray(upper).convert("RGB")


def _composed(image: Image.Image, stored: str) -> Image.Image:
    """Return a picture with its transparent pixels mixed with the background."""
    if "transparency" in image.info and ";16" in stored:
        raise _transparent_color()
    if stored in ("L;2", "L;4") and isinstance(key := image.info.get("transparency"), int):
        # Pillow widens such pixels to 8 bits, and leaves the transparent one as the file has it.
        image = image.copy()
        image.info["transparency"] = key * (255 // (2 ** int(stored[-1]) - 1))
    image = image.convert("LA") if image.mode == "La" else image
    below = Image.new("RGBA", image.size, (*BACKGROUND, 255))
    return Image.alpha_composite(below, image.convert("RGBA")).convert("RGB")


def _transparent_color() -> RefusedError:
    return RefusedError("no rule for 16 bits with a transparent colour; save it with 8 bits")

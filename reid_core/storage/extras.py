"""What is packed beside a picture: from its bytes to a mask or a text, and what may be packed."""

from __future__ import annotations

import numpy as np
from PIL import Image

from reid_core.errors import ReidError
from reid_core.storage.color_modes import RefusedError
from reid_core.storage.decoding import read_picture

KINDS = ("mask", "text")
"""What an extra may be; see ``Listing.extras``."""

MASK_MODES = ("L", "P", "1")
"""Pillow's modes with one number of at most 8 bits a pixel; that of a palette is its place in it,
and of one bit 255 is written for 1."""


def decode_extra(data: bytes, kind: str, name: str) -> Image.Image | str:
    """Return a mask as ``PIL.Image`` of mode ``L``, or a text.

    Args:
        data: The bytes.
        kind: Of ``KINDS``.
        name: Of the extra, for the message.

    Raises:
        ReidError: The bytes are no UTF-8, no image, or one of more than one channel of 8 bits.
    """
    if kind != "text":
        return read_picture(data, f"{name} cannot be read as a mask", _to_mask)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ReidError(f"{name} cannot be read as a text: {error}") from None


def extra_problem(data: bytes, kind: str, size: tuple[int, int], name: str) -> str | None:
    """Return what is wrong with the bytes of an extra; None when they can be packed.

    Args:
        data: The bytes.
        kind: Of ``KINDS``.
        size: (width, height) of the image in pixels.
        name: Of the extra; the problem begins with it.
    """
    try:
        found = decode_extra(data, kind, name)
    except ReidError as error:
        return str(error)
    if isinstance(found, Image.Image) and found.size != size:
        return (
            f"{name} is {found.height} x {found.width} pixels high and wide, its image "
            f"{size[1]} x {size[0]}"
        )
    return None


def _to_mask(image: Image.Image, _: str) -> Image.Image:
    if image.mode not in MASK_MODES:
        raise RefusedError(f"its mode is {image.mode}; expected one channel of 8 bits")
    return Image.fromarray(np.asarray(image)) if image.mode == "P" else image.convert("L")

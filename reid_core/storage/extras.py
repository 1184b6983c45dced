"""What is packed beside a picture: from its bytes to a mask or a text, and what may be packed."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from reid_core.storage.decoding import UNREADABLE

KINDS = ("mask", "text")
"""What an extra may be; see ``Listing.extras``."""

MASK_MODES = ("L", "P", "1")
"""Pillow's modes with one number of at most 8 bits a pixel; that of a palette is its place in it,
and of one bit 255 is written for 1."""


def decode_extra(data: bytes, kind: str) -> Image.Image | str:
    """Return a mask as ``PIL.Image`` of mode ``L``, or a text.

    Raises:
        ValueError: The bytes are no UTF-8, or a picture of more than one channel of 8 bits; or
            another of ``UNREADABLE``.
    """
    return data.decode("utf-8") if kind == "text" else _decode_mask(data)


def extra_problem(data: bytes, kind: str, size: tuple[int, int]) -> str | None:
    """Return what is wrong with the bytes of an extra; None when they can be packed.

    Args:
        data: The bytes.
        kind: Of ``KINDS``.
        size: (width, height) of the image in pixels.
    """
    try:
        found = decode_extra(data, kind)
    except UNREADABLE as error:
        return f"cannot be read as a {kind} ({error})"
    if isinstance(found, Image.Image) and found.size != size:
        return (
            f"is {found.height} x {found.width} pixels high and wide, its image "
            f"{size[1]} x {size[0]}"
        )
    return None


def _decode_mask(data: bytes) -> Image.Image:
    with Image.open(io.BytesIO(data)) as image:
        if image.mode not in MASK_MODES:
            raise ValueError(f"its mode is {image.mode}; expected one channel of 8 bits")
        image.load()
        if image.mode == "P":
            return Image.fromarray(np.asarray(image))
        return image.convert("L")

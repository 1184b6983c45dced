"""Pictures of every format for the fuzzer, and the one decoder that reads them."""

from __future__ import annotations

import io
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fuzz_changes import damaged

SIZE = (16, 32)
"""(width, height) of the pictures in pixels."""

WAYS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    *(("JPEG", mode, {"quality": 90}) for mode in ("RGB", "L", "CMYK")),
    ("JPEG", "RGB", {"progressive": True, "optimize": True}),
    *(("PNG", mode, {}) for mode in ("RGB", "RGBA", "L", "LA", "P", "1", "I;16")),
    *(("BMP", mode, {}) for mode in ("RGB", "L", "P", "1")),
    *(("GIF", mode, {}) for mode in ("L", "P")),
    *(("WEBP", mode, {"lossless": lossless}) for mode in ("RGB", "RGBA") for lossless in (0, 1)),
    *(
        ("TIFF", mode, {"compression": compression})
        for mode in ("RGB", "L", "CMYK", "I;16")
        for compression in ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits")
    ),
    ("TIFF", "RGB", {"compression": "jpeg"}),
    ("TIFF", "F", {}),
    *(("PPM", mode, {}) for mode in ("RGB", "L", "1", "I;16")),
)
"""Format, mode and options of saving."""

FOREIGN = (
    b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 16 32\n(x) print\nshowpage\n",
    b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF",
    b"<svg xmlns='http://www.w3.org/2000/svg' width='16' height='32'/>",
    b"P6\n100000 100000\n255\n",
    b"P6 # \n-1 5\n255\n" + bytes(30),
    b"",
)
"""What is no picture of ours, or declares to be too large."""


class ImageTarget:
    """The decoder. Pictures carry no checksum of ours: what decodes must be one of the rules."""

    count: int | None = None

    def __init__(self, folder: Path) -> None:
        """Draw the pictures."""
        self.pictures = [*_drawn(), *FOREIGN]

    def attempt(self, number: int, rng: random.Random) -> str:
        """Damage a picture and decode it; a damaged one that decodes must be an RGB picture."""
        from reid_core.storage.decoding import decode

        data = damaged(self.pictures[number % len(self.pictures)], rng, self.pictures)
        image = decode(data, "a picture")
        pixels = np.asarray(image)
        right = image.mode == "RGB" and pixels.shape == (image.height, image.width, 3)
        again = np.asarray(decode(data, "a picture"))
        return "accepted" if right and np.array_equal(pixels, again) else "changed"


def _drawn() -> Iterator[bytes]:
    """Yield a picture of every way, with every orientation that EXIF has."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (SIZE[1], SIZE[0], 3), dtype=np.uint8)
    for turn, (format_, mode, options) in enumerate(WAYS):
        exif = Image.Exif()
        exif[0x0112] = 1 + turn % 8
        given = {"exif": exif} if format_ in ("JPEG", "PNG", "WEBP") else {}
        buffer = io.BytesIO()
        _of_mode(pixels, mode).save(buffer, format_, **options, **given)
        yield buffer.getvalue()


def _of_mode(pixels: np.ndarray, mode: str) -> Image.Image:
    if mode in ("I;16", "F"):
        grey = pixels[..., 0].astype(np.uint16 if mode == "I;16" else np.float32)
        return Image.fromarray(grey * 257 if mode == "I;16" else grey)
    return Image.fromarray(pixels).convert(mode)

"""Which image files are read, by format and by the endings of their names."""

from __future__ import annotations

import os
from collections.abc import Mapping

FORMATS: Mapping[str, tuple[str, ...]] = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "PNG": (".png", ".apng"),
    "BMP": (".bmp", ".dib"),
    "WEBP": (".webp",),
    "TIFF": (".tif", ".tiff"),
    "GIF": (".gif",),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
}
"""Pillow's names of the formats, with the endings that count as theirs, in lower case. None of them
makes Pillow start another program, as PostScript does."""

ENDINGS = frozenset(ending for endings in FORMATS.values() for ending in endings)
"""Endings of files that count as images, in lower case."""

DECODER: Mapping[str, str | int] = {"name": "reid_core.pillow", "version": 2}
"""What turns these files into pixels. Its version changes whenever one file could give other
pixels; it stands in weights files. 1 turned nothing upright, dropped alpha and clipped 16 bits."""

FIRST_DECODER = {**DECODER, "version": 1}
"""What had decoded the images of files that do not say it."""


def other_decoder(said: object) -> str | None:
    """Return how the decoder of a weights file differs from this one, if it does.

    Args:
        said: What the file says of it; None: nothing.
    """
    its = FIRST_DECODER if said is None else said
    if its == DECODER:
        return None
    words = f"{its.get('name')} {its.get('version')}" if isinstance(its, dict) else repr(its)
    return (
        f"its images were decoded by {words}, here {DECODER['name']} {DECODER['version']} does it; "
        "images that are turned by EXIF, transparent, or not of 8 bits may look otherwise"
    )


def is_image_name(name: str) -> bool:
    """Tell by its name whether a file counts as an image: by the ending, and it is not hidden.

    macOS leaves '._x.jpg' beside every 'x.jpg' in its archives.
    """
    return os.path.splitext(name)[1].lower() in ENDINGS and not name.startswith(".")

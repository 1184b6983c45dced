"""From an image file's bytes to pixels."""

from __future__ import annotations

import io

from PIL import Image

UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)
"""What Pillow raises for bytes that are no image."""


def decode(data: bytes) -> Image.Image:
    """Decode an image file's bytes completely to RGB.

    Raises:
        OSError: Truncated or not an image; or another of ``UNREADABLE``.
    """
    with Image.open(io.BytesIO(data)) as image:
        # Pillow wants the detour for palettes with transparency.
        return (image.convert("RGBA") if image.mode == "P" else image).convert("RGB")

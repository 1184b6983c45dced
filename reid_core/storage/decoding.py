"""From an image file's bytes to pixels: the one decoder.

What is read stands in ``reid_core.image_formats``; what becomes of each kind of pixels in
``color_modes``. Of several pictures in a file the first is taken. A picture is turned upright as
its EXIF says; EXIF that cannot be read says nothing.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

from PIL import Image, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile

from reid_core.errors import ReidError
from reid_core.image_formats import FORMATS
from reid_core.storage.color_modes import RefusedError, stored_as, to_rgb
from reid_core.storage.libtiff import TIFF_BEGINNINGS, silence_libtiff

MAX_PIXELS = 2**26
"""Width times height that an image may have, as 8192 x 8192."""

ORIENTATION = 0x0112
"""EXIF's number of the tag that says how a picture is to be turned."""

SAYS_ORIENTATION = {"exif", "Raw profile type exif", "xmp", "XML:com.adobe.xmp"}
"""Where Pillow keeps what may have that tag."""

TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What puts a picture of each orientation upright; of any other it is so already."""

Convert = Callable[[Image.Image, str], Image.Image]
"""From a loaded picture, and how its file has the pixels, to one of another mode."""


def decode(data: bytes, name: str) -> Image.Image:
    """Decode an image file's bytes completely to RGB.

    Args:
        data: The bytes.
        name: Of the image or file, for the message.

    Raises:
        ReidError: Truncated, no image of ``FORMATS``, too large, or of pixels without a rule.
    """
    return read_picture(data, name, to_rgb)


def decode_opened(image: Image.Image, name: str) -> Image.Image:
    """Return somebody's PIL picture as RGB, by the same rules as its file.

    What was made from another picture is not turned again: only a file's own picture has a
    ``format``.

    Raises:
        ReidError: As ``decode``.
    """
    image_format = getattr(image, "format", None)
    try:
        # Several JPEG pictures in a file, such as those of phones, are Pillow's MPO.
        if image_format not in (None, "MPO", *FORMATS):
            raise RefusedError(f"its format {image_format} is none of {', '.join(FORMATS)}")
        with _quiet():
            return _converted(image, to_rgb, turned=image_format is not None)
    except Exception as error:
        raise _unreadable(name, error) from error


def read_picture(data: bytes, name: str, convert: Convert) -> Image.Image:
    """Decode an image file's bytes completely and turn the picture upright.

    Args:
        data: The bytes.
        name: Of the image or file, for the message.
        convert: Makes the mode that is wanted; what it raises is the image's fault.

    Raises:
        ReidError: It cannot be read; begins with the name.
    """
    is_jpeg = data.startswith(b"\xff\xd8")
    # Of a JPEG without EXIF nothing makes Pillow warn, and most images are such.
    quiet = nullcontext() if is_jpeg and b"Exif" not in data else _quiet()
    if data.startswith(TIFF_BEGINNINGS):
        silence_libtiff()
    file = io.BytesIO(data)
    try:
        if not data:
            raise RefusedError("the file is empty")
        # The class itself, since Image.open would warn of a size before it is refused below.
        with (
            quiet,
            JpegImageFile(file) if is_jpeg else Image.open(file, formats=list(FORMATS)) as image,
        ):
            return _converted(image, convert, turned=True)
    except Exception as error:
        raise _unreadable(name, error) from error


def _converted(image: Image.Image, convert: Convert, *, turned: bool) -> Image.Image:
    """Return a picture in another mode and, if asked for, upright."""
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise RefusedError(f"{width} x {height} are more than {MAX_PIXELS} pixels; make it smaller")
    if not width or not height:
        raise RefusedError("it has no pixels")
    stored = stored_as(image)
    image.load()  # some EXIF is read with the pixels; of TIFF Pillow turns the pixels itself
    turn = _turn(image) if turned else None
    result = convert(image, stored)
    result = result if turn is None else result.transpose(turn)
    result.info = {}  # or who reads the orientation there would turn it again
    return result


def _turn(image: Image.Image) -> Image.Transpose | None:
    """Return what puts a loaded picture upright; None: nothing."""
    if not SAYS_ORIENTATION & image.info.keys():
        return None
    try:
        orientation = image.getexif().get(ORIENTATION)
    except Exception:  # damaged EXIF around whole pixels
        return None
    return TURNS.get(orientation) if isinstance(orientation, int) else None


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Pillow's warnings from the user: what matters of them is refused or has a rule."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _unreadable(name: str, error: Exception) -> ReidError:
    """Return the error of an image from what Pillow, or a rule, has raised.

    Damaged bytes make Pillow raise nearly anything, from ``struct.error`` to ``RecursionError``.
    """
    if isinstance(error, RefusedError):
        return ReidError(f"{name}: {error}")
    if isinstance(error, Image.DecompressionBombError):
        return ReidError(f"{name}: more than {MAX_PIXELS} pixels; make it smaller")
    if isinstance(error, MemoryError):
        return ReidError(f"{name}: there is not enough memory to decode it")
    text = re.sub(r"<[^<>]* object at 0x[0-9a-fA-F]+>", "it", " ".join(str(error).split()))
    if isinstance(error, UnidentifiedImageError):
        text = f"none of {', '.join(FORMATS)}"
    return ReidError(f"{name}: truncated or not an image ({text or type(error).__name__})")

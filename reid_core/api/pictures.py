"""What a person hands over as images: paths, PIL pictures, arrays, one or many."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from reid_core.errors import ReidError
from reid_core.files import user_path
from reid_core.storage.decoding import decode, decode_opened

Color = Literal["RGB", "BGR"]
Picture = str | os.PathLike[str] | Image.Image | npt.NDArray[np.uint8]
"""A file, a PIL picture, or an array ``(H, W, 3)`` uint8."""


def pictures_of(images: Picture | Iterable[Picture], color: Color) -> Iterator[Image.Image]:
    """Yield RGB pictures, one after the other.

    Args:
        images: One image or any number of them, of any sizes.
        color: Order of the channels in arrays; files and PIL pictures know their own.

    Raises:
        ReidError: ``color`` is unknown, or an image cannot be read or is no image; the message
            names the file or the position.
    """
    if color not in ("RGB", "BGR"):
        raise ReidError(f"color: '{color}' is no order of channels; use 'RGB' or 'BGR' (OpenCV's)")
    for position, image in enumerate(_each(images)):
        if isinstance(image, str | os.PathLike):
            yield _read(user_path(os.fspath(image)))
        elif isinstance(image, Image.Image):
            yield decode_opened(image, f"image {position}")
        else:
            yield _of_array(image, position, color)


def _each(images: Any) -> Iterable[Any]:
    """Return the images one by one, also of a single one and of an array of many."""
    single = isinstance(images, str | os.PathLike | Image.Image)
    if single or (isinstance(images, np.ndarray) and images.ndim == 3):
        return [images]
    return images if isinstance(images, Iterable) else [images]


def _read(path: Path) -> Image.Image:
    try:
        data = path.read_bytes()
    except (OSError, ValueError) as error:  # a name may hold what no name can
        reason = getattr(error, "strerror", None) or error
        raise ReidError(f"{path}: cannot be read as an image: {reason}") from None
    return decode(data, str(path))


def _of_array(image: Any, position: int, color: Color) -> Image.Image:
    """Return the picture of an array ``(H, W, 3)`` uint8."""
    right = isinstance(image, np.ndarray) and image.dtype == np.uint8
    if not right or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        what = type(image).__name__
        if isinstance(image, np.ndarray):
            what = f"{image.dtype} of shape {image.shape}"
        raise ReidError(
            f"image {position}: expected a path, a PIL picture or a uint8 array (H, W, 3), got "
            f"{what}"
        )
    return Image.fromarray(np.ascontiguousarray(image[:, :, ::-1] if color == "BGR" else image))

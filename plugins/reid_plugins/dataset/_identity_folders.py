"""Images in one folder per identity: list them, move some to val, find their cameras."""

from __future__ import annotations

import re
import zlib
from pathlib import Path

import numpy as np

from reid_core import ReidError
from reid_core.contracts import UNKNOWN_CAMERA
from reid_plugins.dataset._files import first_of, folder_names, image_names

Images = dict[str, list[str]]
"""File names by identity."""


def read_identities(folder: Path) -> Images:
    """Return the images of each identity's folder.

    Raises:
        ReidError: Images lie outside any identity's folder, or a folder holds none.
    """
    stray = image_names(folder)
    if stray:
        raise ReidError(
            f"dataset image_folder: images outside any identity's folder in '{folder}': "
            f"{first_of(stray)}"
        )
    images = {pid: image_names(folder / pid) for pid in folder_names(folder)}
    if not images:
        raise ReidError(f"dataset image_folder: '{folder}' holds no identity's folder")
    empty = [pid for pid, names in images.items() if not names]
    if empty:
        raise ReidError(
            f"dataset image_folder: no jpg, png or bmp image in folder {first_of(empty)} "
            f"of '{folder}'"
        )
    return images


def split_off(train: Images, share: float, seed: int) -> tuple[Images, Images]:
    """Move a share of each identity's images to val; return (train, val).

    The choice depends on the seed and the identity's own images only, so that a new identity
    changes nothing for the others. Every identity keeps an image.
    """
    rest: Images = {}
    val: Images = {}
    for pid, names in train.items():
        count = min(len(names) - 1, round(share * len(names)))
        rng = np.random.default_rng(np.random.SeedSequence([seed, zlib.crc32(pid.encode())]))
        moved = {names[i] for i in rng.permutation(len(names))[:count].tolist()}
        rest[pid] = [name for name in names if name not in moved]
        val[pid] = sorted(moved)
    return rest, val


def camera_group(pattern: str) -> str | int:
    """Return which group of a pattern is the camera: the one named camid, or the only one.

    Raises:
        ValueError: It is no regular expression, or it has no such group.
    """
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}, got '{pattern}'") from None
    if "camid" in compiled.groupindex:
        return "camid"
    if compiled.groups != 1:
        raise ValueError(
            "needs one group, such as '_c([0-9]+)', or one that is named camid, "
            f"got {compiled.groups} groups in '{pattern}'"
        )
    return 1


def read_cameras(names: list[str], pattern: str | None) -> dict[str, int]:
    """Return the camera of each file name.

    Raises:
        ReidError: The pattern finds no number in a name.
    """
    if pattern is None:
        return dict.fromkeys(names, UNKNOWN_CAMERA)
    group = camera_group(pattern)
    matches = {name: re.search(pattern, name) for name in names}
    texts = {name: (match[group] or "") if match else "" for name, match in matches.items()}
    wrong = [name for name, text in texts.items() if not re.fullmatch("[0-9]+", text)]
    if wrong:
        raise ReidError(
            f"dataset image_folder: camera_pattern '{pattern}' finds no camera number in "
            f"{first_of(wrong)}"
        )
    return {name: int(text) for name, text in texts.items()}

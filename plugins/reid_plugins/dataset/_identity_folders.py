"""Images in one folder per identity: list them, move some to val, find their cameras."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from reid_core.contracts import UNKNOWN_CAMERA
from reid_core.errors import counted
from reid_plugins.toolkit.image_folders import Folder, folder_of

CAMERA = re.compile("[0-9]{1,18}")
"""Numbers that fit into 64 bits."""

Images = dict[str, list[str]]
"""File names by identity."""


@dataclass(frozen=True)
class Identities:
    """What one split's folder holds.

    Attributes:
        images: Of each identity; none where there is a problem.
        left_out: What is not read, as paths from the root.
        problems: Lines ``"folder: what is wrong"``.
    """

    images: Images
    left_out: list[str]
    problems: list[str]


def read_identities(root: Path, folder: str) -> Identities:
    """Return the images of each identity's folder, and all that is wrong there.

    Args:
        root: Of the dataset.
        folder: Of the split, from the root; ``"."`` is the root.

    Raises:
        ReidError: A folder cannot be read.
    """
    top = folder_of(root / folder)
    below = {pid: folder_of(root / folder / pid) for pid in top.folders}
    problems = [
        f"{top.path / name}: an image outside any identity's folder; move it into one"
        for name in top.images
    ]
    if not below:
        problems.append(f"{top.path}: holds no identity's folder")
    problems += [_emptiness(found) for found in below.values() if not found.images]
    left_out = top.left_out(root, below)
    left_out += [name for found in below.values() for name in found.left_out(root)]
    return Identities({pid: found.images for pid, found in below.items()}, left_out, problems)


def _emptiness(folder: Folder) -> str:
    """Return the problem of an identity's folder without an image."""
    holds = ", ".join(counted(n, what) for n, what in _counts(folder) if n) or "nothing"
    return f"{folder.path}: no image in this folder of an identity (it holds {holds})"


def _counts(folder: Folder) -> list[tuple[int, str]]:
    return [(len(folder.folders), "folder"), (len(folder.others), "other file")]


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


def read_cameras(names: Iterable[str], pattern: str | None) -> tuple[dict[str, int], list[str]]:
    """Return the camera of each image, and a line for each without one.

    Args:
        names: Paths of the images; the pattern is searched in the last part alone.
        pattern: See ``camera_group``; None: no camera is known.
    """
    if pattern is None:
        return dict.fromkeys(names, UNKNOWN_CAMERA), []
    group = camera_group(pattern)
    cameras, problems = {}, []
    for name in dict.fromkeys(names):
        match = re.search(pattern, name.rpartition("/")[2])
        text = (match[group] or "") if match else ""
        if CAMERA.fullmatch(text):
            cameras[name] = int(text)
        elif text.isdecimal():
            problems.append(f"{name}: camera number '{text}' has more than 18 digits")
        else:
            problems.append(
                f"{name}: camera_pattern '{pattern}' finds no camera number in it; correct the "
                "pattern or the name, or list the images in a CSV file for 'manifest', where camid "
                "may be empty"
            )
    return cameras, problems

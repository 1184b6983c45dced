"""One folder per identity, in one folder per split.

``root/train/anna/1.jpg`` is an image of identity 'anna'. A root that holds the identities'
folders directly is train alone. A share of each identity's training images can be moved to val.
Reference: the layout of torchvision's ImageFolder, with re-ID's splits above it.
"""

from __future__ import annotations

import re
import zlib
from pathlib import Path

import numpy as np
from pydantic import Field, field_validator

from reid_core import Component, Params, ReidError, hookimpl
from reid_core.contracts import UNKNOWN_CAMERA, ImageRecord, Listing
from reid_core.errors import did_you_mean
from reid_plugins.dataset._files import first_of, folder_names, image_names, open_root

Images = dict[str, list[str]]
"""File names by identity."""


class ImageFolderParams(Params):
    """Params of the dataset ``image_folder``."""

    root: str = Field(min_length=1, description="Folder that holds the splits or identities.")
    train: str = Field(default="train", min_length=1, description="Folder of split train.")
    val: str = Field(default="val", min_length=1, description="Folder of split val.")
    query: str = Field(default="query", min_length=1, description="Folder of split query.")
    gallery: str = Field(default="gallery", min_length=1, description="Folder of split gallery.")
    val_share: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="Share of each identity's training images that is moved to val, in [0, 1); "
        "an identity always keeps one. Only where there is no val folder.",
    )
    seed: int = Field(default=0, ge=0, description="Chooses the images that val_share moves.")
    camera_pattern: str | None = Field(
        default=None,
        description="Regular expression that is searched in the file name; its one group is the "
        "camera number, e.g. '_c([0-9]+)'. null: cameras are not known.",
    )
    junk: list[str] = Field(default=[], description="Identity folders whose images are junk.")
    distractors: list[str] = Field(
        default=[], description="Identity folders whose images are distractors."
    )

    @field_validator("camera_pattern")
    @classmethod
    def _one_group(cls, value: str | None) -> str | None:
        """Refuse what is no regular expression with exactly one group."""
        try:
            groups = 1 if value is None else re.compile(value).groups
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}, got {value!r}") from None
        if groups != 1:
            raise ValueError(f"needs one group such as '_c([0-9]+)', got {groups} in {value!r}")
        return value


def find_splits(root: Path, params: ImageFolderParams) -> dict[str, str]:
    """Return the folder of each split that exists; ``"."`` is train without a split folder.

    Raises:
        ReidError: A folder that the params name is missing, or there is nothing to read.
    """
    named = {split: getattr(params, split) for split in ("train", "val", "query", "gallery")}
    # Only the default names may be absent: another name was written because it is there.
    absent = [f for s, f in named.items() if f != s and not (root / f).is_dir()]
    if absent:
        raise ReidError(f"dataset image_folder: folder {first_of(absent)} is missing in '{root}'")
    found = {split: folder for split, folder in named.items() if (root / folder).is_dir()}
    if found:
        return found
    if not folder_names(root):
        raise ReidError(
            f"dataset image_folder: '{root}' holds no folder; expected "
            f"{first_of(named.values())} or one folder per identity"
        )
    return {"train": "."}


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

    The choice depends on the seed and the identity's name only, so that a new identity
    changes nothing for the others.
    """
    val: Images = {}
    for pid, names in train.items():
        count = min(len(names) - 1, round(share * len(names)))
        rng = np.random.default_rng(np.random.SeedSequence([seed, zlib.crc32(pid.encode())]))
        val[pid] = sorted(names[i] for i in rng.permutation(len(names))[:count])
    rest = {pid: [name for name in train[pid] if name not in set(val[pid])] for pid in train}
    return rest, val


def read_cameras(names: list[str], pattern: str | None) -> dict[str, int]:
    """Return the camera of each file name.

    Raises:
        ReidError: The pattern finds no number in a name.
    """
    if pattern is None:
        return dict.fromkeys(names, UNKNOWN_CAMERA)
    found = {name: re.search(pattern, name) for name in names}
    wrong = [n for n, m in found.items() if m is None or not re.fullmatch("[0-9]+", m[1] or "")]
    if wrong:
        raise ReidError(
            f"dataset image_folder: camera_pattern '{pattern}' finds no camera number in "
            f"{first_of(wrong)}"
        )
    return {name: int(match[1]) for name, match in found.items() if match}


def check_marked(params: ImageFolderParams, pids: set[str]) -> None:
    """Refuse names in ``junk`` and ``distractors`` that no split has a folder for."""
    for key in ("junk", "distractors"):
        for pid in getattr(params, key):
            if pid not in pids:
                raise ReidError(
                    f"dataset image_folder: {key} names '{pid}', but no split has that folder"
                    f"{did_you_mean(pid, pids)}"
                )


def build(params: ImageFolderParams) -> Listing:
    """List the images.

    Raises:
        ReidError: A folder is missing or empty, or params and folders do not agree.
    """
    root = open_root("image_folder", params.root)
    folders = find_splits(root, params)
    splits = {split: read_identities(root / folder) for split, folder in folders.items()}
    if params.val_share:
        if "val" in splits or "train" not in splits:
            why = "there is a val folder" if "val" in splits else "there is no train folder"
            raise ReidError(f"dataset image_folder: val_share is set, but {why} in '{root}'")
        splits["train"], splits["val"] = split_off(splits["train"], params.val_share, params.seed)
        folders["val"] = folders["train"]
    check_marked(params, {pid for images in splits.values() for pid in images})
    names = [name for images in splits.values() for files in images.values() for name in files]
    cameras = read_cameras(names, params.camera_pattern)
    records = [
        ImageRecord(
            name=Path(folders[split], pid, name).as_posix(),
            split=split,
            pid=pid,
            camid=cameras[name],
            source=root / folders[split] / pid / name,
            junk=pid in params.junk,
            distractor=pid in params.distractors,
        )
        for split, images in splits.items()
        for pid, files in images.items()
        for name in files
    ]
    return Listing(records, root)


@hookimpl
def reid_dataset() -> list[Component]:
    """Offer ``image_folder``."""
    return [
        Component(
            name="image_folder",
            params=ImageFolderParams,
            build=build,
            summary="one folder per identity, in one folder per split",
        )
    ]

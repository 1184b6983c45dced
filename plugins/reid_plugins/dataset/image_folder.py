"""One folder per identity, in one folder per split.

``root/train/anna/1.jpg`` is an image of identity 'anna'. A root that holds the identities'
folders directly is train alone. A share of each identity's training images can be moved to val.

Reference: the layout of torchvision's ImageFolder, with re-ID's splits above it.
"""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import Field, field_validator

from reid_core import Component, Params, PathText, ReidError, hookimpl
from reid_core.contracts import ImageRecord, Listing
from reid_core.limits import LARGEST_SEED
from reid_core.problems import raise_problems
from reid_plugins.dataset._identity_folders import (
    Images,
    camera_group,
    read_cameras,
    read_identities,
    split_off,
)
from reid_plugins.toolkit.image_folders import first_of, folder_of, open_root
from reid_plugins.toolkit.market_pids import Mark, taken_for_persons


class ImageFolderParams(Params):
    """Params of the dataset ``image_folder``."""

    root: PathText = Field(
        description="Folder that holds the splits or identities.",
    )
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
    seed: int = Field(
        default=0, ge=0, le=LARGEST_SEED, description="Chooses the images that val_share moves."
    )
    camera_pattern: str | None = Field(
        default=None,
        description="Regular expression that is searched in the file name; its one group, or "
        "the one named camid, is the camera number, e.g. '_c([0-9]+)'. null: not known.",
    )
    junk: list[str] | None = Field(
        default=None,
        description="Folders of identities whose images are junk; there need be no such folder. "
        "null: none, and a folder '-1' is warned of.",
    )
    distractors: list[str] | None = Field(
        default=None,
        description="Folders of identities whose images are distractors, likewise. null: none, and "
        "a folder '0', '0000' is warned of.",
    )

    @field_validator("camera_pattern")
    @classmethod
    def _has_camera(cls, value: str | None) -> str | None:
        """Refuse a pattern without a group for the camera."""
        if value is not None:
            camera_group(value)
        return value


def find_splits(root: Path, params: ImageFolderParams) -> dict[str, str]:
    """Return the folder of each split that exists; ``"."`` is train without a split folder.

    Raises:
        ReidError: A folder that the params name is missing, or there is nothing to read.
    """
    named = {split: getattr(params, split) for split in ("train", "val", "query", "gallery")}
    # Only the default names may be absent: another name was written because it is there.
    absent = [f for s, f in named.items() if f != s and not os.path.isdir(root / f)]
    if absent:
        raise ReidError(f"dataset image_folder: folder {first_of(absent)} is missing in '{root}'")
    found = {split: folder for split, folder in named.items() if os.path.isdir(root / folder)}
    if found:
        return found
    if not folder_of(root).folders:
        raise ReidError(
            f"dataset image_folder: '{root}' holds no folder; expected "
            f"{first_of(named.values())} or one folder per identity"
        )
    return {"train": "."}


def build(params: ImageFolderParams) -> Listing:
    """List the images.

    Raises:
        ReidError: A folder is missing or empty, or params and folders do not agree; with all
            problems of the folders.
    """
    root = open_root("image_folder", params.root)
    folders = find_splits(root, params)
    found = {split: read_identities(root, folder) for split, folder in folders.items()}
    splits = {split: identities.images for split, identities in found.items()}
    names = [
        Path(folders[split], pid, name).as_posix()
        for split, images in splits.items()
        for pid, files in images.items()
        for name in files
    ]
    cameras, problems = read_cameras(names, params.camera_pattern)
    problems = [line for identities in found.values() for line in identities.problems] + problems
    whose = "dataset image_folder: "
    raise_problems(problems, "problems of its folders", whose, one="problem of its folders")
    if params.val_share:
        _move_to_val(root, params, splits, folders)
    records = [
        ImageRecord(
            name=(place := Path(folders[split], pid, name).as_posix()),
            split=split,
            pid=pid,
            camid=cameras[place],
            source=root / place,
            junk=pid in (params.junk or ()),
            distractor=pid in (params.distractors or ()),
        )
        for split, images in splits.items()
        for pid, files in images.items()
        for name in files
    ]
    left_out = [] if "." in folders.values() else folder_of(root).left_out(root, folders.values())
    left_out += [name for identities in found.values() for name in identities.left_out]
    skipped = list(dict.fromkeys(left_out))  # two splits may be one folder
    return Listing(records, root, skipped=skipped, warnings=_warnings(records, params))


def _move_to_val(
    root: Path, params: ImageFolderParams, splits: dict[str, Images], folders: dict[str, str]
) -> None:
    """Divide the images of train between train and val.

    Raises:
        ReidError: There is a val folder, or none of train.
    """
    if "val" in splits or "train" not in splits:
        why = "there is a val folder" if "val" in splits else "there is no train folder"
        raise ReidError(f"dataset image_folder: val_share is set, but {why} in '{root}'")
    splits["train"], splits["val"] = split_off(splits["train"], params.val_share, params.seed)
    folders["val"] = folders["train"]


def _warnings(records: list[ImageRecord], params: ImageFolderParams) -> list[str]:
    """Return what should be known of folders that are no persons in copies of Market-1501."""
    advice: dict[Mark, str] = {}
    if params.junk is None:
        advice["junk"] = "name it in 'junk', or set 'junk' to [] if it is a person"
    if params.distractors is None:
        advice["distractor"] = "name it in 'distractors', or set that to [] if it is a person"
    return taken_for_persons(records, advice)


@hookimpl
def reid_dataset() -> list[Component]:
    """Offer ``image_folder``."""
    return [
        Component(
            name="image_folder",
            params=ImageFolderParams,
            build=build,
            summary="One folder per identity, in one folder per split",
        )
    ]

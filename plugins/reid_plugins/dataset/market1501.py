"""Market-1501 and every dataset in its folders and file names.

``bounding_box_train`` is train, ``query`` is query, ``bounding_box_test`` is gallery, and on
demand ``gt_bbox`` is multi_query. A name such as ``0002_c1s1_000451_03.jpg`` is identity 0002,
camera 1, and so is ``0002_c1_f0044158.jpg`` of DukeMTMC-reID; identity -1 is junk, identity 0 a
distractor. Unlike most readers, junk is kept and marked, so that the evaluator decides.

Reference: Zheng et al., "Scalable Person Re-identification: A Benchmark", ICCV 2015.
"""

from __future__ import annotations

import re
from pathlib import Path

from pydantic import Field

from reid_core import Component, Params, PathText, ReidError, hookimpl
from reid_core.contracts import ImageRecord, Listing
from reid_plugins.dataset._files import first_of, folder_names, image_names, open_root

FOLDERS = {"train": "bounding_box_train", "query": "query", "gallery": "bounding_box_test"}
MULTI_QUERY = {"multi_query": "gt_bbox"}

SUFFIXES = frozenset({".jpg", ".jpeg", ".png"})

# The ending may be doubled: copies with names such as '0002_c1s1_000451_03.jpg.jpg' exist.
NAME = re.compile(
    r"(-1|[0-9]+)_c([0-9]{1,18})(?:s\d+_\d+_\d+|_f\d+)(?:\.(?:jpe?g|png))+", re.IGNORECASE
)

PUBLISHED = {"train": (751, 12_936), "query": (750, 3_368), "gallery": (750, 19_732)}
"""Identities and images of each folder; junk and distractors count as images only."""


class Market1501Params(Params):
    """Params of the dataset ``market1501``."""

    root: PathText = Field(
        description="Folder that holds bounding_box_train, query and bounding_box_test.",
    )
    multi_query: bool = Field(default=False, description="Also read gt_bbox, as split multi_query.")
    published_statistics: bool = Field(
        default=False,
        description="Check the counts against those published for Market-1501 itself.",
    )


def parse_name(name: str) -> tuple[str, int] | None:
    """Return (pid, camid) of a file name, or None when it does not follow the rule.

    >>> parse_name("0002_c1s1_000451_03.jpg")
    ('0002', 1)
    >>> parse_name("0001_c2_f0046182.jpg")
    ('0001', 2)
    """
    match = NAME.fullmatch(name)
    return (match[1], int(match[2])) if match else None


def read_split(root: Path, split: str, folder: str) -> list[ImageRecord]:
    """Return the records of one folder, sorted by name.

    Raises:
        ReidError: The folder holds no image, or an image whose name does not follow the rule.
    """
    names = image_names(root / folder, SUFFIXES)
    if not names:
        raise ReidError(f"dataset market1501: no jpg or png image in '{root / folder}'")
    parsed = [(name, parse_name(name)) for name in names]
    wrong = [name for name, known in parsed if known is None]
    if wrong:
        raise ReidError(
            f"dataset market1501: '{root / folder}' holds names that say no identity and camera: "
            f"{first_of(wrong)}; a right one is '0002_c1s1_000451_03.jpg' "
            "(identity 0002, camera 1, sequence 1, frame 000451, box 03)"
        )
    return [
        ImageRecord(
            name=f"{folder}/{name}",
            split=split,
            pid=known[0],
            camid=known[1],
            source=root / folder / name,
            junk=known[0] == "-1",
            distractor=known[0].strip("0") == "",
        )
        for name, known in parsed
        if known
    ]


def build(params: Market1501Params) -> Listing:
    """List the images.

    Raises:
        ReidError: A folder is missing or empty, or a file name is wrong.
    """
    root = open_root("market1501", params.root)
    wanted = FOLDERS | (MULTI_QUERY if params.multi_query else {})
    missing = [folder for folder in wanted.values() if not (root / folder).is_dir()]
    if missing:
        inner = [name for name in folder_names(root) if (root / name / FOLDERS["train"]).is_dir()]
        hint = f"; did you mean root '{root / inner[0]}'?" if inner else ""
        raise ReidError(
            f"dataset market1501: folder {first_of(missing)} is missing in '{root}'{hint}"
        )
    records = [r for split, folder in wanted.items() for r in read_split(root, split, folder)]
    return Listing(records, root, PUBLISHED if params.published_statistics else {})


@hookimpl
def reid_dataset() -> list[Component]:
    """Offer ``market1501``."""
    return [
        Component(
            name="market1501",
            params=Market1501Params,
            build=build,
            summary="Market-1501 folders and file names",
            reference="Zheng et al., ICCV 2015",
        )
    ]

"""Market-1501 and every dataset in its folders and file names.

``bounding_box_train`` is train, ``query`` is query, ``bounding_box_test`` is gallery, and on
demand ``gt_bbox`` is multi_query. A name such as ``0002_c1s1_000451_03.jpg`` is identity 0002,
camera 1, and so is ``0002_c1_f0044158.jpg`` of DukeMTMC-reID; identity -1 is junk, identity 0 a
distractor. Unlike most readers, junk is kept and marked, so that the evaluator decides.

Reference: Zheng et al., "Scalable Person Re-identification: A Benchmark", ICCV 2015.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from reid_core import Component, Params, PathText, ReidError, hookimpl
from reid_core.contracts import ImageRecord, Listing
from reid_core.image_formats import ENDINGS
from reid_core.problems import raise_problems
from reid_plugins.toolkit.image_folders import first_of, folder_of, open_root
from reid_plugins.toolkit.market_pids import stands_for

FOLDERS = {"train": "bounding_box_train", "query": "query", "gallery": "bounding_box_test"}
MULTI_QUERY = {"multi_query": "gt_bbox"}

# The ending may be doubled: copies with names such as '0002_c1s1_000451_03.jpg.jpg' exist.
NAME = re.compile(
    r"(-1|[0-9]+)_c([0-9]{1,18})(?:s\d+_\d+_\d+|_f\d+)"
    rf"(?:{'|'.join(map(re.escape, sorted(ENDINGS)))})+",
    re.IGNORECASE,
)

PUBLISHED = {"train": (751, 12_936), "query": (750, 3_368), "gallery": (750, 19_732)}
"""Identities and images of each folder; junk and distractors count as images only."""


RIGHT = "'0002_c1s1_000451_03.jpg' (identity 0002, camera 1, sequence 1, frame 000451, box 03)"


@dataclass(frozen=True)
class Split:
    """What one folder holds: images, names that are not read, and what is wrong."""

    records: list[ImageRecord]
    left_out: list[str]
    problems: list[str]


WHERE = (
    "Market-1501 is given by its authors, who are to be asked (Zheng et al., ICCV 2015: "
    "https://zheng-lab.cecs.anu.edu.au/Project/project_reid.html); 'root' is the folder in it that "
    "holds bounding_box_train/, query/ and bounding_box_test/ with images such as "
    "0002_c1s1_000451_03.jpg"
)
"""What to do without the data."""


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


def read_split(root: Path, split: str, folder: str) -> Split:
    """Return the records of one folder, sorted by name, and what else there is in it.

    Raises:
        ReidError: The folder cannot be read.
    """
    found = folder_of(root / folder)
    records, problems = [], []
    for name in found.images:
        known = parse_name(name)
        if known is None:
            problems.append(
                f"{found.path / name}: its name says no identity and camera; a right one is {RIGHT}"
            )
            continue
        mark = stands_for(known[0])
        records.append(
            ImageRecord(
                name=f"{folder}/{name}",
                split=split,
                pid=known[0],
                camid=known[1],
                source=root / folder / name,
                junk=mark == "junk",
                distractor=mark == "distractor",
            )
        )
    if not found.images:
        problems.append(f"{found.path}: there is no image in this folder")
    return Split(records, found.left_out(root), problems)


def build(params: Market1501Params) -> Listing:
    """List the images.

    Raises:
        ReidError: A folder is missing or empty, or a file name is wrong; with all such problems.
    """
    try:
        root = open_root("market1501", params.root)
    except ReidError as error:
        raise ReidError(f"{error}; {WHERE}") from None
    wanted = FOLDERS | (MULTI_QUERY if params.multi_query else {})
    missing = [folder for folder in wanted.values() if not (root / folder).is_dir()]
    top = folder_of(root)
    if missing:
        inner = [name for name in top.folders if (root / name / FOLDERS["train"]).is_dir()]
        advice = f"did you mean root '{root / inner[0]}'?" if inner else WHERE
        raise ReidError(
            f"dataset market1501: folder {first_of(missing)} is missing in '{root}'; {advice}"
        )
    splits = [read_split(root, split, folder) for split, folder in wanted.items()]
    problems = [line for split in splits for line in split.problems]
    whose = "dataset market1501: "
    raise_problems(problems, "problems of its folders", whose, one="problem of its folders")
    return Listing(
        [record for split in splits for record in split.records],
        root,
        PUBLISHED if params.published_statistics else {},
        skipped=[
            *top.left_out(root, wanted.values()),
            *(name for split in splits for name in split.left_out),
        ],
    )


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

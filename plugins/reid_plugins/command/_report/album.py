"""Small pictures of a target's images, from the store that a run was scored on."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from reid_core.catalog import Catalog
from reid_core.errors import ReidError
from reid_core.evaluation.targets import target_entries
from reid_core.files import user_path
from reid_core.params.json_file import read_json
from reid_core.params.validation import check_run_params
from reid_core.run_directory import STORES, RunDirectory
from reid_core.storage.store import Store
from reid_plugins.command._report.collect import Evaluation, LeftOut

HEIGHT, WIDEST = 96, 144
"""Pixels that a picture has in the page, at most."""

_QUALITY = 80


@dataclass(frozen=True)
class Thumbnail:
    """A picture for the page.

    Attributes:
        source: JPEG as a data URI.
        width: Pixels in the page.
        height: Likewise.
        pid: Identity as the dataset spells it.
        camid: Camera, -1 unknown.
    """

    source: str
    width: int
    height: int
    pid: str
    camid: int


class Album:
    """Makes thumbnails of the query and gallery images of a store, each once."""

    def __init__(self, store: Store) -> None:
        """Keep the store and where its splits are."""
        self.store = store
        self._positions = {split: store.index.positions(split) for split in ("query", "gallery")}
        self._made: dict[int, Thumbnail] = {}

    def check(self, found: Evaluation) -> None:
        """Find out whether saved scores are of these images.

        Raises:
            LeftOut: They are not.
        """
        names = self.store.index.name[self._positions["query"]]
        top = found.arrays["top_indices"]
        if not (
            np.array_equal(names, found.arrays["name"])
            and top.max(initial=-1) < len(self._positions["gallery"])
        ):
            raise LeftOut("the images of the store are not those that were scored")

    def picture(self, split: str, row: int) -> Thumbnail:
        """Return the image of a query or of the gallery, by its row in the saved scores."""
        position = int(self._positions[split][row])
        if position not in self._made:
            self._made[position] = self._make(position)
        return self._made[position]

    def _make(self, position: int) -> Thumbnail:
        index, image = self.store.index, self.store.image(position)
        scale = min(HEIGHT / image.height, WIDEST / image.width)
        width, height = (max(1, round(scale * side)) for side in image.size)
        if scale < 1:
            image = image.resize((width, height), Image.Resampling.LANCZOS)
        file = io.BytesIO()
        image.save(file, format="JPEG", quality=_QUALITY, optimize=True)
        source = f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode('ascii')}"
        return Thumbnail(
            source, width, height, str(index.pid[position]), int(index.camid[position])
        )


def open_album(run: Path, found: Evaluation, catalog: Catalog) -> Album:
    """Open the packed images that a run's saved scores are of; nothing is packed for it.

    Args:
        run: The directory that the scores were collected from.
        found: The scores.
        catalog: Has the components that the run's params name.

    Raises:
        LeftOut: The images are not there, or are other ones.
    """
    directory = RunDirectory(run)
    if found.path.parent != directory.evaluations or not directory.params.is_file():
        raise LeftOut("these scores do not lie in a run, which would say where its images are")
    target = str(found.facts["target"])
    try:
        content = _content_hash(directory, target)
        for place in _places(directory, target, catalog):
            if read_json(place / "manifest.json").get("content_hash") == content:
                album = Album(Store(place.resolve()))
                album.check(found)
                return album
    except ReidError as error:
        raise LeftOut(f"the packed images of the run cannot be read: {error}") from None
    raise LeftOut(
        f"the packed images of '{target}' are not there any more; "
        "pack them again with reid pack and the run's params.json, and make the report again"
    )


def _content_hash(directory: RunDirectory, target: str) -> str:
    """Return what a run's record says of the images of a target."""
    data = read_json(directory.environment).get("data")
    if not (isinstance(data, dict) and isinstance(data.get(target), str)):
        raise LeftOut(f"{directory.environment.name} does not say which images '{target}' has")
    return str(data[target])


def _places(directory: RunDirectory, target: str, catalog: Catalog) -> Iterator[Path]:
    """Yield the stores that may be the target's: its own place, and all beside the run."""
    params = check_run_params(read_json(directory.params), catalog, str(directory.params))
    entry = target_entries(params).get(target)
    named = [user_path(entry.store)] if entry and entry.store else []
    # A working directory that was moved has its stores beside its runs still.
    folders = user_path(params.working_dir), directory.path.resolve().parent
    beside = [place for folder in folders for place in sorted((folder / STORES).glob("*"))]
    yield from (place for place in [*named, *beside] if (place / "manifest.json").is_file())

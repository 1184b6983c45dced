"""The data that a run was started on: which dataset had which content, and where it may lie now."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reid_core.errors import ReidError
from reid_core.files import user_path
from reid_core.params.json_file import read_json
from reid_core.params.schema import DatasetEntry
from reid_core.run_directory import STORES, RunDirectory
from reid_core.storage.manifest import read_manifest


@dataclass(frozen=True)
class Recorded:
    """One dataset of a run as it was started.

    Attributes:
        record: What the run's record of data calls it.
        place: Where it stands in the run's params, such as ``data.train.0``.
        name: Of the dataset, with its distribution.
        params: Its resolved params.
        content_hash: Of its store.
    """

    record: str
    place: str
    name: str
    params: Mapping[str, Any]
    content_hash: str

    def is_of(self, entry: DatasetEntry) -> bool:
        """Tell whether an entry is this dataset with the same params."""
        now = entry.model_dump(mode="json")
        params = now["params"]
        return now["name"] == self.name and all(
            params.get(key, value) == value for key, value in self.params.items()
        )


@dataclass(frozen=True)
class RecordedData:
    """The datasets of a run as it was started, and the folders where their stores may be.

    Attributes:
        datasets: As far as they were recorded.
        places: Where folders of stores may be, the likeliest first.
    """

    datasets: tuple[Recorded, ...] = ()
    places: tuple[Path, ...] = ()

    @property
    def folders(self) -> list[Path]:
        """Return the folders of stores that are there now; packing may have made one."""
        return [place for place in self.places if place.is_dir()]

    @classmethod
    def of_run(cls, directory: RunDirectory, working_dir: Path) -> RecordedData:
        """Read what a run was started on; nothing is recorded of one that did not begin.

        Args:
            directory: The run.
            working_dir: Where its stores should be.

        Raises:
            ReidError: A record of the run is damaged.
        """
        if not directory.environment.is_file():
            return cls()
        hashes = read_json(directory.environment).get("data", {})
        params = read_json(directory.params)
        data = params.get("data", {})
        datasets = tuple(
            Recorded(name, place, entry["name"], entry.get("params", {}), hashes[name])
            for name, place, entry in named_entries(data)
            if name in hashes
        )
        parents = [parent / STORES for parent in directory.path.resolve().parents]
        before = user_path(params.get("working_dir", ".")) / STORES
        places = dict.fromkeys([working_dir / STORES, *parents, before])
        return cls(datasets, tuple(places))

    def of(self, entry: DatasetEntry) -> Recorded | None:
        """Return the record of a dataset whose entry has not been changed since."""
        return next((found for found in self.datasets if found.is_of(entry)), None)

    def store(self, recorded: Recorded) -> Path | None:
        """Return a packed store of the recorded content."""
        bare = recorded.name.rpartition(":")[2]
        for folder in self.folders:
            for manifest in sorted(folder.glob("*/manifest.json")):
                with suppress(ReidError):  # a damaged one is not it
                    found = read_manifest(manifest.parent)
                    is_same = found["content_hash"] == recorded.content_hash
                    if is_same and found["source"]["name"] == bare:
                        return manifest.parent
        return None


def working_dir_of(directory: RunDirectory, working_dir: str) -> Path:
    """Return the working directory of a run: the one of its params, unless the run was moved.

    Args:
        directory: The run.
        working_dir: As its params have it.

    Returns:
        Of a run that was moved, the nearest folder above it that has stores, else the next one.
    """
    given, path = user_path(working_dir), directory.path.resolve()
    if path.is_relative_to(given.resolve()):
        return given
    return next((p for p in path.parents if (p / STORES).is_dir()), path.parent)


def train_record(label: str, targets: Collection[str]) -> str:
    """Return what the record of data calls a dataset of ``data.train``, beside the targets."""
    return f"train/{label}" if label in targets else label


def named_entries(data: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Yield every dataset of resolved params: name in the record, place, entry."""
    targets = data.get("targets", {})
    for i, entry in enumerate(data.get("train", [])):
        yield train_record(_label(entry), targets), f"data.train.{i}", entry
    for name, entry in targets.items():
        yield name, f"data.targets.{name}", entry
    for stream, params in data.get("streams", {}).items():
        for i, entry in enumerate(params.get("sources", [])):
            name = f"streams/{stream}/{_label(entry)}"
            yield name, f"data.streams.{stream}.sources.{i}", entry


def _label(entry: Mapping[str, Any]) -> str:
    return str(entry.get("alias") or str(entry["name"]).rpartition(":")[2])

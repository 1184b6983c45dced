"""From a dataset entry of the params to an open store, packed on the way if it is not yet."""

from __future__ import annotations

import json
import os
from pathlib import Path

from reid_core.console import progress_bar, say
from reid_core.contracts import ImageRecord, Listing
from reid_core.errors import ReidError, counted, name_list
from reid_core.files import user_path
from reid_core.params.field_facts import path_names
from reid_core.params.schema import DatasetEntry
from reid_core.run_directory import STORES
from reid_core.storage.fingerprints import fingerprint
from reid_core.storage.listing_checks import check_form, published_differences
from reid_core.storage.packing import pack
from reid_core.storage.recorded_data import Recorded, RecordedData
from reid_core.storage.statistics_lines import statistics_lines
from reid_core.storage.store import Store

SKIPPED = "entry.skip_unreadable"
"""What a fingerprint and a manifest call that choice; no param of a dataset has a '.' in it."""


class Stores:
    """Opens the store of every dataset entry of a run, each once.

    LMDB allows one open environment per file and process, so equal entries share a store.

    Attributes:
        folder: Where stores lie that have no place of their own.
        recorded: What the run was started on.
        packed: What has been packed now, by the dataset's name in the run.
    """

    def __init__(self, working_dir: Path, recorded: RecordedData | None = None) -> None:
        """Use stores below ``<working_dir>/stores`` unless an entry names its own.

        Args:
            working_dir: That of the run.
            recorded: What the run was started on, if it is continued or scored: where a dataset's
                files are gone, the store that was packed of them serves.
        """
        self.folder = working_dir / STORES
        self.recorded = recorded or RecordedData()
        self.packed: dict[str, Store] = {}
        self._open: dict[Path, Store] = {}
        self._by_entry: dict[str, Store] = {}

    def open(self, entry: DatasetEntry) -> Store:
        """Return the store of an entry; pack the dataset first if that has not been done.

        Raises:
            ReidError: The dataset cannot be read or packed, or the store at the entry's
                own place was made from another dataset or with other params.
        """
        return self._kept(entry, packs=True)

    def at_hand(self, entry: DatasetEntry) -> Store | None:
        """Return the store of an entry if there is one; nothing is packed.

        Of what the run was started on, it is one of the recorded content, wherever that lies now.
        """
        recorded = self.recorded.of(entry)
        try:
            if recorded:
                return self._of_content(recorded, entry)
            return self._kept(entry, packs=False)
        except ReidError:
            return None

    def _of_content(self, recorded: Recorded, entry: DatasetEntry) -> Store | None:
        """Return a store of the recorded content: one in use, or one that is found."""
        for store in self._open.values():
            if store.content_hash == recorded.content_hash:
                return store
        place = self.recorded.store(recorded)
        found = self._opened(place) if place else self._kept(entry, packs=False)
        return found if found.content_hash == recorded.content_hash else None

    def _kept(self, entry: DatasetEntry, *, packs: bool) -> Store:
        key = entry.model_dump_json(exclude={"alias"})
        if key not in self._by_entry:
            self._by_entry[key] = self._found(entry, packs=packs)
        return self._by_entry[key]

    def _found(self, entry: DatasetEntry, *, packs: bool) -> Store:
        """Find the store of an entry that is asked for the first time, or pack it."""
        if store := self._own(entry):
            return store
        try:
            target, listing = self._listed(entry)
        except ReidError as error:
            if not _is_gone(entry):
                raise
            return self._packed_before(entry, error)
        if packs and not target.is_dir():
            self._pack(entry, entry.bare_name, listing, target)
        return self._opened(target)

    def _own(self, entry: DatasetEntry) -> Store | None:
        """Return the store at the place that the entry names; None if there is none."""
        place = user_path(entry.store) if entry.store else None
        if place is None or not place.is_dir():
            return None
        store = self._opened(place)
        self._check_source(store, entry)
        if path_names(type(entry.params)):
            say(f"{entry.label}: images and labels of the store {place}; no file is looked at")
        return store

    def _packed_before(self, entry: DatasetEntry, error: ReidError) -> Store:
        """Return the store that a run has packed of files that cannot be listed any more.

        Raises:
            ReidError: Nothing is recorded of the entry, or there is no such store.
        """
        recorded = self.recorded.of(entry)
        if recorded is None:
            raise error
        place = self.recorded.store(recorded)
        if place is None:
            looked = " and ".join(map(str, self.recorded.folders)) or str(self.folder)
            files = "".join(
                f"the files are, with --set {recorded.place}.params.{name}=..., or where "
                for name in sorted(path_names(type(entry.params)))[-1:]
            )
            raise ReidError(
                *error.args,
                f"no packed store of the run's data ({recorded.content_hash[:16]}) is in {looked} "
                f"either. Say where {files}its store is, with --set "
                f"{recorded.place}.store=...",
            ) from None
        for line in error.args:
            say(str(line))
        say(f"the images that the run has packed serve: {place}")
        return self._opened(place)

    def _listed(self, entry: DatasetEntry) -> tuple[Path, Listing]:
        """Return what a dataset lists, and where the store of it is or is to be.

        Raises:
            ReidError: It cannot be listed, or a file of it cannot be read.
        """
        listing = _listing(entry)
        return self._place(entry, listing), listing

    def _place(self, entry: DatasetEntry, listing: Listing) -> Path:
        """Return where the store of a listing is, or is to be.

        Raises:
            ReidError: A file of it cannot be read.
        """
        if entry.store:
            return user_path(entry.store)
        try:
            mark = fingerprint(
                entry.bare_name,
                {**entry.params.model_dump(mode="json"), **_packing_choices(entry)},
                listing,
                distribution=entry.offer.distribution,
                version=entry.offer.version,
            )
        except ReidError as error:
            raise ReidError(f"{entry.origin}: {error}") from None
        return self.folder / f"{entry.bare_name}-{mark}"

    def _check_source(self, store: Store, entry: DatasetEntry) -> None:
        """Refuse a store at an entry's own place that was packed from something else.

        Params that name files may differ, because a store can be moved; params that were
        added to the dataset since are not in the manifest.
        """
        source, name = store.manifest["source"], entry.bare_name
        if source["name"] != name:
            raise ReidError(f"{entry.store}: a store of '{source['name']}', not of '{name}'")
        distribution = entry.offer.distribution
        if source.get("distribution", distribution) != distribution:
            raise ReidError(
                f"{entry.store}: a store of '{source['distribution']}:{name}', not of "
                f"'{distribution}:{name}'"
            )
        packed, paths = source.get("params", {}), path_names(type(entry.params))
        differences = [
            f"{key} (packed with {json.dumps(packed[key])}, now {json.dumps(value)})"
            for key, value in entry.params.model_dump(mode="json").items()
            if key in packed and key not in paths and packed[key] != value
        ]
        if source.get(SKIPPED, False) and not entry.skip_unreadable:
            differences.append(f"{SKIPPED} (packed with true, now false)")
        if differences:
            raise ReidError(
                f"{entry.store}: a store of '{name}' with other params: {', '.join(differences)}; "
                "take these params, or name another 'store' to pack into"
            )

    def _opened(self, path: Path) -> Store:
        path = path.resolve()
        if path not in self._open:
            self._open[path] = Store(path)
        return self._open[path]

    def _pack(self, entry: DatasetEntry, name: str, listing: Listing, target: Path) -> None:
        """Pack with progress; say what was packed and where it differs from published numbers."""
        distribution = entry.offer.distribution
        source = {
            "name": name,
            "distribution": distribution,
            "params": entry.params.model_dump(mode="json"),
            **_packing_choices(entry),
        }
        with progress_bar(f"packing {entry.label}") as tick:
            store = pack(
                listing,
                target,
                source,
                tick,
                entry.origin,
                skip_unreadable=entry.skip_unreadable,
                follow_links=entry.follow_links,
            )
        self.packed[entry.label] = store
        say(f"packed {entry.label}: {counted(len(store), 'image')} into {target}")
        for line in statistics_lines(store.index):
            say(f"  {line}")
        for difference in published_differences(listing):
            say(f"  differs from the published dataset: {difference}")


def _packing_choices(entry: DatasetEntry) -> dict[str, bool]:
    """Return what else than the dataset's params decides which images are packed."""
    return {SKIPPED: True} if entry.skip_unreadable else {}


def _listing(entry: DatasetEntry) -> Listing:
    """Return what a dataset lists.

    Raises:
        ReidError: It cannot be read, or its plugin returns something else.
    """
    listing = entry.build(skip_unreadable=entry.skip_unreadable)
    if not isinstance(listing, Listing):
        raise entry.origin.fault(f"returned a {type(listing).__name__}; expected a Listing")
    if not isinstance(listing.records, list | tuple):
        kind = type(listing.records).__name__
        raise entry.origin.fault(f"lists a {kind}; expected a list of ImageRecords")
    others = {type(r).__name__ for r in listing.records if not isinstance(r, ImageRecord)}
    if others:
        raise entry.origin.fault(f"lists {name_list(others)}; expected ImageRecords alone")
    check_form(listing, entry.origin)
    return listing


def _is_gone(entry: DatasetEntry) -> bool:
    """Tell whether something that an entry names is not there, or is an empty folder."""
    for name in path_names(type(entry.params)):
        value = getattr(entry.params, name)
        for text in [value] if isinstance(value, str) else value or ():
            place = user_path(text)
            if not os.path.exists(place) or (os.path.isdir(place) and not os.listdir(place)):
                return True
    return False

"""From a dataset entry of the params to an open store, packed on the way if it is not yet."""

from __future__ import annotations

from pathlib import Path

from reid_core.catalog import Catalog
from reid_core.console import progress_bar, say
from reid_core.contracts import Listing
from reid_core.errors import ReidError
from reid_core.packing import fingerprint, pack, published_differences
from reid_core.params import build
from reid_core.schema import DatasetEntry
from reid_core.store import Store


class Stores:
    """Opens the store of every dataset entry of a run, each once.

    LMDB allows one open environment per file and process, so equal entries share a store.
    """

    def __init__(self, catalog: Catalog, working_dir: Path) -> None:
        """Use stores below ``<working_dir>/stores`` unless an entry names its own."""
        self.catalog, self.folder = catalog, working_dir / "stores"
        self._open: dict[Path, Store] = {}
        self._by_entry: dict[str, Store] = {}

    def open(self, entry: DatasetEntry) -> Store:
        """Return the store of an entry; pack the dataset first if that has not been done.

        Raises:
            ReidError: The dataset cannot be read or packed, or the store at the entry's
                own place was made from another dataset.
        """
        key = entry.model_dump_json(exclude={"alias"})
        if key not in self._by_entry:
            self._by_entry[key] = self._found(entry)
        return self._by_entry[key]

    def _found(self, entry: DatasetEntry) -> Store:
        """Find or pack the store of an entry that is asked for the first time."""
        name = entry.bare_name
        if entry.store is not None and Path(entry.store).is_dir():
            store = self._opened(Path(entry.store))
            packed = store.manifest["source"]["name"]
            if packed != name:
                raise ReidError(f"{entry.store}: a store of '{packed}', not of '{name}'")
            return store
        listing: Listing = build(self.catalog, "dataset", entry)
        mark = fingerprint(name, entry.params, listing)
        target = Path(entry.store) if entry.store else self.folder / f"{name}-{mark}"
        if not target.is_dir():
            self._pack(entry, name, listing, target)
        return self._opened(target)

    def _opened(self, path: Path) -> Store:
        path = path.resolve()
        if path not in self._open:
            self._open[path] = Store(path)
        return self._open[path]

    def _pack(self, entry: DatasetEntry, name: str, listing: Listing, target: Path) -> None:
        """Pack with progress; say what was packed and where it differs from published numbers."""
        source = {"name": name, "params": entry.params}
        with progress_bar(f"packing {entry.label}") as tick:
            store = pack(listing, target, source, tick)
        say(f"packed {entry.label}: {len(store)} images into {target}")
        for split, numbers in store.index.statistics().items():
            say("  " + split + ": " + ", ".join(f"{n} {what}" for what, n in numbers.items() if n))
        for difference in published_differences(listing):
            say(f"  differs from the published dataset: {difference}")

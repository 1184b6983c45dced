"""What the fuzzer damages: right files of every kind, and how each is read."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from fuzz_changes import ODD, PLAUSIBLE, bit_flipped, damaged, json_changed, json_text
from fuzz_files import same, small_features, small_run
from fuzz_images import ImageTarget

ROOT = Path(__file__).resolve().parent.parent


class Target(Protocol):
    """A kind of file.

    Attributes:
        count: How many inputs there are; None: as many as one likes.
    """

    count: int | None

    def attempt(self, number: int, rng: random.Random) -> str:
        """Make an input, read it, and return ``same``, ``changed`` or ``accepted``."""


class FileTarget:
    """A file that carries a checksum, so that damage must be told."""

    count: int | None = None

    def __init__(self, file: Path, read: Callable[[Path], Any]) -> None:
        """Keep the right file and what is read from it."""
        self.file, self.read = file, read
        self.data = file.read_bytes()
        self.expected = read(file)

    def attempt(self, number: int, rng: random.Random) -> str:
        """Damage the file in some way and read it."""
        return self.judged(damaged(self.data, rng))

    def judged(self, data: bytes) -> str:
        """Write the data in the file's place and read them."""
        self.file.write_bytes(data)
        found = self.read(self.file)
        return "same" if data == self.data or same(found, self.expected) else "changed"


class BitsTarget(FileTarget):
    """A file of which every bit is turned, one at a time."""

    def __init__(self, file: Path, read: Callable[[Path], Any]) -> None:
        """Count the bits."""
        super().__init__(file, read)
        self.count = 8 * len(self.data)
        self.bits = list(range(self.count))
        random.Random(0).shuffle(self.bits)  # the first ones are a sample of all

    def attempt(self, number: int, rng: random.Random) -> str:
        """Turn one bit."""
        return self.judged(bit_flipped(self.data, self.bits[number]))


class FilesTarget:
    """Several files of one kind, of which one is damaged."""

    count: int | None = None

    def __init__(self, *targets: FileTarget) -> None:
        """Keep them."""
        self.targets = targets

    def attempt(self, number: int, rng: random.Random) -> str:
        """Damage one of them."""
        target = self.targets[number % len(self.targets)]
        try:
            return target.attempt(number, rng)
        finally:
            target.file.write_bytes(target.data)


class PackedTarget:
    """A store, of which every input is a damaged copy."""

    count: int | None = None

    def __init__(self, folder: Path) -> None:
        """Pack a store."""
        run = small_run(folder)
        (self.store,) = (run.path.parent / "stores").glob("*-*[!k]")
        self.expected = _whole_store(self.store)


class StoreTarget(PackedTarget):
    """A store, one of whose files is damaged, or has another size."""

    def attempt(self, number: int, rng: random.Random) -> str:
        """Copy the store, damage a file of it, and read everything."""
        copy = self.store.with_name(f"damaged-{number}")
        shutil.copytree(self.store, copy)
        try:
            files = sorted(p for p in copy.rglob("*") if p.is_file() and p.name != "lock.mdb")
            file = rng.choice(files)
            data = file.read_bytes()
            if file.name == "manifest.json" and rng.random() < 0.5:
                changed = json_text(json_changed(json.loads(data), rng))
            else:
                changed = damaged(data, rng)
            file.write_bytes(changed)
            found = _whole_store(copy)
        finally:
            shutil.rmtree(copy)
        return "same" if data == changed or same(found, self.expected) else "changed"


class RecordTarget(PackedTarget):
    """A store whose records were replaced, as a program that knows LMDB but not us would do."""

    def attempt(self, number: int, rng: random.Random) -> str:
        """Copy the store, change a record, and read everything."""
        import lmdb

        copy = self.store.with_name(f"replaced-{number}")
        shutil.copytree(self.store, copy)
        try:
            path = str(copy / "images.lmdb")
            with lmdb.open(path, lock=False) as file, file.begin(write=True) as transaction:
                key = rng.choice([bytes(key) for key, _ in transaction.cursor()])
                old = transaction.get(key)
                new = damaged(old, rng)
                transaction.put(key, new)
            manifest = json.loads((copy / "manifest.json").read_text())
            self._keep_size(copy, manifest)
            found = _whole_store(copy)
        finally:
            shutil.rmtree(copy)
        return "same" if old == new or same(found, self.expected) else "changed"

    @staticmethod
    def _keep_size(store: Path, manifest: dict[str, Any]) -> None:
        """Say the new size of the file, so that it is not refused for its size alone."""
        size = (store / "images.lmdb" / "data.mdb").stat().st_size
        if size != manifest["lmdb_bytes"]:
            text = json.dumps({**manifest, "lmdb_bytes": size})
            (store / "manifest.json").write_text(text, encoding="utf-8")


class ParamsTarget:
    """Params files of the repository, changed by hand and by accident."""

    count: int | None = None
    ways = ODD

    def __init__(self, folder: Path) -> None:
        """Read the files."""
        from fuzz_files import fuzz_catalog

        self.folder, self.catalog = folder, fuzz_catalog()
        files = sorted((ROOT / "params").glob("*.json"))
        files += sorted((ROOT / "tests" / "unit").glob("reid_lite*_params.json"))
        self.values = [json.loads(file.read_bytes()) for file in files]

    def attempt(self, number: int, rng: random.Random) -> str:
        """Change one of them and check it as what it is meant for."""
        value = rng.choice(self.values)
        if rng.random() < 0.2:
            data = damaged(json.dumps(value, indent=1).encode(), rng)
        else:
            data = json_text(json_changed(value, rng, self.ways))
        file = self.folder / "params.json"
        file.write_bytes(data)
        self.read(file, is_eval=not {"backbone", "model"} & value.keys())
        return "accepted"

    def read(self, file: Path, is_eval: bool) -> None:
        """Check the file."""
        from reid_core.params.load import load_eval_params, load_run_params

        (load_eval_params if is_eval else load_run_params)(file, self.catalog)


class ModelsTarget(ParamsTarget):
    """Params whose network is built on shapes, too; most are right, or nearly."""

    ways = PLAUSIBLE

    def __init__(self, folder: Path) -> None:
        """Keep the files that describe a training from nothing."""
        super().__init__(folder)
        self.values = [
            value
            for value in self.values
            if "backbone" in value and "objective" not in value and "plugins" not in value
        ]

    def read(self, file: Path, is_eval: bool) -> None:
        """Check the file and build what it describes."""
        from reid_core.params.load import load_run_params
        from reid_core.runs.checks import check_without_data

        params = load_run_params(file, self.catalog).params
        check_without_data(params, self.catalog)


class LogTarget:
    """The record of a run. Its lines carry no checksum: what is still JSON is believed."""

    count: int | None = None

    def __init__(self, folder: Path) -> None:
        """Train."""
        self.file = small_run(folder).metrics
        self.data = self.file.read_bytes()

    def attempt(self, number: int, rng: random.Random) -> str:
        """Damage it, and read it as Python does and as the pictures do."""
        from reid_core.api.runs import load_run
        from reid_plugins.toolkit.pictures.curves import read_panels

        self.file.write_bytes(damaged(self.data, rng))
        lines = load_run(self.file.parent).metrics
        read_panels(self.file)
        return "accepted" if lines else "same"


def _whole_store(path: Path) -> Mapping[str, Any]:
    """Return all that a store says."""
    from reid_core.storage.store import Store

    store = Store(path)
    try:
        records = [store.read(position) for position in range(len(store))]
        for position in range(len(store)):
            store.image(position)
        arrays = dict(store.index.arrays())
        hash_ = store.manifest["content_hash"]
        return {
            **arrays,
            "records": records,
            "statistics": store.manifest["statistics"],
            "h": hash_,
        }
    finally:
        store.close()


def _index(path: Path) -> Mapping[str, Any]:
    from reid_core.storage.store import Store

    store = Store(path)
    return {**store.index.arrays(), "digest": store.index.digest}


def _index_bits(folder: Path) -> Target:
    run = small_run(folder)
    (store,) = (run.path.parent / "stores").glob("*-*[!k]")
    return BitsTarget(store / "index.npz", lambda file: _index(file.parent))


def _read_features(path: Path) -> dict[str, Any]:
    from reid_core.features.feature_files import load_features

    features = load_features(path, "query")
    facts = ("pids", "camids", "names", "junk", "distractor")
    return {
        **features.values,
        **features.columns,
        **{name: getattr(features, name) for name in facts},
        "classes": np.array(features.classes),
    }


def _features(folder: Path) -> Target:
    files = small_features(folder)
    return FilesTarget(*(FileTarget(file, _read_features) for file in files))


def _features_bits(folder: Path) -> Target:
    return BitsTarget(small_features(folder)[0], _read_features)


def _scores(folder: Path) -> Target:
    from reid_core.evaluation.saved_scores import read_scores

    run = small_run(folder)
    paths = sorted(run.path.rglob("*market_evaluate*.npz"))

    def read(file: Path) -> Any:
        arrays, facts = read_scores(file.with_suffix(""))
        tables, _ = read_scores(file.with_suffix(""), "tables")
        return {**arrays, **tables, "facts": facts}

    both = (paths[0], paths[0].with_suffix(".json"))
    return FilesTarget(*(FileTarget(file, read) for file in both))


def _checkpoints(folder: Path) -> Target:
    from reid_core.runs.checkpoint import read_checkpoint

    return FileTarget(small_run(folder).checkpoint, read_checkpoint)


def _weights(folder: Path) -> Target:
    from fuzz_files import fuzz_catalog
    from reid_core.network.weights import load_model, read_weights

    catalog = fuzz_catalog()

    def read(file: Path) -> Any:
        weights = read_weights(file)
        model, params = load_model(weights, catalog)
        facts = {"metadata": weights.metadata, "classes": weights.classes}
        return {**model.state_dict(), **facts, "params": params.model_dump()}

    return FileTarget(small_run(folder).last_weights, read)


TARGETS: Mapping[str, Callable[[Path], Target]] = {
    "params": ParamsTarget,
    "models": ModelsTarget,
    "stores": StoreTarget,
    "index-bits": _index_bits,
    "features-bits": _features_bits,
    "features": _features,
    "scores": _scores,
    "records": RecordTarget,
    "logs": LogTarget,
    "checkpoints": _checkpoints,
    "weights": _weights,
    "images": ImageTarget,
}
"""What is made of an empty folder, by its name."""

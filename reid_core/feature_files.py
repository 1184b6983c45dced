"""Features as files: one documented npz per split, without pickled objects."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from reid_core.contracts import Features
from reid_core.errors import ReidError
from reid_core.files import atomic_path
from reid_core.store import DAMAGED


def save_features(path: Path, features: Features) -> None:
    """Write features as one npz file without pickled objects; see ``load_features``."""
    arrays = {f"values.{name}": array for name, array in features.values.items()}
    arrays |= {
        "pids": features.pids.astype(np.str_),
        "camids": features.camids,
        "names": features.names.astype(np.str_),
        "junk": features.junk,
        "distractor": features.distractor,
        "classes": np.array(features.classes, dtype=np.str_),
        "meta": np.array(json.dumps(dict(features.meta))),
    }
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def load_features(path: Path) -> Features:
    """Read features written by ``save_features``.

    ``pids`` and ``values.embedding`` are required; what else is missing takes its neutral
    value (cameras unknown, nothing junk).

    Raises:
        ReidError: The file is missing, is no npz, holds pickled objects, or its arrays
            differ in length.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as content:
            arrays = {name: content[name] for name in content.files}
        values = {n[len("values.") :]: a for n, a in arrays.items() if n.startswith("values.")}
        pids = arrays["pids"].astype(np.str_)
        meta = json.loads(str(arrays["meta"])) if "meta" in arrays else {"file": str(path)}
    except DAMAGED as error:
        raise ReidError(f"{path}: not a features file of reid-core: {error}") from None
    count = len(pids)
    features = Features(
        values=values,
        pids=pids,
        camids=arrays.get("camids", np.full(count, -1, dtype=np.int64)),
        names=arrays.get("names", np.array([f"{i}" for i in range(count)])),
        junk=arrays.get("junk", np.zeros(count, dtype=bool)),
        distractor=arrays.get("distractor", np.zeros(count, dtype=bool)),
        classes=tuple(arrays["classes"].tolist()) if "classes" in arrays else (),
        meta=meta,
    )
    columns = {n: getattr(features, n) for n in ("camids", "names", "junk", "distractor")} | values
    for name, array in columns.items():
        if len(array) != count:
            raise ReidError(f"{path}: '{name}' has {len(array)} rows, 'pids' has {count}")
    return features

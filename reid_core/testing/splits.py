"""Made-up features of splits: plain ones, and ones with all that real data have."""

from __future__ import annotations

import numpy as np

from reid_core.contracts import SPLITS, UNKNOWN_CAMERA, Features

PIDS, DIM = 6, 12

PICTURES = {"query": 2, "gallery": 4}
"""Images of each identity in a mixed split; 3 in others."""

CAMERAS = 4


def features_of(split: str, noise: float = 0.5, images: int = 3) -> Features:
    """Return images of each identity around its own direction, under three cameras."""
    labels = np.tile(np.arange(PIDS), images)
    camids = np.arange(len(labels)) // PIDS % 3 + {"query": 0}.get(split, 3)
    return _features(split, labels, _pids(labels), camids, noise)


def mixed_features(split: str, noise: float = 0.5) -> Features:
    """Return a split that has all that real ones have.

    Beside images of each identity there is junk with the pids of real persons, distractors with
    such pids too, persons that have no name and one camera that is not known. A query has no
    match; another has no name. A split ``val`` has known persons alone, junk and distractors.
    """
    known = np.tile(np.arange(PIDS), PICTURES.get(split, 3))
    junk = np.arange(0 if split == "query" else PIDS)
    distractors = np.arange(0 if split == "query" else 3)
    unknown = np.full({"query": 1, "val": 0}.get(split, 2), -1)
    strangers = np.full(1 if split == "query" else 0, -1)
    parts = (known, junk, distractors, unknown, strangers)
    kind = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    pids = _pids(np.concatenate(parts))
    pids[kind == 3], pids[kind == 4] = "", "9999"
    # A distractor looks like nobody, whatever its pid; those without a name look like each other.
    labels = np.select([kind == 2, kind == 3], [-1, PIDS], np.concatenate(parts))
    camids = np.arange(len(kind)) // PIDS % CAMERAS
    camids[1] = UNKNOWN_CAMERA
    return _features(split, labels, pids, camids, noise, junk=kind == 1, distractor=kind == 2)


def _pids(labels: np.ndarray) -> np.ndarray:
    return np.array([f"{label:04d}" for label in labels])


def _features(
    split: str,
    labels: np.ndarray,
    pids: np.ndarray,
    camids: np.ndarray,
    noise: float,
    **flags: np.ndarray,
) -> Features:
    """Return images around the direction of their label; one of -1 has a direction of its own."""
    rng, count = np.random.default_rng(SPLITS.index(split)), len(labels)
    values = np.eye(DIM)[labels] + noise * rng.standard_normal((count, DIM))
    logits = 5 * np.eye(DIM, PIDS)[labels] + noise * rng.standard_normal((count, PIDS))
    values[labels < 0] = rng.standard_normal((int((labels < 0).sum()), DIM))
    none = np.zeros(count, dtype=bool)
    return Features(
        values={
            "embedding": values.astype(np.float32),
            "feature": 2 * values.astype(np.float32),
            "logits": logits.astype(np.float32),
        },
        pids=pids,
        camids=camids.astype(np.int64),
        names=np.array([f"{split}/{i}.jpg" for i in range(count)]),
        junk=flags.get("junk", none),
        distractor=flags.get("distractor", none.copy()),
        classes=tuple(_pids(np.arange(PIDS)).tolist()),
        meta={"dataset": "people", "content_hash": "0123456789abcdef", "model": "none"},
    )

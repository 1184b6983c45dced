"""Small stores of drawn noise, with whatever is to stand beside the images."""

import io
import json

import lmdb
import numpy as np
from PIL import Image

from reid_core.contracts import ImageRecord, Listing
from reid_core.storage.packing import pack
from reid_core.storage.store import Store

SIZE = (12, 24)
"""(width, height) of the images in pixels."""


def png(seed, size=SIZE, mode="RGB"):
    """Return a picture of noise as a PNG file's bytes."""
    shape = (size[1], size[0], 3) if mode == "RGB" else (size[1], size[0])
    pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels, mode).save(buffer, "PNG")
    return buffer.getvalue()


def record(number, pid="1", split="train", size=SIZE, **facts):
    """Return the record of an image of noise."""
    return ImageRecord(
        name=f"{number}.png",
        split=split,
        pid=pid,
        camid=facts.pop("camid", number % 2),
        source=facts.pop("source", lambda: png(number, size)),
        **facts,
    )


def packed(folder, records, extras=None):
    """Pack records into a store."""
    return pack(Listing(records, extras=extras or {}), folder, {"name": "test", "params": {}})


def overwrite(store, position, data, extra=""):
    """Put other bytes into a packed store, keeping the file's size as the manifest has it."""
    store.close()
    path = str(store.path / "images.lmdb")
    with lmdb.open(path, lock=False) as environment, environment.begin(write=True) as transaction:
        transaction.put(position.to_bytes(8, "big") + extra.encode(), data)
    manifest = store.path / "manifest.json"
    size = (store.path / "images.lmdb" / "data.mdb").stat().st_size
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "lmdb_bytes": size}))
    return Store(store.path)

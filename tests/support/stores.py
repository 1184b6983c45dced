"""Small stores of drawn noise, with whatever is to stand beside the images."""

import io
import json

import lmdb
import numpy as np
from PIL import Image

from reid_core.array_file import arrays_of
from reid_core.checksums import KEY, bytes_checksum, short_digest
from reid_core.contracts import ImageRecord, Listing
from reid_core.storage.image_file import data_file, followed_pages, pages_checksum
from reid_core.storage.manifest import FILE, write_manifest
from reid_core.storage.packing import pack
from reid_core.storage.store import DIGEST, PAGES, Store

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


def overwrite(store, position, data, extra="", digest=True):
    """Put other bytes into a packed store; its pages and its manifest are those of these bytes.

    With ``digest`` the index too says that these bytes were packed.
    """
    store.close()
    path = str(store.path / "images.lmdb")
    with lmdb.open(path, lock=False) as environment, environment.begin(write=True) as transaction:
        transaction.put(position.to_bytes(8, "big") + extra.encode(), data)
    digests = store.index.digests[extra].copy()
    if digest:
        digests[position] = short_digest(data)
    return resigned(store.path, {DIGEST + extra: digests})


def resigned(path, arrays=None, **facts):
    """Give a store's files checksums of what they hold now.

    Args:
        path: The store.
        arrays: Of the index, by name; those left out stay.
        facts: Of the manifest.
    """
    manifest = json.loads((path / FILE).read_text())
    pages = followed_pages(data_file(path), manifest["page_bytes"])
    with (path / "index.npz").open("rb") as file:
        arrays = {**arrays_of(file), **(arrays or {}), PAGES: pages}
    np.savez(path / "index.npz", **arrays)
    manifest |= {
        "index_checksum": bytes_checksum((path / "index.npz").read_bytes()),
        "lmdb_bytes": data_file(path).stat().st_size,
        "pages_checksum": pages_checksum(data_file(path), manifest["page_bytes"], pages),
        **facts,
    }
    manifest.pop(KEY)
    write_manifest(path, manifest)
    return Store(path)

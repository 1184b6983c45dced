"""Tiny folders in the form of every dataset that is installed."""

import numpy as np
from PIL import Image


def draw(path, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (16, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def synthetic_market(folder):
    return {"train_identities": 2, "test_identities": 2, "cameras": 2, "height": 32, "width": 16}


def market1501(folder):
    for split in ("bounding_box_train", "query", "bounding_box_test"):
        for i, pid in enumerate(("0001", "0002")):
            draw(folder / split / f"{pid}_c{i + 1}s1_000001_00.jpg", i)
    for pid in ("-1", "0000"):
        draw(folder / "bounding_box_test" / f"{pid}_c1s1_000002_00.jpg", 5)
    return {"root": str(folder)}


def image_folder(folder):
    for split in ("train", "query", "gallery"):
        for pid in ("anna", "bert"):
            for i in range(2):
                draw(folder / split / pid / f"{i}.png", i)
    return {"root": str(folder)}


def manifest(folder):
    draw(folder / "a.png", 0)
    draw(folder / "b.png", 1)
    rows = ["path,pid,split,camid", "a.png,anna,train,0", "b.png,bert,train,"]
    (folder / "people.csv").write_text("\n".join(rows))
    return {"file": str(folder / "people.csv")}


FOLDERS = {
    maker.__name__: maker for maker in (synthetic_market, market1501, image_folder, manifest)
}
"""For each dataset a function that fills a folder and returns the params to read it."""


def params_of(name, folder):
    """Fill a folder for a dataset and return the params that read it."""
    assert name in FOLDERS, "write a function that makes a tiny folder for this dataset"
    return FOLDERS[name](folder)

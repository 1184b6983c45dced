"""Datasets: listings that can be packed, with unique names, known splits and readable images."""

import io
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
from PIL import Image

from reid_core.contracts import SPLITS, ImageRecord, Listing
from reid_core.data.fingerprints import fingerprint
from reid_core.data.listing_checks import check_listing
from reid_core.data.packing import pack


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


@pytest.fixture
def params(dataset, tmp_path):
    assert dataset.name in FOLDERS, "write a function that makes a tiny folder for this dataset"
    return dataset.params(**FOLDERS[dataset.name](tmp_path / "data"))


@pytest.fixture
def listing(dataset, params):
    return dataset.build(params)


def test_the_listing_has_images_with_names_that_are_unique_in_their_split(listing):
    assert isinstance(listing, Listing)
    assert listing.records
    assert all(isinstance(record, ImageRecord) for record in listing.records)
    names = [(record.split, record.name) for record in listing.records]
    assert len(names) == len(set(names))


def test_names_are_relative_paths_with_forward_slashes(listing):
    for record in listing.records:
        path = PurePosixPath(record.name)
        assert not path.is_absolute()
        assert ".." not in path.parts
        assert "\\" not in record.name
        assert path.as_posix() == record.name


def test_splits_identities_and_cameras_are_of_the_known_forms(listing):
    for record in listing.records:
        assert record.split in SPLITS
        assert isinstance(record.pid, str)
        assert record.pid
        assert type(record.camid) is int
        assert record.camid >= -1
        assert not (record.junk and record.distractor)
    assert set(listing.published) <= set(SPLITS)


def test_files_lie_in_the_root(listing):
    files = [record.source for record in listing.records if isinstance(record.source, Path)]
    assert bool(files) == (listing.root is not None)
    assert all(file.is_relative_to(listing.root) for file in files)


def test_every_image_can_be_decoded_and_is_the_same_when_it_is_read_again(listing):
    for record in listing.records:
        read = record.source.read_bytes if isinstance(record.source, Path) else record.source
        encoded = read()
        assert read() == encoded
        with Image.open(io.BytesIO(encoded)) as image:
            assert image.convert("RGB").size > (0, 0)


def test_listing_again_gives_the_same_records_and_fingerprint(dataset, params, listing):
    again = dataset.build(params)
    described = [(r.name, r.split, r.pid, r.camid, r.junk, r.distractor) for r in listing.records]
    assert described == [
        (r.name, r.split, r.pid, r.camid, r.junk, r.distractor) for r in again.records
    ]
    dump = params.model_dump(mode="json")
    assert fingerprint(dataset.name, dump, listing) == fingerprint(dataset.name, dump, again)


def test_the_listing_is_accepted_by_the_packer(dataset, listing, tmp_path):
    check_listing(listing)
    store = pack(listing, tmp_path / "store", {"name": dataset.name, "params": {}})
    assert len(store) == len(listing.records)
    assert sorted(store.index.name) == sorted(record.name for record in listing.records)

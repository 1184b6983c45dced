"""Datasets beside their contract: what they list can be packed whole."""

from dataset_folders import params_of
from reid_core.storage.packing import pack


def test_the_listing_is_packed_with_every_image(dataset, tmp_path):
    listing = dataset.build(dataset.params(**params_of(dataset.name, tmp_path / "data")))
    store = pack(listing, tmp_path / "store", {"name": dataset.name, "params": {}})
    assert len(store) == len(listing.records)
    assert sorted(store.index.name) == sorted(record.name for record in listing.records)

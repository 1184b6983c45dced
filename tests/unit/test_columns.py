"""Columns of training images: raw for samplers, numbered for batches and other stores."""

import json

import numpy as np
import pytest

from reid_core import Params, ReidError, SamplerComponent, hookimpl
from reid_core.data.column_codes import ColumnCodes
from reid_core.data.epoch_batches import epoch_batches
from reid_core.data.training_images import TrainingImages
from reid_core.params.entries import SamplerEntry
from reid_core.params.messages import read_params
from stores import packed, record


@pytest.fixture
def one(tmp_path):
    rows = [("red", 5), ("", 5), ("blue", -1), ("red", -7), ("green", 2)]
    records = [
        record(i, str(i % 2), camid=[3, -1, 1, 3, 1][i], columns={"shirt": shirt, "time": time})
        for i, (shirt, time) in enumerate(rows)
    ]
    query = record(9, split="query", camid=8, columns={"shirt": "red", "time": 1})
    junk = record(8, junk=True, columns={"shirt": "violet", "time": 99})
    return packed(tmp_path / "one", [query, *records, junk])


@pytest.fixture
def two(tmp_path):
    records = [
        record(0, "0", camid=1, columns={"shirt": "red", "time": 5}),
        record(1, "1", camid=-1, columns={"shirt": "azure"}),
    ]
    return packed(tmp_path / "two", records)


@pytest.fixture
def images(one, two):
    return TrainingImages.of([("one", one), ("two", two)])


# ---- raw --------------------------------------------------------------------------------


def test_columns_are_joined_in_the_order_of_the_images(images):
    columns = images.columns(["shirt", "time", "camid", "source"])
    assert columns["shirt"].tolist() == ["red", "", "blue", "red", "green", "red", "azure"]
    assert columns["time"].tolist() == [5, 5, -1, -7, 2, 5, -1]
    assert columns["camid"].tolist() == [3, -1, 1, 3, 1, 1, -1]
    assert columns["source"].tolist() == [0, 0, 0, 0, 0, 1, 1]
    assert images.columns([]) == {}


def test_a_column_that_datasets_lack_is_an_error_that_says_what_they_have(one, tmp_path):
    plain = packed(tmp_path / "plain", [record(0)])
    images = TrainingImages.of([("one", one), ("plain", plain)])
    with pytest.raises(
        ReidError,
        match=r"the column 'shirt' is read, and there is none in the data of 'plain' \(it has: "
        r"camid, source\); take data that have it",
    ):
        images.columns(["camid", "shirt"])
    with pytest.raises(ReidError, match=r"'one' \(it has: camid, shirt, source, time\), 'plain' "):
        images.columns(["clothes"])


def test_numbers_and_texts_of_one_name_are_not_joined(one, tmp_path):
    other = packed(tmp_path / "other", [record(0, columns={"shirt": 3})])
    images = TrainingImages.of([("one", one), ("other", other)])
    with pytest.raises(
        ReidError, match=r"'shirt' has numbers in one dataset and texts in another \('one', 'oth"
    ):
        images.columns(["shirt"])


# ---- numbered ---------------------------------------------------------------------------


def test_codes_are_dense_over_dataset_and_value(images):
    codes = ColumnCodes.of(images, ["shirt", "time", "camid", "source"])
    assert codes.values == {
        "shirt": (
            ("one", "blue"),
            ("one", "green"),
            ("one", "red"),
            ("two", "azure"),
            ("two", "red"),
        ),
        "time": (("one", -7), ("one", 2), ("one", 5), ("two", 5)),
        "camid": (("one", 1), ("one", 3), ("two", 1)),
        "source": (("one", "one"), ("two", "two")),
    }
    assert codes.sizes() == {"shirt": 5, "time": 4, "camid": 3, "source": 2}
    coded = codes.of_images(images)
    assert coded["shirt"].tolist() == [2, -1, 0, 2, 1, 4, 3]
    assert coded["time"].tolist() == [2, 2, -1, 0, 1, 3, -1]
    assert coded["camid"].tolist() == [1, -1, 0, 1, 0, 2, -1]
    assert coded["source"].tolist() == images.sources.tolist()
    assert {array.dtype for array in coded.values()} == {np.dtype(np.int64)}


def test_images_with_one_code_are_those_with_one_dataset_and_value(images):
    names = ["shirt", "time", "camid"]
    raw, coded = images.columns(names), ColumnCodes.of(images, names).of_images(images)
    for name in names:
        pairs = list(zip(images.sources.tolist(), raw[name].tolist(), strict=True))
        known = [i for i, (_, value) in enumerate(pairs) if value not in (-1, "")]
        assert [i for i, code in enumerate(coded[name]) if code >= 0] == known
        for i in known:
            for j in known:
                assert (coded[name][i] == coded[name][j]) == (pairs[i] == pairs[j])


def test_another_store_is_coded_by_the_values_that_were_trained_on(images, one, two, tmp_path):
    codes = ColumnCodes.of(images, ["shirt", "time", "camid", "source"])
    # What goes through a weights file.
    codes = ColumnCodes(json.loads(json.dumps(codes.values)))
    at = one.index.positions("query")
    assert {n: c.tolist() for n, c in codes.of_store("one", one, at).items()} == {
        "shirt": [2],
        "time": [-1],
        "camid": [-1],
        "source": [0],
    }
    elsewhere = codes.of_store("three", two, np.array([0, 1]))
    assert all(values.tolist() == [-1, -1] for values in elsewhere.values())
    plain = packed(tmp_path / "plain", [record(0, camid=1)])
    assert {n: c.tolist() for n, c in codes.of_store("two", plain, np.array([0])).items()} == {
        "shirt": [-1],
        "time": [-1],
        "camid": [2],
        "source": [1],
    }


def test_codes_of_a_column_that_is_not_there_are_an_error(images):
    with pytest.raises(ReidError, match="the column 'clothes' is read"):
        ColumnCodes.of(images, ["clothes"])


# ---- samplers ---------------------------------------------------------------------------


class ByColumn(Params):
    """Params of the sampler ``by_column``."""

    column: str


class Sampler:
    """Yields the images of each value of a column as a batch."""

    def __init__(self, columns, column):
        self.values, self.epoch = columns[column], 0

    def set_epoch(self, epoch):
        self.epoch = epoch

    def __len__(self):
        return len(np.unique(self.values))

    def __iter__(self):
        for value in np.unique(self.values):
            yield [(self.epoch, int(i)) for i in np.flatnonzero(self.values == value)]


class Plugin:
    @hookimpl
    def reid_sampler(self):
        return [
            SamplerComponent(
                name="by_column",
                params=ByColumn,
                build=lambda params, *, columns: Sampler(columns, params.column),
                columns=lambda params: (params.column,),
                summary="-",
            )
        ]


def test_a_sampler_gets_the_columns_that_it_names_as_they_are(catalog_with, images):
    def entry(column):
        raw = {"name": "by_column", "params": {"column": column}}
        return read_params(SamplerEntry, raw, catalog_with(Plugin()))

    batches = epoch_batches(entry("shirt"), images, seed=0)
    served = [sorted(i for _, i in batch) for batch in batches]
    assert served == [[1], [6], [2], [4], [0, 3, 5]]
    some = epoch_batches(entry("shirt"), images, seed=0, indices=np.array([5, 2, 0]))
    assert [sorted(i for _, i in batch) for batch in some] == [[2], [0, 5]]
    with pytest.raises(ReidError, match="the column 'clothes' is read"):
        epoch_batches(entry("clothes"), images, seed=0)

"""What a store keeps beside pictures and identities: columns, masks, texts."""

import io
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from reid_core import ReidError
from reid_core.boundary import Origin, PluginError
from reid_core.contracts import Listing
from reid_core.storage.fingerprints import fingerprint
from reid_core.storage.listing_checks import check_listing
from reid_core.storage.packing import pack, verify
from reid_core.storage.store import Store
from stores import SIZE, overwrite, packed, png, record

MASK, TEXT = {"mask": "mask"}, {"caption": "text"}


def saved(image, image_format="PNG"):
    buffer = io.BytesIO()
    image.save(buffer, image_format)
    return buffer.getvalue()


def labels():
    """Return a mask of the images' size whose numbers all differ in a row."""
    return Image.fromarray(np.arange(SIZE[0] * SIZE[1], dtype=np.uint8).reshape(SIZE[1], SIZE[0]))


def with_mask(number, data=None, **facts):
    return record(number, extras={"mask": lambda: png(99, mode="L") if data is None else data})


# ---- columns ----------------------------------------------------------------------------

values = {
    int: st.integers(-(2**63), 2**63 - 1),
    str: st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=200),
}


@settings(deadline=None, max_examples=25)
@given(st.data())
def test_columns_come_back_as_they_came(tmp_path_factory, data):
    kind = data.draw(st.sampled_from([int, str]))
    column = data.draw(st.lists(st.none() | values[kind], min_size=1, max_size=6))
    rows = [{} if value is None else {"time": value} for value in column]
    records = [record(i, columns=row) for i, row in enumerate(rows)]
    store = packed(tmp_path_factory.mktemp("columns") / "store", records)
    unknown = -1 if kind is int else ""
    known = any(rows)
    expected = [unknown if value is None else value for value in column] if known else None
    assert {n: c.tolist() for n, c in store.index.columns.items()} == (
        {"time": expected} if known else {}
    )
    verify(store)
    assert Store(store.path).index.columns.keys() == store.index.columns.keys()


def test_numbers_are_int64_and_every_split_has_the_column(tmp_path):
    records = [record(0, columns={"clothes": 3}), record(1, split="query")]
    index = packed(tmp_path / "store", records).index
    assert index.columns["clothes"].dtype == np.int64
    assert index.columns["clothes"].tolist() == [3, -1]


def test_all_problems_of_columns_and_identities_are_named():
    records = [
        record(0, pid=""),
        record(1, pid=7),
        record(2, columns={"clothes": 1, "view": "left"}),
        record(3, columns={"clothes": "red"}),
        record(4, columns={"view": True}),
        record(5, columns={"clothes": 2**63}),
        record(6, columns={"view": "x" * 201}),
        record(7, columns={"view": 1.5}),
        record(8, columns={"view": "a\0"}),
        record(9, columns={"two words": 1}),
        record(10, columns={"junk": 1}),
        record(11, camid="1"),
        record(12, pid="a\0"),
    ]
    with pytest.raises(ReidError) as error:
        check_listing(Listing(records))
    assert str(error.value).splitlines() == [
        "12 images cannot be used:",
        "  column 'two words': a name has letters, digits and '_', no digit first, at most 64 in "
        "all",
        "  column 'junk': there is another thing of that name; call it otherwise",
        "  0.png: pid is empty; write None for an image whose identity is not known",
        "  1.png: pid is 7; expected a string or None",
        "  3.png: column 'clothes' is 'red', and that of '2.png' is of type int; a column has one "
        "type in a dataset",
        "  4.png: column 'view' is True, a bool; expected a whole number (int) or a str",
        "  5.png: column 'clothes' is 9223372036854775808; it must fit into 64 bits",
        "  6.png: column 'view' has 201 characters; at most 200 are kept (longer texts are extras)",
        "  7.png: column 'view' is 1.5, a float; expected a whole number (int) or a str",
        "  8.png: column 'view' has a character of number 0",
        "  11.png: camid is '1'; expected a whole number (int)",
        "  12.png: pid has a character of number 0",
    ]


# ---- extras -----------------------------------------------------------------------------


@pytest.mark.parametrize("image_format", ["PNG", "BMP"])
def test_masks_come_back_with_the_numbers_that_they_have(tmp_path, image_format):
    store = packed(tmp_path / "store", [with_mask(0, saved(labels(), image_format))], MASK)
    found = store.extra(0, "mask")
    assert found.mode == "L"
    np.testing.assert_array_equal(np.asarray(found), np.asarray(labels()))
    assert store.extra_kinds == MASK
    verify(store)


def test_a_mask_of_a_palette_has_the_places_and_not_the_colours(tmp_path):
    picture = Image.fromarray(np.asarray(labels()) % 4, "P")
    picture.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9])
    store = packed(tmp_path / "store", [with_mask(0, saved(picture))], MASK)
    np.testing.assert_array_equal(np.asarray(store.extra(0, "mask")), np.asarray(labels()) % 4)


def test_a_mask_of_one_bit_is_0_and_255(tmp_path):
    picture = labels().point(lambda level: 255 * (level > 100)).convert("1")
    store = packed(tmp_path / "store", [with_mask(0, saved(picture))], MASK)
    expected = 255 * (np.asarray(labels()) > 100)
    np.testing.assert_array_equal(np.asarray(store.extra(0, "mask")), expected)


def test_texts_and_bytes_come_back_as_they_came(tmp_path):
    caption = "eine Frau mit rotem Rucksack – 红色背包"
    store = packed(
        tmp_path / "store",
        [record(0, extras={"caption": caption.encode}), record(1)],
        TEXT,
    )
    assert store.extra(0, "caption") == caption
    assert store.read(0, "caption") == caption.encode()
    assert store.index.extras["caption"].tolist() == [True, False]
    verify(store)
    with pytest.raises(
        ReidError, match=r"image '1\.png' has no 'caption' beside it \(it has: none"
    ):
        store.extra(1, "caption")


@pytest.mark.parametrize(
    ("kinds", "data", "problem"),
    [
        (
            MASK,
            png(0),
            "cannot be read as a mask: its mode is RGB; expected one channel of 8 bits",
        ),
        (MASK, b"no picture", "cannot be read as a mask: truncated or not an image (none of JPEG"),
        (
            MASK,
            png(0, mode="L")[:60],
            "cannot be read as a mask: truncated or not an image (image ",
        ),
        (
            MASK,
            png(0, (24, 12), "L"),
            "is 12 x 24 pixels high and wide, its image 24 x 12",
        ),
        (TEXT, b"\xff\xfe", "cannot be read as a text: 'utf-8' codec can't decode"),
    ],
)
def test_extras_that_cannot_be_read_are_refused_by_the_image(tmp_path, kinds, data, problem):
    (name,) = kinds
    records = [record(0), record(1, extras={name: lambda: data})]
    with pytest.raises(ReidError) as error:
        packed(tmp_path / "store", records, kinds)
    assert str(error.value).startswith("1 image cannot be read; nothing was packed:\n  1.png: its ")
    assert f"'{name}' {problem}" in str(error.value)
    assert not (tmp_path / "store").exists()


def test_a_mask_of_sixteen_bits_is_refused(tmp_path):
    deep = Image.fromarray(np.full((SIZE[1], SIZE[0]), 300, dtype=np.uint16))
    with pytest.raises(ReidError, match=r"its mode is I;16; expected one channel of 8 bits"):
        packed(tmp_path / "store", [with_mask(0, saved(deep))], MASK)


def test_extras_are_declared_and_lie_in_the_data_folder(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "secret.png").write_bytes(png(0, mode="L"))
    (tmp_path / "data" / "0.png").write_bytes(png(0))
    place = tmp_path / "data" / "0.png"
    outside = record(0, source=place, extras={"mask": tmp_path / "secret.png"})
    other = record(1, source=place, extras={"pose": place})
    listing = Listing([outside, other], tmp_path / "data", extras={"mask": "mask", "x y": "sound"})
    with pytest.raises(ReidError) as error:
        check_listing(listing)
    assert str(error.value).splitlines()[1:] == [
        "  extra 'x y': a name has letters, digits and '_', no digit first, at most 64 in all",
        "  extra 'x y': 'sound' is none of mask, text",
        f"  0.png: its 'mask' lies outside the data folder {tmp_path / 'data'}",
        "  1.png: its 'pose' is not among the listing's extras; say there what it is",
    ]


def test_a_missing_file_of_an_extra_is_named(tmp_path):
    with pytest.raises(ReidError, match=r"0\.png: its 'mask': No such file or directory"):
        packed(tmp_path / "store", [record(0, extras={"mask": tmp_path / "gone.png"})], MASK)


def test_verify_finds_extras_that_are_damaged_or_changed(tmp_path):
    mask = bytearray(saved(labels(), "BMP"))
    store = packed(tmp_path / "store", [with_mask(0, bytes(mask))], MASK)
    mask[-1] ^= 1
    changed = overwrite(store, 0, bytes(mask), "mask")
    with pytest.raises(ReidError, match="the content differs from what was packed"):
        verify(changed)
    damaged = overwrite(changed, 0, b"nothing", "mask")
    with pytest.raises(ReidError, match=r"train/0\.png: its 'mask' cannot be read as a mask"):
        verify(damaged)
    with pytest.raises(ReidError, match=r"'mask' of image '0\.png' cannot be read as a.*--verify"):
        damaged.extra(0, "mask")


# ---- what tells stores apart ------------------------------------------------------------


def test_content_and_fingerprint_change_with_columns_and_extras(tmp_path):
    file = tmp_path / "0.png"
    file.write_bytes(png(0, mode="L"))
    plain = record(0)
    listings = [
        Listing([plain]),
        Listing([plain], extras=MASK),
        Listing([replace(plain, columns={"time": 1})]),
        Listing([replace(plain, columns={"time": 2})]),
        Listing([replace(plain, columns={"time": "1"})]),
        Listing([replace(plain, columns={"day": 1})]),
        Listing([replace(plain, pid=None)]),
        Listing([replace(plain, extras={"mask": file})], extras=MASK),
        Listing([replace(plain, extras={"other": file})], extras={"other": "mask"}),
    ]
    packs = [pack(each, tmp_path / str(i), {"name": "t"}) for i, each in enumerate(listings)]
    assert len({store.content_hash for store in packs}) == len(listings)
    assert len({fingerprint("t", {}, each) for each in listings}) == len(listings)
    before = fingerprint("t", {}, listings[-1])
    file.write_bytes(png(1, mode="L") + b"\0")
    assert fingerprint("t", {}, listings[-1]) != before


ORIGIN = Origin("dataset", "mine", "reid-mine", "1.0")


def test_what_the_functions_of_a_dataset_raise_is_its_fault(tmp_path):
    def broken():
        raise KeyError("frame 7")

    with pytest.raises(
        PluginError, match=r"dataset 'mine' of reid-mine 1\.0 failed for image '0\."
    ):
        pack(Listing([record(0, source=broken)]), tmp_path / "s", {}, origin=ORIGIN)
    assert not (tmp_path / "s").exists()


def test_functions_that_give_no_bytes_are_named(tmp_path):
    with pytest.raises(ReidError, match=r"0\.png: its function gave a str; expected bytes"):
        packed(tmp_path / "store", [record(0, source=lambda: "text")])

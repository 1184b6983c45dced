"""Whatever a dataset leaves out or takes for something else is said, and stands in the manifest."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from reid_core import ReidError
from reid_core.boundary import Origin
from reid_core.contracts import Listing
from reid_core.discovery import load_catalog
from reid_core.image_formats import ENDINGS, FORMATS
from reid_core.params.validation import check_dataset_entry
from reid_core.problems import by_cause
from reid_core.storage.dataset_stores import Stores
from reid_core.storage.listing_checks import check_form
from reid_core.storage.packing import pack, verify
from reid_plugins.dataset import image_folder, manifest, market1501
from reid_plugins.toolkit.market_pids import stands_for
from stores import png, record


@pytest.fixture(scope="module")
def catalog():
    return load_catalog()


def draw(path, level=90):
    """Write an image of the format that its ending says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    (image_format,) = (n for n, endings in FORMATS.items() if path.suffix.lower() in endings)
    Image.fromarray(np.full((16, 8, 3), level, dtype=np.uint8)).save(path, image_format)


def listing(module, **params):
    (component,) = module.reid_dataset()
    return component.build(component.params(**params))


def opened(catalog, folder, name, capsys=None, **entry):
    """Return the store of a dataset entry, and what packing it has said."""
    given = {"name": name, **entry}
    store = Stores(folder).open(check_dataset_entry(given, catalog, "test"))
    said = capsys.readouterr().out.splitlines() if capsys else []
    return store, [line for line in said if line.startswith(("warning: ", "  "))]


# ---- every format, nothing dropped ------------------------------------------------------


def test_image_folder_reads_every_ending(tmp_path):
    names = {f"train/{pid}/1{ending}" for pid in "ab" for ending in ENDINGS}
    for name in names:
        draw(tmp_path / name)
    found = listing(image_folder, root=str(tmp_path))
    assert {r.name for r in found.records} == names
    assert found.skipped == []


def test_market_reads_every_ending(tmp_path):
    names = {f"query/0001_c1s1_000001_0{k}{e}" for k, e in enumerate(sorted(ENDINGS))}
    for folder in ("bounding_box_train", "bounding_box_test"):
        draw(tmp_path / folder / "0001_c1s1_000001_00.jpg")
    for name in names:
        draw(tmp_path / name)
    found = listing(market1501, root=str(tmp_path)).records
    assert {r.name for r in found if r.split == "query"} == names


LEFT = ["extra/", "notes.md", "train/.DS_Store", "train/labels.csv", "train/a/._1.jpg"]
LEFT += ["train/a/1.heic", "train/a/day2/", "train/a/gone.jpg"]


@pytest.fixture
def folder(tmp_path):
    """Return a folder of images with much beside them that is not read."""
    root = tmp_path / "data"
    for name in ("train/a/1.jpg", "train/a/day2/9.jpg", "train/b/1.png", "extra/x/1.jpg"):
        draw(root / name)
    for name in LEFT:
        if not name.endswith(("/", "gone.jpg")):
            (root / name).write_bytes(b"?")
    (root / "train/a/gone.jpg").symlink_to(root / "nowhere.jpg")
    return root


def test_packing_says_what_image_folder_has_left_out(folder, catalog, tmp_path, capsys):
    params = {"root": str(folder)}
    assert sorted(listing(image_folder, **params).skipped) == sorted(LEFT)
    store, said = opened(catalog, tmp_path / "runs", "image_folder", capsys, params=params)
    assert len(store) == 2
    others = [name for name in LEFT if "/." not in name]
    assert store.manifest["skipped"] == {
        "count": 6,
        "names": store.manifest["skipped"]["names"],
        "unreadable": 0,
        "of_systems": 2,
    }
    assert sorted(store.manifest["skipped"]["names"]) == sorted(others)
    assert "warnings" not in store.manifest
    text = "\n".join(said)
    for cause in ("files that are no images: ", "folders that are not read: "):
        assert f"warning: image_folder: left out, {cause}" in text
    assert all(f"'{name}'" in text for name in others)
    assert "warning: image_folder: 2 hidden files or files of operating systems are left" in text


def test_market_names_what_it_does_not_read(tmp_path):
    for folder in ("bounding_box_train", "query", "bounding_box_test", "gt_bbox"):
        draw(tmp_path / folder / "0001_c1s1_000001_00.jpg")
    (tmp_path / "readme.txt").write_text("?")
    (tmp_path / "query/Thumbs.db").write_text("?")
    assert listing(market1501, root=str(tmp_path)).skipped == [
        "readme.txt",
        "gt_bbox/",
        "query/Thumbs.db",
    ]


def test_ten_names_are_written_out_and_the_rest_counted(tmp_path, capsys):
    given = Listing([record(0)], skipped=[f"{n:02}.txt" for n in range(13)] + ["Thumbs.db"])
    store = pack(given, tmp_path / "store", {"name": "mine", "params": {}})
    assert store.manifest["skipped"] == {
        "count": 13,
        "names": [f"{n:02}.txt" for n in range(10)],
        "unreadable": 0,
        "of_systems": 1,
    }
    said = capsys.readouterr().out
    assert "'09.txt' and 3 more" in said
    assert "1 hidden file or file of an operating system is left out: 'Thumbs.db'" in said


def test_a_complete_dataset_says_nothing(tmp_path, capsys):
    store = pack(Listing([record(0)]), tmp_path / "store", {"name": "mine", "params": {}})
    assert not {"skipped", "warnings"} & store.manifest.keys()
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("wrong", [{"skipped": "a.txt"}, {"warnings": [1]}, {"skipped": None}])
def test_what_a_plugin_skips_must_be_names(wrong):
    (name,) = wrong
    with pytest.raises(ReidError, match=rf"its {name} is .*; expected a list of strings"):
        check_form(Listing([record(0)], **wrong), Origin("dataset", "mine", "reid-mine", "1.0"))


# ---- junk and distractors ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("pid", "mark"),
    [("-1", "junk"), ("0", "distractor"), ("0000", "distractor")]
    + [(pid, None) for pid in ("1", "-2", "0001", "", "-0", "a0", "1000")],
)
def test_what_an_identity_of_market_stands_for(pid, mark):
    assert stands_for(pid) == mark


@pytest.fixture
def copied(tmp_path):
    """Return a folder as prepared copies of Market-1501 are."""
    root = tmp_path / "data"
    for split, pids in {"train": ("0001", "0002"), "gallery": ("0003", "-1", "0000")}.items():
        for pid in pids:
            draw(root / split / pid / "1.jpg")
    return root


def test_folders_that_are_no_persons_in_market_are_warned_of(copied, catalog, tmp_path, capsys):
    params = {"root": str(copied)}
    store, said = opened(catalog, tmp_path / "runs", "image_folder", capsys, params=params)
    expected = [
        "'-1' is taken for a person, with 1 image; in Market-1501 it stands for junk: name it in "
        "'junk', or set 'junk' to [] if it is a person",
        "'0000' is taken for a person, with 1 image; in Market-1501 it stands for distractors: "
        "name it in 'distractors', or set that to [] if it is a person",
    ]
    assert store.manifest["warnings"] == expected
    assert said[:2] == [f"warning: image_folder: {text}" for text in expected]
    assert not (store.index.junk | store.index.distractor).any()


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"junk": ["-1"], "distractors": ["0000"]}, []),
        ({"junk": [], "distractors": []}, []),
        ({"junk": ["-1"]}, ["'0000'"]),
        ({"distractors": ["0000"]}, ["'-1'"]),
        ({"junk": ["0000"], "distractors": ["-1"]}, []),
    ],
)
def test_who_has_marked_them_is_not_warned(copied, params, words):
    found = listing(image_folder, root=str(copied), **params).warnings
    assert [text.partition(" ")[0] for text in found] == words


@pytest.mark.parametrize(
    ("header", "row", "words"),
    [
        ("path,pid,split", "a.jpg,{},gallery", ["'-1'", "'0000'"]),
        ("path,pid,split,junk", "a.jpg,{},gallery,", ["'0000'"]),
        ("path,pid,split,junk,distractor", "a.jpg,{},gallery,0,0", []),
    ],
)
def test_rows_that_are_no_persons_in_market_are_warned_of(tmp_path, header, row, words):
    draw(tmp_path / "a.jpg")
    draw(tmp_path / "b.jpg")
    rows = [row.format("-1"), row.format("0000").replace("a.jpg", "b.jpg")]
    (tmp_path / "list.csv").write_text("\n".join([header, *rows]))
    found = listing(manifest, file=str(tmp_path / "list.csv"))
    assert [text.partition(" ")[0] for text in found.warnings] == words
    columns = {"'-1'": "junk", "'0000'": "distractor"}
    for word, text in zip(words, found.warnings, strict=True):
        assert f"add a column '{columns[word]}' to the file" in text


# ---- images that cannot be read ---------------------------------------------------------


def with_damage(root):
    """Write a folder of five images of which three cannot be read."""
    for name in ("a/1.jpg", "a/2.jpg", "b/1.jpg", "b/2.png", "b/3.png"):
        draw(root / "train" / name, level=ord(name[2]))
    for name in ("a/1.jpg", "b/2.png"):
        path = root / "train" / name
        path.write_bytes(path.read_bytes()[:-60])
    (root / "train/b/1.jpg").write_bytes(b"")
    return {"root": str(root)}


def test_an_image_that_cannot_be_read_is_refused_unless_it_may_be_left_out(
    catalog, tmp_path, capsys
):
    params = with_damage(tmp_path / "data")
    with pytest.raises(ReidError, match="3 images cannot be read; nothing was packed"):
        opened(catalog, tmp_path / "runs", "image_folder", params=params)
    capsys.readouterr()
    store, said = opened(
        catalog, tmp_path / "runs", "image_folder", capsys, params=params, skip_unreadable=True
    )
    assert store.index.name.tolist() == ["train/a/2.jpg", "train/b/3.png"]
    assert store.manifest["images"] == 2
    assert store.manifest["skipped"]["count"] == store.manifest["skipped"]["unreadable"] == 3
    assert store.manifest["skipped"]["names"] == ["train/a/1.jpg", "train/b/1.jpg", "train/b/2.png"]
    assert said[0] == "warning: image_folder: 3 images cannot be read and are left out:"
    assert said[1].startswith("  train/a/1.jpg: truncated or not an image")
    assert said[2].startswith("  train/b/2.png: truncated or not an image")
    assert said[3] == "  train/b/1.jpg: the file is empty"
    assert [store.image(i).getpixel((0, 0))[0] for i in range(2)] == pytest.approx(
        [ord("2"), ord("3")], abs=3
    )
    verify(store)


def test_rows_whose_files_are_not_there_are_left_out_if_they_may_be(catalog, tmp_path, capsys):
    draw(tmp_path / "a.jpg")
    file = tmp_path / "list.csv"
    file.write_text("path,pid,split\na.jpg,x,train\nb.jpg,x,train\nc.jpg,y,train\n")
    params = {"file": str(file)}
    with pytest.raises(ReidError, match=r"2 problems of its rows:(.|\n)*:3: no file 'b\.jpg'"):
        opened(catalog, tmp_path / "runs", "manifest", params=params)
    capsys.readouterr()
    store, said = opened(
        catalog, tmp_path / "runs", "manifest", capsys, params=params, skip_unreadable=True
    )
    assert store.index.name.tolist() == ["a.jpg"]
    assert store.manifest["skipped"]["names"] == ["b.jpg", "c.jpg"]
    assert said[0] == "warning: manifest: left out, files that are not there: 2, 'b.jpg', 'c.jpg'"
    file.write_text("path,pid,split\na.jpg,x,tain\nb.jpg,x,train\n")
    with pytest.raises(ReidError, match="1 problem of its rows"):
        opened(catalog, tmp_path / "runs", "manifest", params=params, skip_unreadable=True)


def test_the_choice_is_part_of_the_fingerprint(catalog, tmp_path):
    root = tmp_path / "data"
    draw(root / "train/a/1.jpg")
    stores = [
        opened(catalog, tmp_path / "runs", "image_folder", params={"root": str(root)}, **choice)[0]
        for choice in ({}, {"skip_unreadable": False}, {"skip_unreadable": True})
    ]
    assert stores[0].path == stores[1].path != stores[2].path


def test_a_store_from_which_images_are_left_out_is_not_taken_for_a_whole_one(catalog, tmp_path):
    place = {"store": str(tmp_path / "mine"), "params": with_damage(tmp_path / "data")}
    packed, _ = opened(catalog, tmp_path, "image_folder", skip_unreadable=True, **place)
    again, _ = opened(catalog, tmp_path, "image_folder", skip_unreadable=True, **place)
    assert again.content_hash == packed.content_hash
    with pytest.raises(ReidError, match=r"skip_unreadable \(packed with true, now false\)"):
        opened(catalog, tmp_path, "image_folder", **place)


def test_a_dataset_without_one_readable_image_is_refused(tmp_path):
    broken = Listing([replace(record(n), source=lambda: b"?") for n in range(7)])
    with pytest.raises(ReidError, match=r"7 images cannot be read(.|\n)*and 2 more like this"):
        pack(broken, tmp_path / "store", {"name": "mine", "params": {}}, skip_unreadable=True)


def test_an_image_goes_with_what_cannot_be_read_beside_it(tmp_path, capsys):
    good = record(0, extras={"mask": lambda: png(0, mode="L")})
    bad = record(1, extras={"mask": lambda: b"?"})
    given = Listing([bad, good], extras={"mask": "mask"})
    store = pack(given, tmp_path / "store", {"name": "m", "params": {}}, skip_unreadable=True)
    assert store.index.name.tolist() == ["0.png"]
    assert store.extra(0, "mask").mode == "L"
    assert "1.png: its 'mask' cannot be read as a mask" in capsys.readouterr().out


# ---- problems by cause ------------------------------------------------------------------


def test_problems_that_differ_in_names_and_numbers_are_of_one_cause():
    lines = [f"{n}.jpg: camid '{n}' is no number" for n in range(7)]
    lines[3:3] = ["x.jpg: truncated"]
    assert by_cause(lines) == [
        *(f"{n}.jpg: camid '{n}' is no number" for n in range(5)),
        "... and 2 more like this",
        "x.jpg: truncated",
    ]


def test_many_causes_are_cut_and_counted():
    lines = [f"x: {chr(97 + n)}" for n in range(15)] + ["y: o", "x: a"]
    found = by_cause(lines)
    assert found[:3] == ["x: a", "x: a", "x: b"]
    assert found[-1] == "... and 4 more of 3 other causes"


def test_what_is_left_out_has_its_cause(catalog, tmp_path, capsys):
    root = tmp_path / "people"
    draw(root / "train" / "a" / "1.jpg")
    (root / "train" / "a" / "2.jpg").symlink_to(tmp_path / "nowhere.jpg")
    (root / "train" / "a" / "3.HEIC").write_bytes(b"a phone's")
    _, said = opened(catalog, tmp_path / "runs", "image_folder", capsys, params={"root": str(root)})
    text = "\n".join(said)
    assert "left out, links that lead nowhere: 1, 'train/a/2.jpg'" in text
    assert "formats that are not read (convert them to JPEG or PNG): 1, 'train/a/3.HEIC'" in text

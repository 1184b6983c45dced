"""The dataset plugins: what they list, and what they say when something is wrong."""

import os
from collections import Counter
from pathlib import Path

import pytest
from pydantic import ValidationError

from reid_core import ReidError
from reid_core.component import call_build
from reid_core.contracts import UNKNOWN_CAMERA
from reid_plugins.dataset import image_folder, manifest, market1501, synthetic_market
from reid_plugins.dataset._attributes import make_person

OMNIGLOT = Path(
    os.environ.get("REID_CORE_OMNIGLOT")
    or Path(__file__).parents[2] / "../shared/data/omniglot-market"
)


def listing(module, **params):
    (component,) = module.reid_dataset()
    return call_build(
        component,
        component.params.model_validate(
            {k: str(v) if isinstance(v, Path) else v for k, v in params.items()}
        ),
    )


def message(module, **params):
    """Return the text of the error that the params lead to."""
    with pytest.raises(ReidError) as error:
        listing(module, **params)
    return str(error.value)


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")


# ---- market1501 -------------------------------------------------------------------------

MARKET_FILES = (
    "bounding_box_train/0002_c1s1_000451_03.jpg",
    "bounding_box_train/0007_c12s3_010376_01.PNG",
    "bounding_box_train/Thumbs.db",
    "bounding_box_train/readme.txt",
    "bounding_box_train/._0002_c1s1_000451_03.jpg",
    "query/0003_c1s6_015971_00.jpg",
    "bounding_box_test/-1_c1s1_000401_03.jpg",
    "bounding_box_test/0000_c3s1_000151_01.jpg",
    "bounding_box_test/0003_c2s1_000151_01.jpg.jpg",
)


@pytest.fixture
def market(tmp_path):
    touch(tmp_path, *MARKET_FILES)
    return tmp_path


def test_market_reads_names_splits_and_marks(market):
    found = listing(market1501, root=market)
    rows = [(r.name, r.split, r.pid, r.camid, r.junk, r.distractor) for r in found.records]

    assert rows == [
        (MARKET_FILES[0], "train", "0002", 1, False, False),
        (MARKET_FILES[1], "train", "0007", 12, False, False),
        (MARKET_FILES[5], "query", "0003", 1, False, False),
        (MARKET_FILES[6], "gallery", "-1", 1, True, False),
        (MARKET_FILES[7], "gallery", "0000", 3, False, True),
        (MARKET_FILES[8], "gallery", "0003", 2, False, False),
    ]
    assert found.root == market
    assert all(r.source == market / r.name for r in found.records)
    assert not found.published


def test_market_statistics_are_attached_on_demand(market):
    published = listing(market1501, root=market, published_statistics=True).published

    assert published["train"] == (751, 12_936)
    assert published["query"] == (750, 3_368)
    assert published["gallery"] == (750, 19_732)


def test_market_reads_multiple_queries_on_demand(market):
    assert "folder 'gt_bbox' is missing" in message(market1501, root=market, multi_query=True)

    touch(market, "gt_bbox/0003_c1s6_015971_00.jpg")
    splits = Counter(r.split for r in listing(market1501, root=market, multi_query=True).records)

    assert splits == {"train": 2, "query": 1, "gallery": 3, "multi_query": 1}
    assert "multi_query" not in {r.split for r in listing(market1501, root=market).records}


@pytest.mark.parametrize(
    "name",
    [
        "0002_c1_0046985.jpg",
        "0002_c1s1_f0046985.jpg",
        f"0002_c{2**64}s1_000451_03.jpg",
        "0002.jpg",
        "-2_c1s1_000451_03.jpg",
        "0002_cs1_000451_03.jpg",
        "0002_c1s1_000451_03 copy.jpg",
        "x0002_c1s1_000451_03.jpg",
    ],
)
def test_market_names_a_wrong_file_and_a_right_one(market, name):
    touch(market, f"query/{name}")
    text = message(market1501, root=market)

    assert f"{market / 'query' / name}: its name says no identity and camera; " in text
    assert "a right one is '0002_c1s1_000451_03.jpg'" in text


def test_market_reads_the_names_of_duke(market):
    touch(market, "query/0001_c2_f0046182.jpg", "query/0005_c8_f0001.jpg.jpg")
    records = [r for r in listing(market1501, root=market).records if r.split == "query"]

    assert [(r.pid, r.camid) for r in records] == [("0001", 2), ("0003", 1), ("0005", 8)]


def test_market_tells_all_problems_of_all_folders_by_cause(market):
    touch(market, *(f"query/{n:02}.jpg" for n in range(13)), "bounding_box_train/a.webp")
    for name in MARKET_FILES[6:9]:
        (market / name).unlink()
    lines = message(market1501, root=market).splitlines()

    assert lines[0] == "dataset market1501: 15 problems of its folders:"
    assert lines[1].startswith(f"  {market / 'bounding_box_train/a.webp'}: its name says no id")
    assert lines[2].startswith(f"  {market / 'query/00.jpg'}: its name says no identity")
    assert lines[6] == "  ... and 9 more like this"
    assert lines[7:] == [f"  {market / 'bounding_box_test'}: there is no image in this folder"]


def test_market_names_missing_folders(tmp_path):
    touch(tmp_path, "query/0003_c1s6_015971_00.jpg")

    found, _, advice = message(market1501, root=tmp_path).partition("; ")
    assert found == (
        "dataset market1501: folder 'bounding_box_train', 'bounding_box_test' is missing in "
        f"'{tmp_path}'"
    )
    assert message(market1501, root=tmp_path / "nothing").endswith(f"; {advice}")
    assert "https://" in advice
    assert all(folder in advice for folder in market1501.FOLDERS.values())


def test_market_suggests_the_folder_below(tmp_path):
    touch(tmp_path, *(f"Market-1501-v15.09.15/{name}" for name in MARKET_FILES))

    assert message(market1501, root=tmp_path).endswith(
        f"; did you mean root '{tmp_path / 'Market-1501-v15.09.15'}'?"
    )


def test_market_names_an_empty_split(market):
    (market / MARKET_FILES[5]).unlink()

    assert message(market1501, root=market) == (
        "dataset market1501: 1 problem of its folders:\n"
        f"  {market / 'query'}: there is no image in this folder"
    )


@pytest.mark.parametrize("module", [market1501, image_folder])
def test_a_root_that_is_no_folder_is_named(module, tmp_path):
    assert f"root '{tmp_path / 'nothing'}' is not a folder" in message(
        module, root=tmp_path / "nothing"
    )


@pytest.mark.parametrize("module", [market1501, image_folder])
@pytest.mark.parametrize(
    ("root", "reason"),
    [
        ("~nobody-of-this-name/x", "there is no user 'nobody-of-this-name' with a home folder"),
        ("n" * 300, "a part of this path is longer than 255 bytes"),
    ],
)
def test_a_root_that_cannot_be_is_named(module, root, reason):
    assert reason in message(module, root=root)


@pytest.mark.skipif(not OMNIGLOT.is_dir(), reason=f"no Omniglot images at {OMNIGLOT}")
def test_market_reads_real_images():
    from PIL import Image

    records = listing(market1501, root=OMNIGLOT).records
    counts = {
        split: (len({r.pid for r in records if r.split == split}), n)
        for split, n in Counter(r.split for r in records).items()
    }

    assert counts == {"train": (64, 1280), "query": (72, 432), "gallery": (72, 1008)}
    assert {r.camid for r in records} == {1, 2, 3, 4, 5, 6}
    assert not any(r.junk or r.distractor for r in records)
    assert {r.pid for r in records if r.split == "query"} == {
        r.pid for r in records if r.split == "gallery"
    }
    with Image.open(records[0].source) as image:
        assert image.size == (105, 105)


# ---- image_folder -----------------------------------------------------------------------


@pytest.fixture
def folders(tmp_path):
    touch(
        tmp_path,
        "train/anna/1_c1.jpg",
        "train/anna/2_c2.JPEG",
        "train/anna/notes.txt",
        "train/bert/1_c1.bmp",
        "train/.cache/1.jpg",
        "query/carl/1_c3.png",
        "gallery/carl/2_c4.png",
        "gallery/-1/1_c4.png",
        "gallery/0000/1_c4.png",
    )
    return tmp_path


def test_image_folder_reads_splits_and_identities(folders):
    found = listing(image_folder, root=folders)

    assert [(r.name, r.split, r.pid) for r in found.records] == [
        ("train/anna/1_c1.jpg", "train", "anna"),
        ("train/anna/2_c2.JPEG", "train", "anna"),
        ("train/bert/1_c1.bmp", "train", "bert"),
        ("query/carl/1_c3.png", "query", "carl"),
        ("gallery/-1/1_c4.png", "gallery", "-1"),
        ("gallery/0000/1_c4.png", "gallery", "0000"),
        ("gallery/carl/2_c4.png", "gallery", "carl"),
    ]
    assert {r.camid for r in found.records} == {UNKNOWN_CAMERA}
    assert all(r.source == folders / r.name and r.source.is_file() for r in found.records)
    assert found.root == folders


@pytest.mark.parametrize("pattern", [r"_c(\d+)", r"(\w+?)_c(?P<camid>\d)"])
def test_image_folder_reads_cameras_and_marks(folders, pattern):
    params = {"camera_pattern": pattern, "junk": ["-1"], "distractors": ["0000", "0"]}
    records = {r.name: r for r in listing(image_folder, root=folders, **params).records}

    assert [r.camid for r in records.values()] == [1, 2, 1, 3, 4, 4, 4]
    assert [n for n, r in records.items() if r.junk] == ["gallery/-1/1_c4.png"]
    assert [n for n, r in records.items() if r.distractor] == ["gallery/0000/1_c4.png"]


def test_image_folder_follows_other_folder_names(folders):
    (folders / "train").rename(folders / "train_all")
    params = {"train": "train_all", "query": "gallery"}
    records = listing(image_folder, root=folders, **params).records

    assert Counter(r.split for r in records) == {"train": 3, "query": 3, "gallery": 3}
    assert records[0].name == "train_all/anna/1_c1.jpg"
    assert message(image_folder, root=folders, train="all") == (
        f"dataset image_folder: folder 'all' is missing in '{folders}'"
    )


def test_a_split_folder_of_a_name_too_long_is_missing(folders):
    name = "n" * 300
    assert f"folder '{name}' is missing in '{folders}'" in message(
        image_folder, root=folders, train=name
    )


@pytest.fixture
def identities(tmp_path):
    touch(tmp_path, *(f"p{p}/{i}.jpg" for p in range(3) for i in range(p * 5 + 1)))
    return tmp_path


def test_identities_directly_in_the_root_are_train(identities):
    records = listing(image_folder, root=identities).records

    assert {r.split for r in records} == {"train"}
    assert len(records) == 1 + 6 + 11
    assert records[0].name == "p0/0.jpg"


def test_a_share_of_each_identity_moves_to_val(identities):
    records = listing(image_folder, root=identities, val_share=0.3).records
    again = listing(image_folder, root=identities, val_share=0.3).records
    other = listing(image_folder, root=identities, val_share=0.3, seed=1).records

    assert Counter((r.split, r.pid) for r in records) == {
        ("train", "p0"): 1,
        ("train", "p1"): 4,
        ("val", "p1"): 2,
        ("train", "p2"): 8,
        ("val", "p2"): 3,
    }
    assert len({r.name for r in records}) == 18
    assert records == again
    assert records != other
    assert all(r.source.is_file() for r in records)


def test_a_new_identity_leaves_the_val_images_of_the_others_alone(identities):
    def split_of():
        records = listing(image_folder, root=identities, val_share=0.3).records
        return {(record.name, record.split) for record in records}

    before = split_of()
    touch(identities, "a/1.jpg", "a/2.jpg")

    assert before < split_of()


def test_val_share_also_divides_a_train_folder(folders):
    records = listing(image_folder, root=folders, val_share=0.5).records

    assert [r.name[:10] for r in records if r.split == "val"] == ["train/anna"]


def test_val_share_beside_a_val_folder_is_an_error(folders):
    touch(folders, "val/anna/9.jpg")

    assert "val_share is set, but there is a val folder" in message(
        image_folder, root=folders, val_share=0.5
    )


def test_val_share_without_a_train_folder_is_an_error(folders):
    (folders / "train").rename(folders / ".train")

    assert "val_share is set, but there is no train folder" in message(
        image_folder, root=folders, val_share=0.5
    )


def test_a_root_without_folders_is_an_error(tmp_path):
    assert message(image_folder, root=tmp_path) == (
        f"dataset image_folder: '{tmp_path}' holds no folder; expected 'train', 'val', 'query', "
        "'gallery' or one folder per identity"
    )


def test_a_split_without_identities_is_an_error(folders):
    (folders / "val").mkdir()

    assert message(image_folder, root=folders) == (
        "dataset image_folder: 1 problem of its folders:\n"
        f"  {folders / 'val'}: holds no identity's folder"
    )


def test_identities_without_images_are_named(folders):
    touch(folders, "query/dora/readme.txt")

    assert message(image_folder, root=folders) == (
        "dataset image_folder: 1 problem of its folders:\n"
        f"  {folders / 'query/dora'}: no image in this folder of an identity "
        "(it holds 1 other file)"
    )


def test_images_outside_the_identities_are_named(folders):
    touch(folders, "query/stray.jpg")

    assert message(image_folder, root=folders) == (
        "dataset image_folder: 1 problem of its folders:\n"
        f"  {folders / 'query/stray.jpg'}: an image outside any identity's folder; move it into one"
    )


def test_all_problems_of_the_folders_are_told_at_once(folders):
    touch(folders, *(f"train/anna/{n}.png" for n in range(8)), "query/stray.jpg", "val/eve/a/1.jpg")
    lines = message(image_folder, root=folders, camera_pattern=r"_c(\d)").splitlines()

    assert lines[:3] == [
        "dataset image_folder: 10 problems of its folders:",
        f"  {folders / 'val/eve'}: no image in this folder of an identity (it holds 1 folder)",
        f"  {folders / 'query/stray.jpg'}: an image outside any identity's folder; move it into "
        "one",
    ]
    assert lines[3].startswith(
        r"  train/anna/0.png: camera_pattern '_c(\d)' finds no camera number in it; correct the pat"
    )
    assert lines[8:] == ["  ... and 3 more like this"]


def test_names_without_a_camera_are_named(folders):
    touch(folders, "query/carl/none.png")

    assert message(image_folder, root=folders, camera_pattern=r"_c(\d)").startswith(
        "dataset image_folder: 1 problem of its folders:\n"
        r"  query/carl/none.png: camera_pattern '_c(\d)' finds no camera number in it"
    )
    assert "/1_c1.jpg: camera_pattern " in message(
        image_folder, root=folders, camera_pattern=r"_(c\d)"
    )
    touch(folders, f"query/carl/2_c{2**64}.png")
    assert f"camera number '{2**64}' has more than 18 digits" in message(
        image_folder, root=folders, camera_pattern=r"_c(\d+)|none"
    )


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("_c(", "not a regular expression"),
        (r"_c\d", "got 0 groups"),
        (r"(\d)_c(\d)", "got 2 groups"),
    ],
)
def test_a_camera_pattern_needs_a_group_for_the_camera(pattern, text):
    with pytest.raises(ValidationError, match=text):
        listing(image_folder, root=".", camera_pattern=pattern)


# ---- manifest ---------------------------------------------------------------------------


def write(folder, *lines, encoding="utf-8"):
    path = folder / "list.csv"
    path.write_text("\n".join(lines) + "\n", encoding=encoding)
    return path


@pytest.fixture
def images(tmp_path):
    touch(tmp_path, "a/1.jpg", "a/2.jpg", "b/3, ü.jpg")
    return tmp_path


def test_drawn_people_wear_what_their_columns_say():
    found = listing(synthetic_market, seed=3, train_identities=9, test_identities=9)
    worn = {}
    for record in found.records:
        if record.columns:
            worn.setdefault(record.pid, set()).add(tuple(sorted(record.columns.items())))
    for pid, columns in worn.items():
        person = make_person(3, int(pid) - 1)  # the one that the images are drawn of
        assert columns == {(("bag", person.bag), ("hat", person.hat), ("lower", person.lower))}
    assert len(worn) == 18
    assert all(r.junk or r.distractor for r in found.records if not r.columns)


def test_further_columns_of_a_manifest_become_columns(images):
    file = write(
        images,
        "path,pid,split,clothes,day,view",
        "a/1.jpg,anna,train,3,007,left",
        "a/2.jpg,,train,,-1,",
        '"b/3, ü.jpg",bert,query,-12,4,',
    )
    found = listing(manifest, file=file, columns=["clothes", "day", "view"])
    assert [dict(r.columns) for r in found.records] == [
        {"clothes": 3, "day": "007", "view": "left"},
        {"day": "-1"},
        {"clothes": -12, "day": "4"},
    ]
    assert [r.pid for r in found.records] == ["anna", None, "bert"]
    assert listing(manifest, file=file, columns=["clothes", "day", "view"]).extras == {}


def test_further_columns_of_a_manifest_say_where_masks_and_texts_lie(images):
    touch(images, "masks/1.png", "texts/1.txt")
    file = write(
        images,
        "path,pid,split,mask_path,said",
        "a/1.jpg,anna,train,masks/1.png,texts/1.txt",
        "a/2.jpg,anna,train,,",
    )
    found = listing(manifest, file=file, masks={"body": "mask_path"}, texts={"caption": "said"})
    assert found.extras == {"body": "mask", "caption": "text"}
    assert [dict(r.extras) for r in found.records] == [
        {"body": images / "masks/1.png", "caption": images / "texts/1.txt"},
        {},
    ]


@pytest.mark.parametrize(
    ("params", "text"),
    [
        ({"columns": ["shirt"]}, "list.csv:1: column 'shirt' is missing; unknown column 'mask'"),
        ({"columns": ["camid", "mask"]}, "the column 'camid' has a meaning of its own; take it"),
        ({"masks": {"body": "path"}}, "the column 'path' has a meaning of its own"),
        ({"masks": {"b": "mask"}, "texts": {"b": "mask"}}, "'b' is in masks and in texts"),
        ({"masks": {"body": "mask"}}, "list.csv:2: mask '../1.png' must be relative and stay in"),
    ],
)
def test_further_columns_that_cannot_be_used(images, params, text):
    file = write(images, "path,pid,split,mask", "a/1.jpg,anna,train,../1.png")
    assert text in message(manifest, file=file, **params)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_manifest_lists_what_its_rows_say(images, encoding):
    file = write(
        images,
        "path,pid,camid,split,junk,distractor",
        "a/1.jpg,anna,0,train,,",
        "",
        "a/2.jpg, anna ,,query,1,0",
        '"b/3, ü.jpg",bert,12,gallery,0,1',
        "a/1.jpg,anna,-1,gallery,,",
        encoding=encoding,
    )
    found = listing(manifest, file=file)

    assert [(r.name, r.pid, r.camid, r.split, r.junk, r.distractor) for r in found.records] == [
        ("a/1.jpg", "anna", 0, "train", False, False),
        ("a/2.jpg", "anna", UNKNOWN_CAMERA, "query", True, False),
        ("b/3, ü.jpg", "bert", 12, "gallery", False, True),
        ("a/1.jpg", "anna", UNKNOWN_CAMERA, "gallery", False, False),
    ]
    assert found.root == images
    assert all(r.source == images / r.name for r in found.records)


def test_a_manifest_needs_only_three_columns_and_may_name_its_root(images):
    lists = images / "lists"
    lists.mkdir()
    file = write(lists, "split,path,pid", "train,1.jpg,anna")
    (record,) = listing(manifest, file=file, root=images / "a").records

    assert (record.name, record.pid, record.camid) == ("1.jpg", "anna", UNKNOWN_CAMERA)
    assert record.source == images / "a" / "1.jpg"


@pytest.mark.parametrize(
    ("row", "text"),
    [
        (",anna,1,train,0", "path is empty"),
        ("/etc/passwd,anna,1,train,0", "path '/etc/passwd' must be relative and stay inside"),
        ("a/../../x.jpg,anna,1,train,0", "must be relative and stay inside root"),
        ("a/9.jpg,anna,1,train,0", "no file 'a/9.jpg' in root"),
        ("a,anna,1,train,0", "no file 'a' in root"),
        ("a/1.jpg,anna,1,trian,0", "split 'trian' is none of train, val, query, gallery, "),
        ("a/1.jpg,anna,1,trian,0", "did you mean 'train'?"),
        ("a/1.jpg,anna,c1,train,0", "camid 'c1' is not a whole number >= 0"),
        ("a/1.jpg,anna,-2,train,0", "camid '-2' is not a whole number >= 0"),
        ("a/1.jpg,anna,²,train,0", "camid '²' is not a whole number >= 0"),
        (f"a/1.jpg,anna,{2**63},train,0", f"camid '{2**63}' is not a whole number >= 0 of at mo"),
        (f"{'n' * 300},anna,1,train,0", f"no file '{'n' * 300}' in root"),
        ("a/1.jpg,anna,1,train,yes", "junk 'yes' is neither 0 nor 1"),
        ("a/1.jpg,anna,1,train", "expected 5 values, got 4"),
        ("a/1.jpg,anna,1,train,0,0", "expected 5 values, got 6"),
        ("a/2.jpg,bert,1,query,0", "'a/2.jpg' is in split query already, line 2"),
    ],
)
def test_a_wrong_row_is_named_with_file_and_line(images, row, text):
    file = write(images, "path,pid,camid,split,junk", "a/2.jpg,anna,1,query,0", row)
    found = message(manifest, file=file)

    assert f"{file}:3: " in found
    assert text in found


def test_all_problems_of_the_rows_are_told_at_once_by_cause(images):
    rows = [f"a/{n}.jpg,anna,-9,train" for n in range(10, 17)]
    file = write(images, "path,pid,camid,split", *rows, "a/1.jpg,anna,0")
    found = message(manifest, file=file).splitlines()

    camid = "camid '-9' is not a whole number >= 0 of at most 18 digits"
    assert found == [
        "dataset manifest: 15 problems of its rows:",
        *(f"  {file}:{n}: {camid}" for n in range(2, 7)),
        "  ... and 2 more like this",
        f"  {file}:9: expected 4 values, got 3",
        *(f"  {file}:{n}: no file 'a/{n + 8}.jpg' in root '{images}'" for n in range(2, 7)),
        "  ... and 2 more like this",
    ]


@pytest.mark.parametrize(
    ("header", "text"),
    [
        ("path,pid", "column 'split' is missing"),
        ("", "column 'path' is missing; column 'pid' is missing; column 'split' is missing"),
        ("path,pid,split,cam_id", "unknown column 'cam_id'; did you mean 'camid'?"),
        ("path,pid,split,pid", "column 'pid' appears twice"),
    ],
)
def test_a_wrong_header_is_told_with_the_right_one(images, header, text):
    file = write(images, header)
    found = message(manifest, file=file)

    assert found.startswith(f"{file}:1: ")
    assert text in found
    assert "the header is path,pid,split and optionally camid,junk,distractor, with commas" in found


def test_a_manifest_without_rows_is_an_error(images):
    file = write(images, "path,pid,split")

    assert message(manifest, file=file) == f"dataset manifest: '{file}' names no image"


def test_a_manifest_that_cannot_be_read_is_named(images):
    assert f"cannot read '{images / 'no.csv'}'" in message(manifest, file=images / "no.csv")

    file = write(images, "path,pid,split", "a/1.jpg,änna,train", encoding="latin-1")
    assert f"cannot read '{file}' as UTF-8 CSV" in message(manifest, file=file)

    file = write(images, "path,pid,split", 'a/1.jpg,"anna,train')
    assert "unexpected end of data" in message(manifest, file=file)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("~nobody-of-this-name/x.csv", "there is no user 'nobody-of-this-name'"),
        ("n" * 300, "a part of this path is longer than 255 bytes"),
    ],
)
def test_a_manifest_of_a_name_that_cannot_be_is_named(images, name, reason):
    file = write(images, "path,pid,split", "a/1.jpg,anna,train")

    assert reason in message(manifest, file=name)
    assert reason in message(manifest, file=file, root=name)


def test_a_manifests_root_must_be_a_folder(images):
    file = write(images, "path,pid,split", "a/1.jpg,anna,train")

    assert message(manifest, file=file, root=images / "none") == (
        f"dataset manifest: root '{images / 'none'}' is not a folder"
    )

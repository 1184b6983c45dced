"""Packing and reading: bytes come back as they came, or the packing leaves nothing."""

import errno
import io
import json
import multiprocessing
import os
import pickle
import shutil
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import lmdb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from reid_core import ReidError
from reid_core.catalog import Catalog
from reid_core.contracts import SPLITS, ImageRecord, Listing
from reid_core.discovery import load_catalog
from reid_core.params.field_facts import path_names
from reid_core.params.validation import check_dataset_entry
from reid_core.storage import image_writer
from reid_core.storage.dataset_stores import Stores
from reid_core.storage.fingerprints import fingerprint
from reid_core.storage.listing_checks import check_listing, published_differences
from reid_core.storage.packing import pack, verify
from reid_core.storage.store import Store
from stores import overwrite, resigned

SOURCE = {"name": "test", "params": {}}
fork_is_fine_here = pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")


def encoded(image_format="JPEG", seed=0, size=(8, 16)):
    """Return an image file's bytes."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, image_format)
    return buffer.getvalue()


def record(name="a.jpg", data=None, **facts):
    facts = {"split": "train", "pid": "1", "camid": 0, **facts}
    source = facts.pop("source", lambda: encoded() if data is None else data)
    return ImageRecord(name=name, source=source, **facts)


def some_records(count=5):
    return [
        record(f"{i}.png", encoded("PNG", i), pid=str(i % 2), camid=i % 3) for i in range(count)
    ]


def packed(folder, records=None, name="store"):
    return pack(Listing(records or some_records()), folder / name, SOURCE)


def left_in(folder):
    """Return what lies in a folder beside lock files."""
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


# ---- the round trip ---------------------------------------------------------------------

texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=9)
facts = st.fixed_dictionaries(
    {
        "split": st.sampled_from(SPLITS),
        "pid": st.none() | texts.filter(bool),
        "camid": st.integers(-1, 2**40),
        "junk": st.booleans(),
        "distractor": st.booleans(),
    }
)
images = st.builds(
    encoded,
    st.sampled_from(["JPEG", "PNG", "BMP"]),
    st.integers(0, 99),
    st.tuples(st.integers(1, 20), st.integers(1, 20)),
)


@settings(deadline=None, max_examples=25)
@given(st.lists(st.tuples(texts, images, facts), min_size=1, max_size=8, unique_by=lambda r: r[0]))
def test_bytes_and_index_come_back_as_they_came(tmp_path_factory, content):
    folder = tmp_path_factory.mktemp("round-trip")
    store = packed(folder, [record(name, data, **f) for name, data, f in content])
    assert [store.read(i) for i in range(len(store))] == [data for _, data, _ in content]
    index = store.index
    assert index.name.tolist() == [name for name, _, _ in content]
    for field in ("split", "pid", "camid", "junk", "distractor"):
        given = [f[field] for _, _, f in content]
        assert getattr(index, field).tolist() == ["" if fact is None else fact for fact in given]
    for split in SPLITS:
        expected = [i for i, (_, _, f) in enumerate(content) if f["split"] == split]
        assert index.positions(split).tolist() == expected
    verify(store)


def test_an_image_comes_back_as_rgb_pixels(tmp_path):
    store = packed(tmp_path, [record(data=encoded("PNG", 3))])
    expected = np.random.default_rng(3).integers(0, 256, (16, 8, 3), dtype=np.uint8)
    np.testing.assert_array_equal(np.asarray(store.image(0)), expected)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1"])
def test_images_of_every_mode_become_rgb(tmp_path, mode):
    buffer = io.BytesIO()
    image = Image.open(io.BytesIO(encoded("PNG"))).convert(mode)
    image.save(buffer, "TIFF" if mode == "CMYK" else "PNG")
    assert packed(tmp_path, [record(data=buffer.getvalue())]).image(0).mode == "RGB"


def test_a_palette_with_transparency_needs_no_warning(tmp_path):
    buffer = io.BytesIO()
    palette = Image.fromarray(np.array([[0, 1]], dtype=np.uint8)).convert("P")
    palette.save(buffer, "PNG", transparency=b"\0\x10")
    assert packed(tmp_path, [record(data=buffer.getvalue())]).image(0).size == (2, 1)


def test_statistics_count_identities_without_junk_and_distractors(tmp_path):
    records = [
        record("a.jpg", split="gallery", pid="1", camid=3),
        record("b.jpg", split="gallery", pid="2", camid=-1),
        record("c.jpg", split="gallery", pid="3", junk=True),
        record("d.jpg", split="gallery", pid="4", distractor=True),
        record("e.jpg", split="query", pid="1"),
        record("f.jpg", split="query", pid=None),
        record("g.jpg", split="query", pid=None, junk=True),
    ]
    store = packed(tmp_path, records)
    assert store.index.statistics() == {
        "gallery": {
            "images": 4,
            "identities": 2,
            "unidentified": 0,
            "cameras": 2,
            "without camera": 1,
            "junk": 1,
            "distractors": 1,
        },
        "query": {
            "images": 3,
            "identities": 1,
            "unidentified": 1,
            "cameras": 1,
            "without camera": 0,
            "junk": 1,
            "distractors": 0,
        },
    }
    assert store.manifest["statistics"] == store.index.statistics()
    assert store.manifest["source"] == SOURCE


def test_in_a_dataset_without_any_camera_none_is_missed(tmp_path):
    store = packed(tmp_path, [record("a.jpg", camid=-1), record("b.jpg", camid=-1)])
    (numbers,) = store.index.statistics().values()
    assert (numbers["cameras"], numbers["without camera"]) == (0, 0)


def test_an_existing_store_is_opened_and_not_packed_again(tmp_path):
    first = packed(tmp_path, [record("a.jpg")])
    second = packed(tmp_path, [record("b.jpg")])
    assert second.index.name.tolist() == first.index.name.tolist() == ["a.jpg"]


def test_packing_twice_makes_the_same_content_hash(tmp_path):
    one, two = packed(tmp_path, name="one"), packed(tmp_path, name="two")
    assert one.manifest["content_hash"] == two.manifest["content_hash"]


@pytest.mark.parametrize(
    "change",
    [{"pid": "9"}, {"camid": 7}, {"junk": True}, {"distractor": True}, {"split": "query"}],
)
def test_the_content_hash_changes_with_what_is_known_of_an_image(tmp_path, change):
    one = packed(tmp_path, [record()], "one")
    two = packed(tmp_path, [record(**change)], "two")
    assert one.manifest["content_hash"] != two.manifest["content_hash"]


def test_a_store_grows_beyond_its_first_size(tmp_path, monkeypatch):
    monkeypatch.setattr(image_writer, "FIRST_MAP_SIZE", 1 << 16)
    monkeypatch.setattr(image_writer, "COMMIT_BYTES", 5000)
    data = [encoded("BMP", i, (64, 64)) for i in range(40)]
    store = packed(tmp_path, [record(f"{i}.bmp", d) for i, d in enumerate(data)])
    assert sum(map(len, data)) > 7 * (1 << 16)
    assert [store.read(i) for i in range(40)] == data


def test_progress_is_reported_for_every_image(tmp_path):
    calls = []
    pack(Listing(some_records(3)), tmp_path / "store", SOURCE, lambda *c: calls.append(c))
    assert calls == [(1, 3), (2, 3), (3, 3)]


def test_file_names_that_are_not_utf8_can_be_packed(tmp_path):
    name = os.fsdecode(b"caf\xe9.jpg")
    store = packed(tmp_path, [record(name)])
    verify(store)
    assert store.index.name.tolist() == [name]


# ---- what is refused --------------------------------------------------------------------


def test_missing_and_damaged_images_are_all_listed_and_nothing_is_packed(tmp_path):
    (tmp_path / "data").mkdir()
    good, png = encoded(), encoded("PNG")
    files = {"good.jpg": good, "cut.jpg": good[: len(good) // 2], "text.jpg": b"no image"}
    files |= {"cut.png": png[: len(png) // 2], "empty.bmp": b""}
    for name, data in files.items():
        (tmp_path / "data" / name).write_bytes(data)
    names = [*files, "missing.jpg"]
    records = [record(name, source=tmp_path / "data" / name) for name in names]
    with pytest.raises(ReidError) as error:
        pack(Listing(records, tmp_path / "data"), tmp_path / "out" / "store", SOURCE)
    text = str(error.value)
    assert text.startswith("5 images cannot be read; nothing was packed:")
    assert "missing.jpg: No such file or directory" in text
    assert "\n  empty.bmp: the file is empty" in text
    for name in ("cut.jpg", "text.jpg", "cut.png"):
        assert f"\n  {name}: truncated or not an image" in text
    assert "good.jpg" not in text
    assert left_in(tmp_path / "out") == []


def test_an_image_that_claims_an_absurd_size_is_refused_by_name(tmp_path):
    data = bytearray(encoded("BMP"))
    data[18:26] = (60000).to_bytes(4, "little") * 2
    with pytest.raises(ReidError, match=r"bomb\.bmp: .*make it smaller"):
        packed(tmp_path, [record("bomb.bmp", bytes(data))])


def test_a_long_list_of_problems_is_cut_and_counted(tmp_path):
    records = [record(f"{i}.jpg", b"x") for i in range(25)]
    with pytest.raises(
        ReidError, match=r"25 images cannot be read(.|\n)*\n  \.\.\. and 20 more like this"
    ):
        packed(tmp_path, records)


def test_problems_of_the_listing_are_all_named(tmp_path):
    records = [
        record("a.jpg"),
        record("a.jpg"),
        record("a.jpg", split="query"),
        record("b.jpg", split="test"),
        record("c.jpg", camid=-2),
    ]
    with pytest.raises(ReidError) as error:
        packed(tmp_path, records)
    assert str(error.value).splitlines() == [
        "3 images cannot be used:",
        "  a.jpg: twice in split 'train'",
        "  b.jpg: unknown split 'test' (known: train, val, query, gallery, multi_query, extra)",
        "  c.jpg: camid -2; cameras count from 0, -1 is unknown",
    ]
    assert left_in(tmp_path) == []


def test_a_dataset_without_images_is_refused():
    with pytest.raises(ReidError, match="the dataset has no images"):
        check_listing(Listing([]))


@pytest.mark.parametrize("way", ["absolute", "dots", "link", "linked folder"])
def test_a_file_outside_the_data_folder_is_refused(tmp_path, way):
    root, outside = tmp_path / "data", tmp_path / "secret"
    root.mkdir()
    outside.mkdir()
    (outside / "a.jpg").write_bytes(encoded())
    if way == "link":
        (root / "a.jpg").symlink_to(outside / "a.jpg")
    elif way == "linked folder":
        (root / "sub").symlink_to(outside)
    source = {
        "absolute": outside / "a.jpg",
        "dots": root / ".." / "secret" / "a.jpg",
        "link": root / "a.jpg",
        "linked folder": root / "sub" / "a.jpg",
    }[way]
    with pytest.raises(ReidError, match=r"a\.jpg: lies outside the data folder .*data"):
        pack(Listing([record(source=source)], root), tmp_path / "store", SOURCE)


def test_a_link_inside_the_data_folder_is_fine(tmp_path):
    (tmp_path / "real.jpg").write_bytes(encoded())
    (tmp_path / "link.jpg").symlink_to(tmp_path / "real.jpg")
    listing = Listing([record(source=tmp_path / "link.jpg")], tmp_path)
    assert pack(listing, tmp_path / "store", SOURCE).read(0) == encoded()


def test_a_data_folder_that_is_itself_a_link_is_fine(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a.jpg").write_bytes(encoded())
    (tmp_path / "link").symlink_to(tmp_path / "real")
    listing = Listing([record(source=tmp_path / "link" / "a.jpg")], tmp_path / "link")
    assert len(pack(listing, tmp_path / "store", SOURCE)) == 1


# ---- atomic -----------------------------------------------------------------------------


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, MemoryError])
def test_an_exception_midway_leaves_nothing(tmp_path, error):
    def fail():
        raise error("midway")

    records = [*some_records(), record("last.jpg", source=fail)]
    with pytest.raises(error):
        packed(tmp_path, records)
    assert left_in(tmp_path) == []


def test_what_a_killed_packer_left_is_removed(tmp_path):
    leftover = tmp_path / ".store[1].packing-123"
    leftover.mkdir()
    (leftover / "images.lmdb").write_bytes(b"half")
    (tmp_path / ".other.packing-123").mkdir()
    packed(tmp_path, name="store[1]")
    assert left_in(tmp_path) == [".other.packing-123", "store[1]"]


def no_room(*_):
    raise lmdb.DiskError("mdb_txn_commit: No space left on device")


def test_a_full_disk_while_images_are_written_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(image_writer, "_commit", no_room)
    with pytest.raises(ReidError, match=r"store: cannot be written: the disk is full; what was"):
        packed(tmp_path)
    assert left_in(tmp_path) == []


def test_a_full_disk_while_the_index_is_written_leaves_nothing(tmp_path, monkeypatch):
    def savez(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(np, "savez", savez)
    with pytest.raises(ReidError, match="the disk is full"):
        packed(tmp_path)
    assert left_in(tmp_path) == []


def test_other_errors_of_the_disk_are_not_called_a_full_disk(tmp_path, monkeypatch):
    def broken(*_):
        raise lmdb.Error("mdb_txn_commit: Input/output error")

    monkeypatch.setattr(image_writer, "_commit", broken)
    with pytest.raises(ReidError, match="store: cannot be written: mdb_txn_commit: Input/output"):
        packed(tmp_path)
    assert left_in(tmp_path) == []


def test_a_disk_that_is_really_full_leaves_nothing(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a small disk can be mounted by root alone")
    try:
        records = [record(f"{i}.bmp", encoded("BMP", i, (128, 128))) for i in range(40)]
        with pytest.raises(ReidError, match="the disk is full"):
            packed(disk, records)
        assert left_in(disk) == []
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_place_that_cannot_be_written_is_an_error_and_no_traceback(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ReidError, match=r"store: cannot be written: (Not a directory|File exists)"):
        packed(tmp_path / "file", name="below/store")


# ---- opening ----------------------------------------------------------------------------


def test_opening_what_is_not_there_names_the_command(tmp_path):
    with pytest.raises(ReidError, match=r"absent: no such store; make it with: reid pack"):
        Store(tmp_path / "absent")


def test_a_store_of_another_format_is_refused(tmp_path):
    path = packed(tmp_path).path / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 99}))
    with pytest.raises(ReidError, match=r"store of format 99, this version reads format 3; pack"):
        Store(path.parent)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", "null", "[" * 99999, None])
def test_a_broken_manifest_is_refused(tmp_path, text):
    path = packed(tmp_path).path / "manifest.json"
    path.unlink() if text is None else path.write_text(text)
    with pytest.raises(ReidError, match=r"not a store of reid-core: manifest.json is missing or"):
        Store(path.parent)


@pytest.mark.parametrize(
    "damage", ["missing", "empty", "cut", "changed", "pickle", "array", "column"]
)
def test_a_damaged_index_is_refused(tmp_path, damage):
    path = packed(tmp_path).path / "index.npz"
    data = path.read_bytes()
    path.unlink()
    if damage == "pickle":
        path.write_bytes(pickle.dumps({"name": [1]}))
    elif damage == "array":
        with path.open("wb") as file:
            np.save(file, np.arange(3))
    elif damage == "column":
        np.savez(path, name=np.array(["a"]))
    elif damage != "missing":
        middle = len(data) // 2
        changed = data[:100] + bytes([data[100] ^ 255]) + data[101:]
        path.write_bytes({"empty": b"", "cut": data[:middle], "changed": changed}[damage])
    with pytest.raises(ReidError, match=r"index\.npz is missing or damaged \(.*pack the dataset"):
        Store(path.parent)


def test_an_index_of_objects_is_refused_and_not_unpickled(tmp_path):
    store = packed(tmp_path)
    pids = {"pid": store.index.pid.astype(object)}
    with pytest.raises(ReidError, match=r"index\.npz is missing or damaged .*pickled objects"):
        resigned(store.path, pids)


def test_an_index_of_another_store_is_refused(tmp_path):
    one, two = packed(tmp_path, name="one"), packed(tmp_path, [record()], "two")
    shutil.copy(two.path / "index.npz", one.path / "index.npz")
    with pytest.raises(ReidError, match=r"index\.npz is missing or damaged \(its checksum differs"):
        Store(one.path)
    with pytest.raises(ReidError, match=r"index\.npz has 5 images, manifest\.json 1; pack"):
        resigned(packed(tmp_path, name="three").path, images=1)


@pytest.mark.parametrize("size", [0, 4096, 9000])
def test_half_copied_images_are_refused_before_they_end_the_process(tmp_path, size):
    path = packed(tmp_path).path
    os.truncate(path / "images.lmdb" / "data.mdb", size)
    with pytest.raises(ReidError, match=rf"images\.lmdb has {size} bytes instead of \d+; copy it"):
        Store(path)


def test_missing_images_are_refused(tmp_path):
    path = packed(tmp_path).path
    shutil.rmtree(path / "images.lmdb")
    with pytest.raises(ReidError, match=r"images\.lmdb has 0 bytes instead of"):
        Store(path)


def test_overwritten_images_are_an_error_and_no_traceback(tmp_path):
    store = packed(tmp_path)
    file = store.path / "images.lmdb" / "data.mdb"
    file.write_bytes(b"\x55" * file.stat().st_size)
    with pytest.raises(ReidError, match=r"images\.lmdb is damaged \(.*pack the dataset again"):
        Store(store.path).read(0)


def test_a_record_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(ReidError, match=r"record 5 is missing; pack the dataset again"):
        packed(tmp_path).read(5)


def test_verify_finds_an_image_that_cannot_be_decoded(tmp_path):
    store = overwrite(packed(tmp_path), 2, encoded()[:50])
    with pytest.raises(ReidError, match=r"1 image of .* is damaged; pack(.|\n)*train/2\.png"):
        verify(store)
    with pytest.raises(ReidError, match=r"image '2\.png' cannot be decoded: .*reid pack --verify"):
        store.image(2)


def test_verify_finds_a_changed_byte_that_still_decodes(tmp_path):
    bmp = bytearray(encoded("BMP"))
    store = packed(tmp_path, [record(data=bytes(bmp))])
    verify(store)
    bmp[-1] ^= 1
    store = overwrite(store, 0, bytes(bmp))
    with pytest.raises(ReidError, match="the content differs from what was packed; pack it again"):
        verify(store)


def test_verify_finds_a_changed_identity(tmp_path):
    store = packed(tmp_path)
    changed = resigned(store.path, {"pid": np.roll(store.index.pid, 1)})
    with pytest.raises(ReidError, match="the content differs from what was packed"):
        verify(changed)


# ---- many readers -----------------------------------------------------------------------


def test_two_stores_of_one_path_live_side_by_side_in_a_process(tmp_path):
    one = packed(tmp_path)
    two = Store(one.path)
    assert one.read(0) == two.read(0)
    one.close()
    assert two.read(1) == one.read(1)


def test_a_pickled_store_leaves_its_open_file_behind(tmp_path):
    store = packed(tmp_path)
    first = store.read(0)
    assert pickle.loads(pickle.dumps(store)).read(0) == first


@fork_is_fine_here
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_many_processes_read_one_store(tmp_path, method):
    store = packed(tmp_path, some_records(40))
    here = [store.read(i) for i in range(40)]
    with multiprocessing.get_context(method).Pool(4) as pool:
        assert pool.map(store.read, range(40), chunksize=5) == here
    assert [store.read(i) for i in range(40)] == here


@fork_is_fine_here
def test_a_forked_child_reads_from_the_very_object_that_its_parent_uses(tmp_path):
    store = packed(tmp_path)
    first = store.read(0)
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=lambda: sender.send([store.read(i) for i in range(5)]))
    child.start()
    assert receiver.poll(20)
    seen = receiver.recv()
    child.join()
    assert seen[0] == first
    assert store.read(4) == seen[4]


PACK = """
    import sys, time
    from pathlib import Path
    from reid_core.contracts import ImageRecord, Listing
    from reid_core.storage.packing import pack

    data, target, place = Path(sys.argv[1]).read_bytes(), Path(sys.argv[2]), Path(sys.argv[3])
    read = 0

    def source():
        global read
        read += 1
        (place / f"{sys.argv[4]}-started").touch()
        time.sleep(0.03)
        return data

    records = [ImageRecord(f"{i}.jpg", "train", "1", 0, source) for i in range(20)]
    store = pack(Listing(records), target, {"name": "test", "params": {}})
    print(len(store), store.read(19) == data, read)
"""


def test_of_two_packers_one_packs_and_the_other_waits_for_it(tmp_path):
    (tmp_path / "a.jpg").write_bytes(encoded())
    target = tmp_path / "stores" / "store"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(PACK), tmp_path / "a.jpg", target, tmp_path, n],
            stdout=subprocess.PIPE,
            text=True,
        )
        for n in "ab"
    ]
    outputs = sorted(process.communicate(timeout=60)[0].split() for process in processes)
    assert outputs == [["20", "True", "0"], ["20", "True", "20"]]
    assert left_in(tmp_path / "stores") == ["store"]


def test_a_killed_packer_does_not_block_the_next_one(tmp_path):
    (tmp_path / "a.jpg").write_bytes(encoded())
    target = tmp_path / "store"
    arguments = [sys.executable, "-c", textwrap.dedent(PACK), tmp_path / "a.jpg", target, tmp_path]
    with subprocess.Popen([*arguments, "a"], stdout=subprocess.PIPE) as process:
        while not (tmp_path / "a-started").exists():
            time.sleep(0.01)
        process.kill()
    assert any(name.startswith(".store.packing-") for name in left_in(tmp_path))
    packed(tmp_path)
    assert left_in(tmp_path) == ["a-started", "a.jpg", "store"]


# ---- fingerprints and published numbers -------------------------------------------------


def test_the_fingerprint_changes_with_files_and_params(tmp_path):
    file = tmp_path / "a.jpg"
    file.write_bytes(encoded())
    listing = Listing([record(source=file)])
    first = fingerprint("test", {"a": 1}, listing)
    assert len(first) == 16
    assert first == fingerprint("test", {"a": 1}, listing)
    marks = {first, fingerprint("test", {"a": 2}, listing), fingerprint("other", {"a": 1}, listing)}
    for change in (
        {"pid": "2"},
        {"camid": 1},
        {"split": "query"},
        {"name": "b.jpg"},
        {"junk": True},
        {"distractor": True},
    ):
        marks.add(fingerprint("test", {"a": 1}, Listing([replace(listing.records[0], **change)])))
    os.utime(file, ns=(0, 0))
    marks.add(fingerprint("test", {"a": 1}, listing))
    file.write_bytes(encoded() + b"\0")
    os.utime(file, ns=(0, 0))
    marks.add(fingerprint("test", {"a": 1}, listing))
    assert len(marks) == 11


def test_the_fingerprint_of_images_made_by_code_changes_with_the_release(tmp_path):
    (tmp_path / "a.jpg").write_bytes(encoded())
    made, read = Listing([record()]), Listing([record(source=tmp_path / "a.jpg")])

    def mark(listing, distribution="one", version="1.0"):
        return fingerprint("test", {}, listing, distribution=distribution, version=version)

    assert mark(made) == mark(made)
    assert mark(made) != mark(made, version="1.1")
    assert mark(read) == mark(read, version="1.1")
    for listing in (made, read):
        assert mark(listing) != mark(listing, distribution="two")


def test_the_fingerprint_of_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(ReidError, match=r"gone\.jpg: cannot be read: No such file"):
        fingerprint("test", {}, Listing([record(source=tmp_path / "gone.jpg")]))


def test_differences_from_the_published_numbers_are_listed():
    records = [record("a.jpg"), record("b.jpg", pid="2"), record("c.jpg", pid="3", junk=True)]
    listing = Listing(records, published={"train": (2, 3), "query": (1, 5)})
    assert published_differences(listing) == [
        "query: 0 identities in 0 images; published are 1 in 5"
    ]


# ---- stores of a run --------------------------------------------------------------------

PEOPLE = {
    "train_identities": 2,
    "test_identities": 2,
    "cameras": 2,
    "distractors": 0,
    "junk": 0,
    "height": 16,
    "width": 8,
}


@pytest.fixture
def entry(catalog):
    """A function: the entry of a small drawn dataset, with other keys."""

    def make(**more):
        raw = {"name": "synthetic_market", "params": PEOPLE, **more}
        return check_dataset_entry(raw, catalog, "test")

    return make


def test_a_dataset_is_packed_once_and_found_again(entry, tmp_path, capsys):
    first = Stores(tmp_path).open(entry())
    said = capsys.readouterr().out
    assert f"packed synthetic_market: {len(first)} images into {tmp_path / 'stores'}" in said
    assert "  train: 8 images, 2 identities, 2 cameras" in said
    stores = Stores(tmp_path)
    assert stores.open(entry()).path == first.path.resolve()
    assert stores.open(entry(alias="again")) is stores.open(entry())
    assert capsys.readouterr().out == ""


def test_a_store_can_have_its_own_place(entry, tmp_path):
    place = tmp_path / "here"
    store = Stores(tmp_path).open(entry(store=str(place)))
    assert store.path == place.resolve()
    assert len(Stores(tmp_path).open(entry(store=str(place)))) == len(store)


def test_a_store_of_another_dataset_is_refused(entry, tmp_path):
    packed(tmp_path)
    with pytest.raises(ReidError, match=r"a store of 'test', not of 'synthetic_market'"):
        Stores(tmp_path).open(entry(store=str(tmp_path / "store")))


def test_a_store_of_other_params_is_refused(entry, tmp_path):
    place = str(tmp_path / "here")
    Stores(tmp_path).open(entry(store=place))
    other = entry(store=place, params={**PEOPLE, "cameras": 3, "height": 20})
    with pytest.raises(
        ReidError,
        match=r"here: a store of 'synthetic_market' with other params: cameras \(packed with 2, "
        r"now 3\), height \(packed with 16, now 20\); take these params, or name another 'store'",
    ):
        Stores(tmp_path).open(other)
    source = json.loads((Path(place) / "manifest.json").read_text())["source"]
    del source["params"]["junk"]  # as if the dataset had got this param since
    resigned(Path(place), source=source)
    assert Stores(tmp_path).open(entry(store=place)).path == Path(place)


def test_a_store_is_meant_to_be_moved(catalog, tmp_path):
    """It serves an entry whose raw data lie elsewhere, or nowhere."""
    folder = tmp_path / "data" / "train" / "anna"
    folder.mkdir(parents=True)
    (folder / "1.png").write_bytes(encoded("PNG"))

    def images(root, **params):
        raw = {"name": "image_folder", "params": {"root": str(root), "seed": 0, **params}}
        return check_dataset_entry({**raw, "store": str(tmp_path / "store")}, catalog, "test")

    store = Stores(tmp_path).open(images(tmp_path / "data"))
    assert Stores(tmp_path).open(images("gone")).path == store.path
    with pytest.raises(ReidError, match=r"other params: seed \(packed with 0, now 1\)"):
        Stores(tmp_path).open(images("gone", seed=1))


@pytest.mark.parametrize("name", ["market1501", "image_folder", "manifest"])
def test_where_raw_data_lie_is_marked_as_a_path(catalog, name):
    needed = {"manifest": {"file": "x.csv"}}.get(name, {"root": "x"})
    entry = check_dataset_entry({"name": name, "params": needed}, catalog, "test")
    assert "root" in path_names(type(entry.params))


DRAWN = """
import io

from PIL import Image

from reid_core import Component, hookimpl
from reid_core.contracts import ImageRecord, Listing

def draw():
    buffer = io.BytesIO()
    Image.new("RGB", (4, 8), "{color}").save(buffer, "PNG")
    return buffer.getvalue()

@hookimpl
def reid_dataset():
    records = [ImageRecord("a.png", "train", "1", 0, draw)]
    return [Component(name="drawn", build=lambda params: Listing(records), summary="-")]
"""


def test_two_packages_with_a_dataset_of_one_name_share_no_store(install_plugin, tmp_path):
    for color in ("red", "blue"):
        install_plugin(f"reid-{color}", {f"reid_{color}": DRAWN.format(color=color)})
    catalog = load_catalog()

    def drawn(color, **more):
        return check_dataset_entry({"name": f"reid-{color}:drawn", **more}, catalog, "test")

    stores = Stores(tmp_path)
    red, blue = (stores.open(drawn(color)) for color in ("red", "blue"))
    assert red.path != blue.path
    assert (red.image(0).getpixel((0, 0)), blue.image(0).getpixel((0, 0))) == (
        (255, 0, 0),
        (0, 0, 255),
    )
    with pytest.raises(ReidError, match="a store of 'reid-red:drawn', not of 'reid-blue:drawn'"):
        stores.open(drawn("blue", store=str(red.path)))


def test_a_release_that_draws_differently_packs_again(install_plugin, tmp_path):
    colors = []
    for version, color in (("1.0", "red"), ("1.1", "blue")):
        source = {f"reid_{color}": DRAWN.format(color=color)}
        install_plugin(f"reid-{color}", source, version=version)
        offers = [o for o in load_catalog().offers if o.component.name == "drawn"]
        offer = next(o for o in offers if o.version == version)
        catalog = Catalog([replace(offer, distribution="reid-drawn")])
        store = Stores(tmp_path).open(check_dataset_entry({"name": "drawn"}, catalog, "test"))
        colors.append(store.image(0).getpixel((0, 0)))
    assert colors == [(255, 0, 0), (0, 0, 255)]


def test_raw_files_may_vanish_once_a_run_has_opened_its_store(catalog, tmp_path):
    folder = tmp_path / "data" / "train" / "anna"
    folder.mkdir(parents=True)
    (folder / "1.png").write_bytes(encoded("PNG"))
    stores = Stores(tmp_path / "runs")
    params = {"root": str(tmp_path / "data")}
    image_folder = check_dataset_entry({"name": "image_folder", "params": params}, catalog, "test")
    store = stores.open(image_folder)
    shutil.rmtree(tmp_path / "data")
    assert stores.open(image_folder) is store

"""Stores with wrong bits, cut files, or that vanish: an error or the same, never a crash."""

import contextlib
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from damage import comparable, cuts, flips, outcomes
from reid_core import ReidError
from reid_core.checksums import signed
from reid_core.storage import image_file
from reid_core.storage import store as store_module
from reid_core.storage.image_file import ImageFile, data_file, followed_pages
from reid_core.storage.packing import verify
from reid_core.storage.store import Store
from stores import overwrite, packed, png, record, resigned

SECONDS = 20
"""After which a child that reads a damaged store counts as hanging."""


def small_pictures():
    """Pictures that lie in pages of LMDB together with the keys."""
    return [record(i, size=(4, 4)) for i in range(40)]


def large_pictures():
    """Pictures with pages of their own, and masks beside some."""
    mask = png(1, (40, 60), "L")
    return [
        record(i, size=(40, 60), extras={"mask": lambda: mask} if i % 3 else {}) for i in range(12)
    ]


@pytest.fixture(params=[small_pictures, large_pictures])
def store(request, tmp_path):
    return packed(tmp_path / "store", request.param(), {"mask": "mask"})


def everything(path):
    """Return all that a store holds."""
    store = Store(path)
    records = [store.read(i) for i in range(len(store))]
    for name, has in store.index.extras.items():
        records += [store.read(int(i), name) for i in np.flatnonzero(has)]
    return comparable(store.index.arrays()), store.manifest, hashlib.sha256(b"".join(records))


def facts(path):
    arrays, manifest, _ = everything(path.parent)
    return arrays, manifest


@pytest.mark.parametrize("name", ["index.npz", "manifest.json"])
def test_one_wrong_bit_in_what_is_known_of_the_images(store, name):
    path = store.path / name
    data, expected = path.read_bytes(), facts(path)
    found = outcomes(path, [*flips(data, 250), *cuts(data, 97)], facts, expected)
    assert found["changed"] == 0
    assert found["error"] > 200


def in_child(work):
    """Run a function in a forked child; return ``"same"``, ``"error"``, or what ended it."""
    child = os.fork()
    if child == 0:
        outcome = 2
        signal.alarm(SECONDS)
        with contextlib.suppress(BaseException):
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            try:
                outcome = 0 if work() else 3
            except ReidError:
                outcome = 1
        os._exit(outcome)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return signal.Signals(os.WTERMSIG(status)).name
    return {0: "same", 1: "error", 2: "another error", 3: "changed"}[os.WEXITSTATUS(status)]


def damaged_pages(data, pages, count, seed=0):
    """Yield copies of an LMDB's bytes with one wrong bit in some page, most in its first bytes."""
    rng = random.Random(seed)
    for number in range(count):
        page = int(rng.choice(pages)) if number % 4 else rng.randrange(len(data) // 4096)
        byte = rng.randrange(64 if number % 3 else 4096)
        damaged = bytearray(data)
        damaged[4096 * page + byte] ^= 1 << rng.randrange(8)
        yield bytes(damaged)


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_one_wrong_bit_in_the_pages_of_lmdb_ends_no_process(store):
    path = data_file(store.path)
    data, expected = path.read_bytes(), everything(store.path)[2].digest()
    pages = followed_pages(path, store.manifest["page_bytes"])
    store.close()
    found = []
    for damaged in damaged_pages(data, pages, 60):
        path.write_bytes(damaged)
        found.append(in_child(lambda: everything(store.path)[2].digest() == expected))
    assert set(found) <= {"same", "error"}
    assert found.count("error") > 30


def test_the_pages_that_lmdb_follows_are_few_where_pictures_are_large(tmp_path):
    store = packed(tmp_path / "store", large_pictures(), {"mask": "mask"})
    pages = followed_pages(data_file(store.path), 4096).tolist()
    every = data_file(store.path).stat().st_size // 4096
    assert pages[:2] == [0, 1], "the two that say where the tree begins"
    assert len(pages) < every / 4
    small = packed(tmp_path / "small", small_pictures())
    every = data_file(small.path).stat().st_size // 4096
    assert followed_pages(data_file(small.path), 4096).tolist() == list(range(every))


def test_a_wrong_bit_in_a_picture_is_found_when_it_is_read(store):
    changed = bytearray(store.read(2))
    changed[-20] ^= 1
    store = overwrite(store, 2, bytes(changed), digest=False)
    assert store.read(1)
    with pytest.raises(ReidError, match=r"record 2 \('train/2\.png'\) is damaged: its checksum"):
        store.image(2)
    with pytest.raises(ReidError, match=r"1 image of .* is damaged(.|\n)*record 2 \('train/2"):
        verify(store)


def test_equal_pictures_have_equal_digests_and_others_have_not(tmp_path):
    again = [record(i, source=lambda i=i: png(i % 3)) for i in range(6)]
    digests = packed(tmp_path / "store", again).index.digest
    assert digests.dtype == np.uint64
    assert digests[:3].tolist() == digests[3:].tolist()
    assert len(set(digests.tolist())) == 3


def test_an_index_without_checksums_is_refused(store, monkeypatch):
    monkeypatch.setattr(store_module, "DIGEST", "other.")
    with pytest.raises(ReidError, match=r"index\.npz is missing or damaged \(a checksum is miss"):
        Store(store.path)


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("pid", np.zeros(40)),
        ("camid", np.array(["1"] * 40)),
        ("junk", np.zeros((40, 1), dtype=bool)),
        ("digest.", np.zeros(40)),
        ("column.clothes", np.zeros(40)),
        ("strange", np.zeros(40)),
    ],
)
def test_an_array_of_the_index_of_another_type_is_named(tmp_path, name, array):
    store = packed(tmp_path / "store", small_pictures())
    with pytest.raises(ReidError, match=rf"index\.npz is missing or damaged \('{name}' is \S+ of "):
        resigned(store.path, {name: array})


def test_pages_of_another_type_or_outside_the_file_are_refused(tmp_path):
    store = packed(tmp_path / "store", small_pictures())
    pages = followed_pages(data_file(store.path), 4096)
    file = ImageFile(store.path, store.manifest["lmdb_bytes"])
    for wrong in (pages[:-1], pages + 1, -pages[::-1]):
        with pytest.raises(ReidError, match=r"images\.lmdb is damaged \(the checksum of its pages"):
            file.check_pages(4096, wrong, store.manifest["pages_checksum"])


@pytest.mark.parametrize("name", ["source", "images", "lmdb_bytes", "page_bytes", "extras"])
@pytest.mark.parametrize("value", [None, "x", 1.5])
def test_a_signed_manifest_with_a_wrong_value_is_refused(store, name, value):
    path = store.path / "manifest.json"
    manifest = {**json.loads(path.read_text()), name: value}
    path.write_text(json.dumps(signed({n: v for n, v in manifest.items() if n != "checksum"})))
    with pytest.raises(ReidError, match=rf"manifest\.json is damaged \('{name}' is missing or wr"):
        Store(store.path)


def test_an_absurdly_large_manifest_is_not_read(store, monkeypatch):
    monkeypatch.setattr("reid_core.checksums.LARGEST_JSON", 10)
    with pytest.raises(ReidError, match=r"not a store of reid-core: manifest\.json is missing or"):
        Store(store.path)


# ---- while it is read -------------------------------------------------------------------


@pytest.mark.parametrize("change", ["cut", "emptied", "longer"])
def test_a_file_that_changes_after_opening_is_an_error(store, change):
    store.read(0)
    file = data_file(store.path)
    size = file.stat().st_size
    os.truncate(file, {"cut": size - 4096, "emptied": 0, "longer": size + 1}[change])
    with pytest.raises(ReidError, match=r"images\.lmdb was changed while it was read: it has \d+ "):
        store.read(1)


def test_a_store_that_vanishes_is_an_error_that_says_so(store):
    store.read(0)
    shutil.rmtree(store.path)
    with pytest.raises(ReidError, match=r"images\.lmdb cannot be read any more: No such file or d"):
        store.read(1)


def test_a_disk_that_fails_is_an_error(store, monkeypatch):
    def fail(*_):
        raise OSError(5, os.strerror(5))

    monkeypatch.setattr(image_file.os, "stat", fail)
    with pytest.raises(ReidError, match="cannot be read any more: Input/output error; bring its"):
        store.read(0)


def test_another_store_at_the_same_place_is_read_afresh(tmp_path):
    first = packed(tmp_path / "store", [record(0)])
    old = first.read(0)
    shutil.rmtree(first.path)
    second = packed(tmp_path / "store", [record(1)])
    assert second.read(0) == png(1) != old


FORKED = """
    import os, signal, sys, threading, warnings
    from pathlib import Path
    from reid_core.storage.store import Store

    warnings.simplefilter("ignore")
    store, is_over = Store(Path(sys.argv[1])), threading.Event()

    def read():
        while not is_over.is_set():
            store.read(0)

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    outcomes = []
    for _ in range(10):
        child = os.fork()
        if child == 0:
            signal.alarm(5)
            first = store.read(1)
            store.close()
            os._exit(0 if store.read(1) == first else 1)
        outcomes.append(os.waitpid(child, 0)[1])
    is_over.set()
    print(outcomes)
"""


def test_a_forked_child_can_close_while_threads_of_its_parent_read(store):
    command = [sys.executable, "-c", textwrap.dedent(FORKED), str(store.path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=True)
    assert done.stdout.strip() == str([0] * 10)

"""Paths that are no files, that the system refuses, or that no system has: one message, no wait."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest
from filelock import FileLock, Timeout

from reid_core import ReidError
from reid_core.cli import main
from reid_core.files import LONGEST_PATH, user_path
from reid_core.locks import file_lock
from reid_core.params.json_file import LARGEST_FILE, read_json
from reid_core.params.validation import check_run_params
from reid_core.run_directory import new_run_path

SMALL = ["train_identities=2", "test_identities=2", "cameras=2", "distractors=0", "junk=0"]


@pytest.fixture
def refused(capsys):
    """A function: the one line that a command which is refused prints."""

    def run(*arguments):
        assert main([str(a) for a in arguments]) == 2
        captured = capsys.readouterr()
        assert captured.err.startswith("error: ")
        assert captured.err.count("\n") == 1
        assert "failed: " not in captured.err
        return captured.err

    return run


# ---- what is read -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "what"),
    [
        ("/dev/zero", "is a device; name a file"),
        ("/dev/null", "is a device; name a file"),
        ("/", "a folder, and a params file is expected"),
    ],
)
def test_check_reads_files_alone(refused, place, what):
    assert f"{place}: {what}" in refused("check", place)


def test_check_waits_for_no_writer_of_a_pipe(refused, tmp_path):
    os.mkfifo(tmp_path / "p.json")
    assert "p.json: is a pipe; name a file" in refused("check", tmp_path / "p.json")


def test_check_reads_no_more_than_params_have(refused, tmp_path):
    with (tmp_path / "p.json").open("wb") as file:
        file.truncate(LARGEST_FILE * 1000)  # of no bytes on the disk
    assert "p.json: larger than 64 MB" in refused("check", tmp_path / "p.json")


def test_a_link_to_itself_and_a_name_too_long_are_one_message(refused, tmp_path):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert "Too many levels of symbolic links" in refused("check", tmp_path / "loop")
    assert "File name too long" in refused("check", tmp_path / ("x" * 300))
    assert "characters)" in refused("check", "/".join(["x" * 200] * 30))


# ---- what no path can have --------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("working_dir", "a\0b"),
        ("data.train.0.store", "a\0b"),
        ("data.train.0.params.root", "a\0b"),
        ("train.pretrain_snapshot", "a\0b"),
        ("loss.0.branches", ["a\0b"]),
    ],
)
def test_nul_is_refused_with_the_params_wherever_it_stands(
    tiny_params, tiny_catalog, refused, tmp_path, path, value
):
    file = tmp_path / "p.json"
    folder = {"name": "image_folder", "params": {"root": str(tmp_path)}}
    raw = {**tiny_params, "data": {"train": [folder]}}
    file.write_text(json.dumps(raw))
    word = path.rpartition(".")[2]
    message = refused("check", file, "--set", f"{path}={json.dumps(value)}")
    assert f"'{word}' holds the character NUL" in message
    assert "\0" not in message


def test_nul_is_refused_where_no_params_stand():
    with pytest.raises(ReidError, match="holds the character NUL"):
        user_path("a\0b")
    with pytest.raises(ReidError, match="holds the character NUL"):
        read_json(Path("a\0b"))
    with pytest.raises(ReidError, match="cannot name a new run"):
        new_run_path("runs", "a\0b")


def test_paths_longer_than_a_system_takes_are_refused(tiny_params, tiny_catalog):
    long = "/".join(["x" * 200] * 30)
    with pytest.raises(ReidError, match=f"this path is longer than {LONGEST_PATH} bytes"):
        user_path(long)
    assert (
        check_run_params({**tiny_params, "working_dir": "x"}, tiny_catalog, "p").working_dir == "x"
    )


# ---- what is written --------------------------------------------------------------------


@pytest.mark.parametrize("place", ["/proc/x", "/proc/self/x", "/dev/full", "/dev/null/x", "/sys/x"])
def test_packing_where_nothing_can_be_is_one_message(refused, place):
    settings = [word for one in SMALL for word in ("--set", one)]
    message = refused("pack", "--dataset", "synthetic_market", *settings, "--out", place)
    assert f"{place}: cannot be written: " in message


def test_packing_through_a_link_to_itself_is_one_message(refused, tmp_path):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    settings = [word for one in SMALL for word in ("--set", one)]
    out = ["--out", tmp_path / "loop" / "x"]
    assert "cannot be written" in refused("pack", "--dataset", "synthetic_market", *settings, *out)


def test_a_very_long_place_for_a_store_is_one_message(refused):
    settings = [word for one in SMALL for word in ("--set", one)]
    out = ["--out", "/".join(["x" * 200] * 30)]
    message = refused("pack", "--dataset", "synthetic_market", *settings, *out)
    assert "longer than 3800 bytes" in message


# ---- locks ------------------------------------------------------------------------------


def test_a_lock_that_cannot_be_made_is_not_waited_for():
    with pytest.raises(OSError, match="No such file"), file_lock("/proc/x.lock"):
        raise AssertionError("there is no lock")


def test_a_lock_keeps_others_out_until_it_is_given_back(tmp_path):
    path = tmp_path / "lock"
    with file_lock(path), pytest.raises(Timeout), file_lock(path, timeout=0):
        raise AssertionError("it is held twice")
    with file_lock(path, timeout=0):
        assert path.exists()


def test_a_file_system_without_locks_is_said(tmp_path, monkeypatch):
    def no_locks(self, timeout):
        raise NotImplementedError("FileSystem does not appear to support flock")

    monkeypatch.setattr(FileLock, "acquire", no_locks)
    with pytest.raises(ReidError, match="no locks between processes"), file_lock(tmp_path / "l"):
        raise AssertionError("there is no lock")


def test_a_lock_is_waited_for(tmp_path):
    held, free = threading.Event(), threading.Event()

    def hold():
        with file_lock(tmp_path / "lock"):
            held.set()
            free.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(30)
    free.set()
    with file_lock(tmp_path / "lock", timeout=30):
        thread.join(30)
    assert not thread.is_alive()

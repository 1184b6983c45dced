"""The folder of a run: which names it may have, and who may use it."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

from reid_core import ReidError
from reid_core.contracts import Translation
from reid_core.files import remove_leftovers
from reid_core.params.json_file import read_json
from reid_core.params.validation import check_run_params
from reid_core.run_directory import RunDirectory, new_run_path
from reid_core.storage.packing import remove_packing_leftovers


@pytest.fixture
def params(catalog, tiny_params):
    """Checked params; their working_dir is not there yet."""
    return check_run_params(tiny_params, catalog, "p")


def message(*arguments):
    with pytest.raises(ReidError) as caught:
        new_run_path(*arguments)
    return str(caught.value)


def test_a_run_lies_below_the_working_directory(params):
    folder = Path(params.working_dir)
    assert new_run_path(params.working_dir, "first") == folder / "first"
    assert new_run_path(params.working_dir, "a/b") == folder / "a" / "b"
    assert new_run_path(params.working_dir, "n" * 240) == folder / ("n" * 240)
    assert new_run_path(params.working_dir, "").parent == folder
    assert not folder.exists()


def test_the_home_directory_is_expanded(params, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    params = params.model_copy(update={"working_dir": "~/runs"})
    assert new_run_path(params.working_dir, "x") == tmp_path / "runs" / "x"


@pytest.mark.parametrize("name", ["../x", "a/../../x", "..", ".", "/x", "stores", "stores/x"])
def test_a_name_that_is_no_place_for_a_run_is_refused(params, name):
    assert message(params.working_dir, name) == (
        f"--sub_working_dir: '{name}' cannot name a new run: it must be a name below "
        "working_dir, and not 'stores', where the datasets are"
    )


@pytest.mark.parametrize("name", ["n" * 300, "n" * 241, "ü" * 121, "a/" + "n" * 300])
def test_a_name_that_is_too_long_is_refused(params, name):
    text = message(params.working_dir, name)
    assert "is too long to name a new run; give it 240 characters or fewer" in text
    assert len(text) < 200


def test_the_longest_name_can_be_made(params):
    path = new_run_path(params.working_dir, "n" * 240)
    assert RunDirectory.create(path, params.model_dump(mode="json"), None).params.is_file()


@pytest.mark.parametrize(
    ("working_dir", "reason"),
    [
        ("~nobody-of-this-name/runs", "there is no user 'nobody-of-this-name'"),
        ("n" * 300, "a part of this path is longer than 255 bytes"),
        ("file", "working_dir: no run 'x' can be made in 'file': Not a directory"),
    ],
)
def test_a_working_dir_that_cannot_be_is_named(tmp_path, monkeypatch, working_dir, reason):
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("")
    text = message(working_dir, "x")
    assert reason in text


def test_two_starts_with_one_name_leave_one_run(params):
    params = params.model_copy(update={"working_dir": f"{params.working_dir} of me"})
    one, two = (new_run_path(params.working_dir, "same") for _ in range(2))
    RunDirectory.create(one, params.model_dump(mode="json"), None)
    before = (one / "params.json").stat().st_mtime_ns
    with pytest.raises(ReidError) as caught:
        RunDirectory.create(two, params.model_dump(mode="json"), None)
    assert str(caught.value) == message(params.working_dir, "same")
    assert str(caught.value) == (
        f"{one}: exists already; choose another --sub_working_dir, or continue that run with: "
        f"reid train --operation resume_train --sub_working_dir '{one}'"
    )
    assert shlex.split(str(caught.value).partition("with: ")[2])[-1] == str(one)
    assert (one / "params.json").stat().st_mtime_ns == before
    assert [path.name for path in one.parent.iterdir()] == ["same"]


def test_the_translation_of_another_systems_params_is_kept(params, tmp_path):
    translation = Translation({"train": {"epochs": 7}}, ("passes: became train.epochs",))
    run = RunDirectory.create(tmp_path / "x", params.model_dump(mode="json"), translation)
    assert json.loads((run.path / "translation.json").read_text(encoding="utf-8")) == {
        "params": {"train": {"epochs": 7}},
        "notes": ["passes: became train.epochs"],
    }
    other = RunDirectory.create(tmp_path / "y", params.model_dump(mode="json"), None)
    assert [path.name for path in other.path.iterdir()] == ["params.json"]


def test_a_working_dir_that_is_a_file_is_named_when_the_run_is_made(params, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ReidError, match=r"file/x: cannot be written: (File exists|Not a dir)"):
        RunDirectory.create(tmp_path / "file" / "x", params.model_dump(mode="json"), None)


@pytest.mark.parametrize("name", ["absent", "n" * 300])
def test_a_directory_that_is_no_run_is_named(tmp_path, name):
    with pytest.raises(ReidError, match=r": no run directory \(params\.json is not there\)$"):
        RunDirectory.open(tmp_path / name)


@pytest.mark.parametrize("content", [b"{", b"", b"[]", b"\xff", b'{"a": NaN}', b'{"a":1,"a":2}'])
def test_damaged_params_are_an_error(params, tmp_path, content):
    run = RunDirectory.create(tmp_path / "x", params.model_dump(mode="json"), None)
    assert read_json(run.params) == params.model_dump(mode="json")
    run.params.write_bytes(content)
    with pytest.raises(ReidError, match=r"^\S+/x/params\.json: "):
        read_json(run.params)


def locked(path):
    """Return the text of the error that training in a folder leads to."""
    with pytest.raises(ReidError) as caught, RunDirectory(path).locked():
        pass
    return str(caught.value)


def test_one_process_trains_in_a_run(params, tmp_path):
    run = RunDirectory.create(tmp_path / "x", params.model_dump(mode="json"), None)
    with run.locked():
        assert locked(run.path) == f"{run.path}: another process is training here"
    (tmp_path / "file").write_text("")
    assert locked(tmp_path / "file").startswith(f"{tmp_path / 'file'}: cannot be written: ")


# ---- links and leftovers ----------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["metrics.jsonl", ".lock", "params.json", "checkpoints", "weights/best.safetensors", "own/x"],
)
@pytest.mark.parametrize("leads", ["to a file", "to a folder", "nowhere"])
def test_a_link_in_a_run_is_refused_and_what_it_leads_to_is_untouched(
    params, tmp_path, name, leads
):
    run = RunDirectory.create(tmp_path / "x", params.model_dump(mode="json"), None)
    outside = tmp_path / "outside"
    if leads == "to a folder":
        outside.mkdir()
    elif leads == "to a file":
        outside.write_text("theirs")
    link = run.path / name
    link.parent.mkdir(exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(outside)
    assert locked(run.path).startswith(f"{link}: is a link, and a run writes into no file or fold")
    assert outside.exists() == (leads != "nowhere")
    assert not outside.is_file() or outside.read_text() == "theirs"


def test_a_run_may_itself_be_reached_through_a_link(params, tmp_path):
    run = RunDirectory.create(tmp_path / "x", params.model_dump(mode="json"), None)
    (tmp_path / "link").symlink_to(run.path)
    with RunDirectory(tmp_path / "link").locked():
        assert (run.path / ".lock").exists()


@pytest.fixture
def gone():
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_only_what_a_process_that_is_gone_has_left_is_removed(params, tmp_path, gone):
    run = RunDirectory.create(tmp_path / "x", params.model_dump(mode="json"), None)
    names = [f".a.{gone}.tmp", f"weights/.b.{gone}.tmp", f"eval/features/.c.{gone}.tmp"]
    kept = [f".a.{os.getppid()}.tmp", ".of somebody.tmp", f"b.{gone}.tmp", ".x.99999999999999.tmp"]
    for name in (*names, *kept):
        path = run.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("half")
    remove_leftovers(run.path, untouched_for=600)
    assert all((run.path / name).exists() for name in (*names, *kept))
    run.remove_leftovers()
    assert [name for name in (*names, *kept) if (run.path / name).exists()] == kept


def test_half_packed_stores_of_processes_that_are_gone_are_removed(tmp_path, gone):
    old = [tmp_path / f".{name}.packing-{gone}" for name in ("a", "locked", "young")]
    mine = tmp_path / f".b.packing-{os.getpid()}"
    for folder in (*old, mine):
        folder.mkdir()
        (folder / "images.lmdb").write_bytes(b"half")
        if "young" not in folder.name:
            os.utime(folder, (1, 1))
    with FileLock(tmp_path / "locked.lock"):
        remove_packing_leftovers(tmp_path)
    left = sorted(path.name for path in tmp_path.glob(".*"))
    assert left == sorted(path.name for path in (*old[1:], mine))
    remove_packing_leftovers(tmp_path / "absent")

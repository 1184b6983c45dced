"""What a run says of itself: its text log, the times of its lines, the record of its starts."""

from __future__ import annotations

import copy
import json
import os
import re
import shlex
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest

from reid_core import ReidError
from reid_core.console import say
from reid_core.interrupt import Interrupted
from reid_core.params.validation import check_run_params
from reid_core.run_directory import RunDirectory
from reid_core.runs.run import Run
from reid_core.runs.start_and_resume import resume_train, start_train
from reid_core.runs.text_log import TextLog, logged

pytestmark = pytest.mark.usefixtures("one_thread")

LINE = re.compile(r"(\S+) (.*)")


@pytest.fixture
def start(tiny_catalog, tiny_params):
    """A function that trains a tiny network; it returns the run."""

    def run(name="run", **changes):
        raw = {**copy.deepcopy(tiny_params), "backbone": {"name": "tiny"}, "evaluation": []}
        raw["train"] = {**raw["train"], **changes}
        return start_train(check_run_params(raw, tiny_catalog, "test"), tiny_catalog, name)

    return run


def resume(run, catalog):
    params = check_run_params(json.loads(run.params.read_text()), catalog, "test")
    return resume_train(run.path, catalog, params)


def logged_lines(run):
    """Return the lines of the log without their times, which are looked at."""
    found = []
    for line in (run.path / "log.txt").read_text().splitlines():
        time, text = LINE.fullmatch(line).groups()
        assert datetime.fromisoformat(time).tzinfo is not None
        found.append(text)
    return found


def test_the_log_has_what_was_printed_between_its_beginning_and_its_end(start, capsys):
    run = start()
    printed = capsys.readouterr().out.splitlines()
    first, *texts, last = logged_lines(run)
    assert first == f"start at step 0: {shlex.join(sys.argv)}"
    assert last == "ended"
    assert texts == printed[-len(texts) :]
    assert any(text.startswith("weights: ") for text in texts)
    (epoch,) = [text for text in texts if text.startswith("epoch 2/2: ")]
    assert re.search(r", \d+ s left, .*, run \d+ s, 0 s left$", epoch.replace("min ", ""))


def test_a_stopped_and_resumed_run_has_both_starts(start, tiny_catalog, tiny_params, monkeypatch):
    def stop(self):
        raise Interrupted(2, "stopped after step 1")

    with monkeypatch.context() as patched:
        patched.setattr(Run, "_stop_if_asked", stop)
        with pytest.raises(Interrupted):
            start()
    run = resume(RunDirectory(Path(tiny_params["working_dir"], "run")), tiny_catalog)
    texts = logged_lines(run)
    assert [t for t in texts if t.startswith(("start ", "stopped", "ended"))] == [
        f"start at step 0: {shlex.join(sys.argv)}",
        "stopped after step 1",
        f"start at step 0: {shlex.join(sys.argv)}",
        "ended",
    ]
    record = json.loads(run.environment.read_text())
    assert len(record["starts"]) == 2
    times = [datetime.fromisoformat(one["time"]) for one in record["starts"]]
    assert times == sorted(times)
    assert set(record["starts"][0]) >= {"command", "torch", "device", "git", "python"}


def test_every_line_of_the_record_has_its_time(start):
    run = start()
    lines = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    times = [datetime.fromisoformat(line["time"]) for line in lines]
    assert len(times) > 1
    assert times == sorted(times)


def test_a_link_or_a_pipe_in_place_of_the_log_is_refused(tmp_path):
    outside = tmp_path / "outside"
    outside.write_text("mine")
    (tmp_path / "link").symlink_to(outside)
    os.mkfifo(tmp_path / "pipe")
    for name, what in (("link", "is a link"), ("pipe", "is no ordinary file|No such device")):
        with pytest.raises(ReidError, match=what):
            TextLog(tmp_path / name)
    assert outside.read_text() == "mine"


def test_lines_are_filtered_and_begin_after_a_torn_one(tmp_path):
    path = tmp_path / "log.txt"
    path.write_text("torn")
    with pytest.raises(ReidError), logged(path, "start"):
        raise ReidError("a\x1b[31m\nb", "c")
    torn, *lines = path.read_text().splitlines()
    texts = [LINE.fullmatch(line).group(2) for line in lines]
    assert (torn, texts) == ("torn", ["start", r"error: a\x1b[31m\nb", "c"])


def test_a_log_that_fails_is_said_once_and_ends_nothing(tmp_path, monkeypatch, capsys):
    def full(file, data):
        raise OSError(28, "No space left on device")

    with logged(tmp_path / "log.txt", "start"):
        monkeypatch.setattr(os, "write", full)
        say("one")
        say("two")
        monkeypatch.undo()
    out = capsys.readouterr().out
    assert out.count("cannot be written: No space left on device; the run goes on without it") == 1
    assert [line for line in out.splitlines() if line in ("one", "two")] == ["one", "two"]


@pytest.mark.parametrize(
    ("redirection", "status", "reason"),
    [
        ("> /dev/full", 74, "[Errno 28] No space left on device"),
        ("| true; exit ${PIPESTATUS[0]}", 141, "[Errno 32] Broken pipe"),
    ],
)
def test_a_training_whose_output_fails_trains_to_its_end(
    tmp_path, tiny_params, redirection, status, reason
):
    path = tmp_path / "p.json"
    path.write_text(json.dumps({**tiny_params, "evaluation": []}))
    code = (
        "import sys, time; from reid_core.cli import main; time.sleep(1);"
        f"sys.exit(main(['train', '--config_path', {str(path)!r}, '--sub_working_dir', 'run']))"
    )
    command = f'"$0" -c "$1" {redirection}'
    done = subprocess.run(
        ["bash", "-c", command, sys.executable, code], capture_output=True, text=True, timeout=240
    )
    assert "Traceback" not in done.stderr
    assert done.returncode == status, done.stderr
    run = Path(tiny_params["working_dir"], "run")
    assert (run / "weights" / "last.safetensors").is_file()
    log = (run / "log.txt").read_text()
    assert log.endswith(" ended\n")
    assert log.count(f"standard output cannot be written: {reason}") == 1

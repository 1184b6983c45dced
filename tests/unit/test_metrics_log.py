"""The record of a run: what a line says of the time."""

import json
from types import SimpleNamespace

import pytest
import torch

from reid_core import ReidError
from reid_core.contracts import Progress
from reid_core.run_directory import RunDirectory
from reid_core.runs import metrics_log
from reid_core.runs.record_file import open_record
from reid_core.training.module import StepResult


def test_a_line_says_how_many_images_were_trained_in_a_second_since_the_last(tmp_path, monkeypatch):
    now = iter([100.0, 104.0, 105.0])
    monkeypatch.setattr(metrics_log, "time", SimpleNamespace(monotonic=lambda: next(now)))
    directory = RunDirectory(tmp_path)
    log = metrics_log.RunLog(directory, keep_bytes=0, step=0, every=2)
    result = StepResult(torch.tensor(1.0), {"softmax": torch.tensor(1.0)}, {})
    for step in range(4):
        log.step(Progress(0, 1, step, 10), result, {"new": 0.1}, images=6)
    log.close()
    lines = [json.loads(line) for line in directory.metrics.read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 4]
    assert [line["images_per_second"] for line in lines] == [
        pytest.approx(2 * 6 / 4),
        pytest.approx(2 * 6 / 1),
    ]


# ---- what belongs to a checkpoint -------------------------------------------------------

LINES = b'{"step": 1}\n{"step": 2}\n{"step": 3}\n'


def test_a_resumed_record_ends_with_its_checkpoint(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(LINES)
    with open_record(path, 24) as file:
        file.write("more\n")
    assert path.read_bytes() == LINES[:24] + b"more\n"
    with open_record(path, 0) as file:
        file.write("new\n")
    assert path.read_bytes() == b"new\n"


def test_a_hard_link_of_the_record_keeps_what_it_had(tmp_path):
    path, backup = tmp_path / "metrics.jsonl", tmp_path / "backup"
    path.write_bytes(LINES)
    backup.hardlink_to(path)
    with open_record(path, 12) as file:
        file.write("more\n")
    assert backup.read_bytes() == LINES


def test_a_record_that_is_a_link_is_refused(tmp_path):
    path, outside = tmp_path / "metrics.jsonl", tmp_path / "outside"
    outside.write_bytes(LINES)
    path.symlink_to(outside)
    with pytest.raises(ReidError, match=r"metrics\.jsonl: is a link, and no file is written in"):
        open_record(path, 12)
    assert outside.read_bytes() == LINES


@pytest.mark.parametrize(("content", "found"), [(LINES[:20], 20), (b"", 0), (None, 0)])
def test_lines_that_are_lost_are_an_error_that_says_what_to_do(tmp_path, content, found):
    path = tmp_path / "metrics.jsonl"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ReidError) as caught:
        open_record(path, 24)
    assert str(caught.value) == (
        f"{path}: has {found} bytes, and 24 were written before the checkpoint: lines are lost. "
        "Put a copy of the file back; without one, start a new run from the weights of this one "
        "with train.pretrain_snapshot"
    )
    assert (path.read_bytes() if path.exists() else None) == content


def test_a_record_that_was_changed_is_an_error(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(LINES)
    with pytest.raises(ReidError, match="the checkpoint ends within a line of it: the file was"):
        open_record(path, 23)

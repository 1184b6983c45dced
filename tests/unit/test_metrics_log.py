"""The record of a run: what a line says of the time."""

import json
from types import SimpleNamespace

import pytest
import torch

from reid_core.contracts import Progress
from reid_core.run_directory import RunDirectory
from reid_core.runs import metrics_log
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

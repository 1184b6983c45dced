"""The lines of metrics.jsonl: a killed run's half line is left out, other damage is told."""

import json

import pytest

from reid_core import ReidError
from reid_core.metrics_file import read_metrics

TRAIN = {"kind": "train", "step": 1, "epoch": 0.5, "total": 2, "losses": {"a": 2.0}, "rates": {}}
SCORE = {
    "kind": "evaluation",
    "step": 2,
    "epoch": 1,
    "evaluation": "market_evaluate",
    "target": "people",
    "primary": "mAP",
    "metrics": {"mAP": 0.5},
}
BASELINE = {**SCORE, "kind": "baseline", "name": "histogram"}
CALLBACK = {"kind": "callback", "step": 2, "epoch": 1, "name": "mine", "values": {"x": 1}}
OTHER = {"kind": "of a plugin", "step": 3}
FREE = [(BASELINE, "epoch"), (BASELINE, "primary")]
"""What only an evaluation must have."""
LINES = [TRAIN, SCORE, BASELINE, CALLBACK, OTHER]


@pytest.fixture
def read(tmp_path):
    def read_lines(lines, end=""):
        path = tmp_path / "metrics.jsonl"
        path.write_text("".join(json.dumps(line) + "\n" for line in lines) + end)
        return read_metrics(path)

    return read_lines


def test_right_lines_come_back(read):
    assert read(LINES) == LINES
    assert read([]) == []


@pytest.mark.parametrize("end", ["{", '{"kind": "train", "st', '{"kind": "train", "step": 4}'])
def test_half_a_line_at_the_end_is_left_out(read, end):
    assert read(LINES, end) == LINES


@pytest.mark.parametrize(
    ("line", "key"),
    [
        (line, key)
        for line in (TRAIN, SCORE, BASELINE, CALLBACK)
        for key in line
        if key not in ("kind", "step") and (line, key) not in FREE
    ],
)
@pytest.mark.parametrize("value", [None, True, [], {"a": "b"}])
def test_every_field_is_checked(read, line, key, value):
    with pytest.raises(ReidError, match=rf"metrics\.jsonl: the record is damaged: line 2: '{key}'"):
        read([TRAIN, {**line, key: value}, OTHER])


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ([], "it is not a JSON object"),
        ({"step": 1}, "it has no 'kind' and 'step'"),
        ({"kind": "train"}, "it has no 'kind' and 'step'"),
        ({**SCORE, "primary": "rank1"}, "'rank1' is none of its metrics"),
    ],
)
def test_a_line_that_is_none(read, line, problem):
    with pytest.raises(ReidError, match=f"line 1: {problem}"):
        read([line, TRAIN])


def test_lines_that_are_no_text(tmp_path):
    path = tmp_path / "metrics.jsonl"
    with pytest.raises(ReidError, match="missing or damaged"):
        read_metrics(path)
    path.write_bytes(b"\xff\xfe\n")
    with pytest.raises(ReidError, match="missing or damaged"):
        read_metrics(path)
    path.write_text("[" * 100_000 + "\n")
    with pytest.raises(ReidError, match="line 1: it is not a JSON object"):
        read_metrics(path)

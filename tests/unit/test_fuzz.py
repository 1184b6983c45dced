"""The fuzzer: its damage repeats, and what goes wrong in a process of it is told."""

import json
import random

import numpy as np
import pytest
import torch

import fuzz as tool
from fuzz_changes import ODD_VALUES, bit_flipped, damaged, json_changed, json_text
from fuzz_files import same

WORKER = """
import json, sys, time
kind, seed, start, stop = sys.argv[1:5]
for number in range(int(start), int(stop)):
    if kind == "hangs" and number == 1:
        time.sleep(1000)
    if kind == "dies" and number == 1:
        sys.exit("out of paper")
    outcome = "changed" if kind == "changes" and number == 1 else "refused"
    print(json.dumps([number, outcome, f"words {seed}"]), flush=True)
"""


@pytest.fixture
def worker(tmp_path, monkeypatch):
    path = tmp_path / "worker.py"
    path.write_text(WORKER)
    monkeypatch.setattr(tool, "WORKER", path)
    for name in ("PATIENCE", "START_PATIENCE"):
        monkeypatch.setattr(tool, name, 5.0)


@pytest.mark.parametrize(
    ("kind", "outcome", "text"),
    [
        ("hangs", "hang", "no answer in time"),
        ("dies", "crash", "the process ended with status 1: out of paper"),
        ("changes", "changed", "words 7"),
    ],
)
def test_a_fault_is_counted_and_the_rest_still_tried(worker, kind, outcome, text):
    tally = tool.fuzz(kind, 7, 0, 4)
    assert tally.outcomes == {"refused": 3, outcome: 1}
    assert tally.faults == [f"{kind} 1: {outcome}: {text}"]


def test_the_table(worker):
    assert list(tool.fuzz("fine", 0, 0, 3).lines()) == ["fine                 3 inputs: 3 refused"]
    tally = tool.Tally("bad")
    for number in range(7):
        tally.add(number, "crash", "x")
    assert [*tally.lines()][-1] == "  ... and 2 more"


def test_damage_repeats_and_differs():
    data = bytes(range(256)) * 4
    found = [damaged(data, random.Random(seed), [b"other" * 9]) for seed in range(300)]
    assert found == [damaged(data, random.Random(seed), [b"other" * 9]) for seed in range(300)]
    assert len(set(found)) > 250
    assert {len(one) < len(data) for one in found} == {True, False}
    assert [damaged(b"", random.Random(seed)) is not None for seed in range(50)] == [True] * 50


def test_a_bit():
    assert bit_flipped(b"\x00\x00", 9) == b"\x00\x02"


def test_json_is_changed_and_the_original_kept():
    value = {"a": [1, {"b": 2.5}], "c": "x"}
    before = json.dumps(value)
    found = {json_text(json_changed(value, random.Random(seed))) for seed in range(200)}
    assert json.dumps(value) == before
    assert len(found) > 100
    assert json_changed({}, random.Random(0)) in ODD_VALUES


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (np.array([1.0]), np.array([2.0])),
        (np.array([1]), np.array([1.0])),
        (torch.tensor([1.0]), torch.tensor([2.0])),
        ({"a": [np.array(1)]}, {"a": [np.array(2)]}),
        ({"a": 1}, {"b": 1}),
        ([1], [1, 2]),
        (1, 1.0),
        (b"a", b"b"),
    ],
)
def test_what_is_not_the_same(one, two):
    assert same(one, one)
    assert same(two, two)
    assert not same(one, two)


def test_nan_is_what_it_was():
    assert same(np.array([np.nan, 1.0]), np.array([np.nan, 1.0]))
    assert same({"a": (np.array(["x"]), None)}, {"a": (np.array(["x"]), None)})

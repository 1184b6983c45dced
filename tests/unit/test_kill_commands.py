"""The tool that kills commands: what it finds different afterwards, and what it lets pass."""

import json

import pytest

import kill_commands as tool
from crash_test import Workplace


@pytest.fixture
def place(tmp_path):
    """A function: a folder with what a pack and an evaluation leave."""

    def make(name, content="a", scores=b"1"):
        work = Workplace(tmp_path / name)
        store = work.folder / "runs" / "stores" / "people-1"
        (work.run / "evaluations").mkdir(parents=True)
        (work.run / "evaluations" / "scores-market.npz").write_bytes(scores)
        store.mkdir(parents=True)
        (store / "manifest.json").write_text(json.dumps({"content_hash": content}))
        return work

    return make


def test_what_is_equal_passes(place):
    assert tool.ended(tool.Subject("pack", place("one", scores=b"2")), place("two")) == "equal"
    assert tool.ended(tool.Subject("evaluate", place("three")), place("four")) == "equal"


@pytest.mark.parametrize(
    ("changes", "text"),
    [({"content": "b"}, "another content of the store"), ({"scores": b"2"}, "other scores: ")],
)
def test_what_differs_is_told(place, changes, text):
    with pytest.raises(RuntimeError, match=text):
        tool.ended(tool.Subject("evaluate", place("one", **changes)), place("two"))


def test_what_is_left_behind_is_told(place):
    work = place("one")
    (work.folder / "runs" / "stores" / ".people-1.packing-7").mkdir()
    with pytest.raises(RuntimeError, match=r"left behind: .*\.people-1\.packing-7"):
        tool.ended(tool.Subject("pack", work), place("two"))


def test_a_command_that_fails_by_itself_is_told(tmp_path):
    work = Workplace(tmp_path)  # without a params file
    with pytest.raises(RuntimeError, match="pack: exit status 2"):
        tool.Subject("pack", work).finish()
    with pytest.raises(RuntimeError, match="pack: status 2 by itself"):
        tool.Subject("pack", work).kill_after(100)

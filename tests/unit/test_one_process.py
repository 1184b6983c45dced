"""A training that is started as several processes is refused, once, before anything is made."""

import pytest

from reid_core import ReidError
from reid_core.cli import main
from reid_core.runs.one_process import is_one_of_several


@pytest.mark.parametrize(
    "environment", [{}, {"WORLD_SIZE": "1", "RANK": "0"}, {"WORLD_SIZE": "x"}, {"RANK": "3"}]
)
def test_one_process_may_train(environment):
    assert is_one_of_several(environment) is False


@pytest.mark.parametrize("first", [{"RANK": "0"}, {"LOCAL_RANK": "0"}, {}])
def test_the_first_of_several_says_so(first):
    with pytest.raises(ReidError, match=r"^WORLD_SIZE is 4: this is one of 4 processes, as torch"):
        is_one_of_several({"WORLD_SIZE": "4", **first})


@pytest.mark.parametrize("other", [{"RANK": "2", "LOCAL_RANK": "0"}, {"LOCAL_RANK": "1"}])
def test_the_others_keep_silent(other):
    assert is_one_of_several({"WORLD_SIZE": "4", **other}) is True


@pytest.mark.parametrize("operation", ["start_train", "resume_train"])
@pytest.mark.parametrize(("rank", "lines"), [("0", 1), ("1", 0)])
def test_the_command_ends_with_status_2_and_makes_nothing(
    operation, rank, lines, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", rank)
    assert main(["train", "--operation", operation, "--sub_working_dir", "run"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert len(said.err.splitlines()) == lines
    assert list(tmp_path.iterdir()) == []


def test_a_run_is_scored_by_each_of_several(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main(["train", "--operation", "evaluate", "--sub_working_dir", "run"]) == 2
    assert "no run directory" in capsys.readouterr().err

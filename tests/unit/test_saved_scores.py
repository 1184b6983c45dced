"""Saved scores: what was written comes back, or an error says what is damaged."""

import json

import numpy as np
import pytest

from damage import comparable, cuts, flips, outcomes, rewrite_json
from reid_core import ReidError
from reid_core.contracts import Scores
from reid_core.evaluation.run_evaluators import Evaluated
from reid_core.evaluation.saved_scores import read_scores, save_scores


def scores(value=0.118):
    return Scores(
        metrics={"mAP": value},
        primary="mAP",
        protocol={"rule": "x"},
        card={"ap": "1"},
        per_query={"ap": np.array([value, 0.5])},
        tables={"cameras": np.eye(2)},
        intervals={"mAP": (0.1, 0.2)},
    )


@pytest.fixture
def path(tmp_path):
    return save_scores(tmp_path, Evaluated("market", "people", scores()), "best", "best model")


def everything(path):
    """Return what is read of saved scores by the path of one of their two files."""
    path = path.with_suffix("")
    arrays, facts = read_scores(path)
    return comparable(arrays), comparable(read_scores(path, "tables")[0]), facts


def message(path):
    with pytest.raises(ReidError) as caught:
        read_scores(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: saved scores are missing or damaged: ")
    return text


def test_they_come_back(path):
    per_query, facts = read_scores(path)
    tables, _ = read_scores(path, "tables")
    np.testing.assert_array_equal(per_query["ap"], [0.118, 0.5])
    np.testing.assert_array_equal(tables["cameras"], np.eye(2))
    assert (facts["metrics"], facts["intervals"]) == ({"mAP": 0.118}, {"mAP": [0.1, 0.2]})


@pytest.mark.parametrize("ending", ["npz", "json"])
def test_one_wrong_bit_or_a_cut_is_an_error(path, ending):
    file = path.with_name(f"{path.name}.{ending}")
    data, expected = file.read_bytes(), everything(file)
    found = outcomes(file, [*flips(data, 250), *cuts(data, 31)], everything, expected)
    assert found["changed"] == 0
    assert found["error"] > 200


def test_arrays_of_another_evaluation_are_refused(path, tmp_path):
    other = save_scores(tmp_path, Evaluated("market", "people", scores(0.9)), "last", "last model")
    other.with_name(f"{other.name}.npz").replace(path.with_name(f"{path.name}.npz"))
    assert f"{path.name}.npz is not the file that {path.name}.json is about" in message(path)


@pytest.mark.parametrize("text", ["[]", "[" * 99999, "{", "\xff"])
def test_json_of_something_else_is_an_error(path, text):
    path.with_name(f"{path.name}.json").write_text(text)
    message(path)


def test_another_format_is_refused(path):
    rewrite_json(path.with_name(f"{path.name}.json"), format=9)
    assert "format 9, this version reads 2" in message(path)


def test_scores_of_before_there_were_checksums_are_read_and_said(path, capsys):
    file = path.with_name(f"{path.name}.json")
    facts = json.loads(file.read_text())
    for name in ("checksum", "arrays_checksum", "format"):
        del facts[name]
    file.write_text(json.dumps(facts))
    assert read_scores(path)[1]["metrics"] == {"mAP": 0.118}
    assert "saved scores of an older version, without checksums" in capsys.readouterr().out

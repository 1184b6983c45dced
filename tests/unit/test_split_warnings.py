"""Query and gallery that contradict each other are told, with number, share and likely cause."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reid_core.contracts import Features, Scores
from reid_core.evaluation.split_warnings import (
    bare,
    camera_warnings,
    spelt_twice,
    split_warnings,
    with_warnings,
)


def images(pids, camids=None, **flags):
    count = len(pids)
    facts = {"junk": np.zeros(count, dtype=bool), "distractor": np.zeros(count, dtype=bool)}
    return Features(
        values={},
        pids=np.array(pids, dtype=np.str_),
        camids=np.array([i % 2 for i in range(count)] if camids is None else camids),
        names=np.array([f"{i}.jpg" for i in range(count)], dtype=np.str_),
        **{**facts, **{name: np.array(flag) for name, flag in flags.items()}},
    )


def test_splits_that_agree_need_no_word():
    assert split_warnings({"query": images(["1", "2"]), "gallery": images(["2", "1", "3"])}) == []


def test_one_split_alone_contradicts_nothing():
    assert split_warnings({"query": images(["1"])}) == []
    assert split_warnings({"val": images(["1"], [0])}) == []


@pytest.mark.parametrize(
    ("query", "gallery"), [("0007", "7"), ("7", "7.0"), ("ab", "AB"), ("p7", "p07"), ("7", " 7 ")]
)
def test_queries_that_are_spelt_otherwise_are_counted_with_the_cause(query, gallery):
    (line,) = split_warnings(
        {"query": images([query, "10", query, "10"]), "gallery": images(["10", gallery])}
    )
    assert line.startswith("2 of 4 (50 %) queries have no image of their person in the gallery")
    assert "('0.jpg', '2.jpg')" in line
    assert "2 of them would, were pids compared without leading zeros, blanks and case" in line
    assert f"'{query}' in query and '{gallery}' in gallery; spell them alike" in line


def test_of_queries_whose_person_is_nowhere_no_cause_is_made_up():
    (line,) = split_warnings({"query": images(["1", "5"]), "gallery": images(["1", "2"])})
    assert line == ("1 of 2 (50 %) queries have no image of their person in the gallery ('1.jpg')")


def test_junk_and_distractors_are_nobody_to_find():
    gallery = images(["1", "2", "3"], junk=[False, True, False], distractor=[False, False, True])
    (line,) = split_warnings({"query": images(["1", "2", "3"]), "gallery": gallery})
    assert line.startswith("2 of 3 (66.7 %) queries have no image of their person")


def test_queries_without_identity_are_told_as_such():
    (line,) = split_warnings({"query": images(["1", ""]), "gallery": images(["1", ""])})
    assert line.endswith("; 1 has no identity")


def test_one_person_under_two_spellings_in_the_gallery_is_told():
    (line,) = split_warnings({"query": images(["7", "8"]), "gallery": images(["7", "007", "8"])})
    assert line.startswith("query and gallery spell one identity in several ways, it seems: '007'")


@pytest.mark.parametrize(("camid", "told"), [(3, True), (-1, False)])
def test_a_single_known_camera_is_told(camid, told):
    lines = split_warnings({"query": images(["1"], [camid]), "gallery": images(["1"], [camid])})
    assert ["camera 3" in line for line in lines] == [True] * told


@given(st.text(alphabet="aB7 0.x", max_size=6), st.integers(0, 3))
def test_zeros_blanks_and_case_do_not_tell_persons_apart(text, zeros):
    assert bare(f" {text.swapcase()} ") == bare(text)
    assert bare(f"{'0' * zeros}7") == bare("7")


@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_different_numbers_stay_different(one, other):
    assert (bare(str(one)) == bare(f"{other:07d}")) is (one == other)
    assert bool(spelt_twice([str(one), f"{other:07d}"])) is (
        one == other and f"{one:07d}" != str(one)
    )


@pytest.mark.parametrize("name", ["a\nwarning: b.jpg", "\x1b[31mred.jpg", "a\u2028b", "a\x85b\rc"])
def test_a_name_stays_on_its_line_of_the_card(name):
    query = replace(images(["1", f"{name}B"]), names=np.array(["0.jpg", name]))
    lines = split_warnings({"query": query, "gallery": images(["1", f"{name}b"])})
    scores = with_warnings(Scores({"x": 1.0}, "x", {"evaluator": "e"}), lines)
    told = scores.card["warning"]
    assert len(told.splitlines()) == len(lines) == 1
    assert all(char.isprintable() for char in told.replace("\n", ""))
    assert told.count(name.encode("unicode_escape").decode()) == 3


@pytest.mark.parametrize("needing", [("query", "gallery"), ("gallery",), ()])
def test_images_without_a_camera_are_told_where_a_match_needs_one(needing):
    splits = {
        "query": images(["1", "2", "3", "4"], [0, -1, 1, -1]),
        "gallery": images(["1"] * 5, [-1, 1, -1, -1, -1], junk=[True] + [False] * 4),
    }
    wanted = {
        "query": "2 of 4 (50 %) images of query ('1.jpg', '3.jpg')",
        "gallery": "3 of 4 (75 %) images of gallery ('2.jpg', '3.jpg', '4.jpg')",
    }
    lines = camera_warnings(splits, needing)
    assert len(lines) == bool(needing)
    assert [part in "".join(lines) for part in wanted.values()] == [s in needing for s in wanted]
    assert ["'no_camera'" in line and "not known to differ" in line for line in lines] == [True] * (
        len(lines)
    )


def test_where_all_cameras_are_known_none_is_missed():
    splits = {"query": images(["1"], [0]), "gallery": images(["1"], [1])}
    assert camera_warnings(splits, ("query", "gallery")) == []


def test_a_cards_own_warning_stays_first():
    scores = Scores({"x": 1.0}, "x", {"evaluator": "e"}, card={"warning": "mine"})
    assert with_warnings(scores, ["theirs", "theirs"]).card["warning"] == "mine\ntheirs"
    assert with_warnings(scores, []) is scores
    assert with_warnings(replace(scores, card={"a": 1}), ["x"]).card == {"a": 1, "warning": "x"}


@pytest.mark.parametrize("pids", [("a", "A"), ("1_01", "1_1"), ("7", "8"), ("anna", "ANNA")])
def test_what_may_be_two_names_is_not_asked_about(pids):
    assert spelt_twice(pids) == ""


def test_one_number_in_two_spellings_is_asked_about():
    assert "'0007' and '7'" in spelt_twice(["0007", "7", "8"])

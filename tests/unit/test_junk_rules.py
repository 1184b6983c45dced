"""Junk rules by columns: against the words of their definition, pair by pair."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reid_evaluate.protocols.junk_rules import JUNK, MATCH, WRONG, Pairing
from reid_evaluate.protocols.rule_data import (
    ColumnRule,
    columns_of,
    data_of,
    name_of,
    rule_of,
    words_of,
)
from reid_evaluate.ranking.images import ImageSet

UNKNOWN = {"camid": -1, "clothes": "", "time": -1}


def images(rows):
    """Return images of rows (pid, camid, clothes, time, junk, distractor)."""
    pids, camids, clothes, time, junk, distractor = zip(*rows, strict=True)
    return ImageSet(
        features=np.zeros((len(rows), 1)),
        pids=np.array(pids),
        camids=np.array(camids),
        names=np.array([str(i) for i in range(len(rows))]),
        junk=np.array(junk),
        distractor=np.array(distractor),
        columns={"clothes": np.array(clothes), "time": np.array(time)},
    )


ROWS = st.lists(
    st.tuples(
        st.sampled_from("ab"),
        st.integers(-1, 1),
        st.sampled_from(["", "red", "blue"]),
        st.integers(-1, 2),
        st.booleans(),
        st.booleans(),
    ),
    min_size=1,
    max_size=6,
)
NAMES = st.lists(st.sampled_from(sorted(UNKNOWN)), max_size=3, unique=True).map(tuple)


def flag(rule, query, image):
    """Say in plain words what an image is for a query."""
    facts = [
        dict(zip(("camid", "clothes", "time"), row[1:4], strict=True)) for row in (query, image)
    ]
    if image[4]:
        return JUNK
    if query[0] != image[0] or image[5]:
        return WRONG
    for name in (*rule.same, *rule.different):
        values = [side[name] for side in facts]
        if UNKNOWN[name] in values or (values[0] == values[1]) == (name in rule.same):
            return JUNK
    return MATCH


def flags(rule, query, gallery):
    pairing = Pairing(images(query), images(gallery), rule)
    at = np.arange(len(query))[:, None], np.arange(len(gallery))[None, :]
    return pairing.flags(*at)


@settings(deadline=None)
@given(ROWS, ROWS, NAMES, NAMES)
def test_a_rule_by_columns_is_what_its_definition_says(query, gallery, same, different):
    rule = ColumnRule(same, tuple(name for name in different if name not in same))
    expected = [[flag(rule, one, other) for other in gallery] for one in query]
    assert flags(rule, query, gallery).tolist() == expected


@settings(deadline=None)
@given(ROWS, ROWS)
def test_cross_camera_is_the_rule_of_the_same_camera(query, gallery):
    by_column = flags(ColumnRule(same=("camid",)), query, gallery)
    np.testing.assert_array_equal(by_column, flags("cross_camera", query, gallery))


@settings(deadline=None)
@given(ROWS, ROWS)
def test_no_columns_are_the_rule_none(query, gallery):
    by_column = flags(ColumnRule(), query, gallery)
    np.testing.assert_array_equal(by_column, flags("none", query, gallery))


def test_the_protocols_of_ltcc():
    """General, clothes-changing and same clothes, of the rules that Simple-CCReID has."""
    query = [("a", 0, "red", 0, False, False)]
    gallery = [
        ("a", camera, clothes, 0, False, False) for camera in (0, 1) for clothes in ("red", "blue")
    ]
    rules = {
        "general": ColumnRule(same=("camid",)),
        "clothes-changing": ColumnRule(same=("camid", "clothes")),
        "same clothes": ColumnRule(same=("camid",), different=("clothes",)),
    }
    matches = {
        name: np.flatnonzero(flags(r, query, gallery)[0] == MATCH) for name, r in rules.items()
    }
    assert {name: at.tolist() for name, at in matches.items()} == {
        "general": [2, 3],
        "clothes-changing": [3],
        "same clothes": [2],
    }


@pytest.mark.parametrize("rule", ["none", ColumnRule(("camid", "clothes"), ("time",))])
def test_a_rule_is_what_its_data_say(rule):
    assert rule_of(data_of(rule)) == rule


def test_a_rule_in_words():
    rule = ColumnRule(("camid", "clothes"), ("time",))
    assert name_of(rule) == "same camid, clothes and different time"
    assert columns_of(rule) == ("clothes", "time")
    assert columns_of("cross_camera") == ()
    assert words_of(rule) == (
        "images of the query's pid are removed unless camid and clothes are known on both sides "
        "and all differ and time is known on both sides and agrees; images flagged junk are removed"
    )
    assert name_of("none") == "none"
    assert words_of("none") == "only images flagged junk are removed"


def test_an_unknown_name_is_refused():
    with pytest.raises(ValueError, match=r"unknown junk rule 'cameras' \(known: cross_camera, "):
        rule_of("cameras")


ONE = [("a", 0, "red", 0, False, False)]


def test_a_column_that_is_missing_names_its_split_and_what_there_is():
    from dataclasses import replace

    bare = replace(images(ONE), columns={"time": np.array([0])})
    with pytest.raises(
        ValueError, match=r"column .clothes., which the gallery has not.*camid, time"
    ):
        Pairing(images(ONE), bare, ColumnRule(("clothes",)))


def test_a_column_of_two_types_is_refused():
    from dataclasses import replace

    other = replace(images(ONE), columns={"clothes": np.array([3])})
    text = "'clothes' has strings in the query and whole numbers in the gallery"
    with pytest.raises(ValueError, match=text):
        Pairing(images(ONE), other, ColumnRule(("clothes",)))


def test_two_images_of_unknown_identity_are_no_match():
    query = images([("", 0, "", -1, False, False), ("a", 0, "", -1, False, False)])
    gallery = images([("", 1, "", -1, False, False), ("a", 1, "", -1, False, False)])
    for rule in ("none", "cross_camera", "exclude_self"):
        pairing = Pairing(query, gallery, rule)
        flags = pairing.flags(np.array([[0], [1]]), np.array([[0, 1]]))
        special = {(q, g): flag for q, g, flag in zip(*pairing.special(0, 2), strict=True)}
        assert flags[0, 0] == special.get((0, 0), WRONG) != MATCH
        assert flags[1, 1] == special.get((1, 1), WRONG)
    assert Pairing(query, gallery, "none").flags(np.arange(2), np.arange(2)).tolist() == [
        WRONG,
        MATCH,
    ]

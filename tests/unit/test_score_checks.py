"""What an evaluator must not return, and in which words it is told."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reid_core.boundary import Origin, PluginError
from reid_core.contracts import Features, Scores
from reid_core.evaluation.score_checks import checked_scores

ORIGIN = Origin("evaluator", "mine", "reid-mine", "0.3")
FLAGS = np.zeros(2, dtype=bool)
QUERY = Features(
    values={},
    pids=np.array(["a", "b"]),
    camids=np.array([0, 1]),
    names=np.array(["1", "2"]),
    junk=FLAGS,
    distractor=FLAGS,
)


def scores(**changes):
    return Scores(
        **{
            "metrics": {"mAP": 0.5, "rank1": 0.25},
            "primary": "mAP",
            "protocol": {"rule": "none", "sizes": {"query": 2}},
            "per_query": {"ap": np.array([0.5, 0.5]), "name": np.array(["1", "2"])},
            "tables": {"cmc": np.arange(50)},
            "intervals": {"mAP": (0.25, 0.75)},
            **changes,
        }
    )


def check(found, splits=None):
    return checked_scores(found, {"query": QUERY} if splits is None else splits, ORIGIN, "on x")


def fault(found, splits=None):
    with pytest.raises(PluginError) as caught:
        check(found, splits)
    text = str(caught.value)
    assert text.startswith("evaluator 'mine' of reid-mine 0.3 returned ")
    assert text.endswith(" on x; the plugin must be corrected")
    return text


def test_right_scores_pass_as_they_are():
    found = check(scores())
    assert (found.metrics, found.intervals) == ({"mAP": 0.5, "rank1": 0.25}, {"mAP": (0.25, 0.75)})
    assert found.protocol == {"rule": "none", "sizes": {"query": 2}}


def test_numbers_of_numpy_and_whole_numbers_become_plain_floats():
    given_ = {"a": np.float32(0.5), "b": np.int64(3), "c": 1, "d": np.float64(-2)}
    ends = {"a": [np.float32(0), np.float64(1)]}
    found = check(scores(metrics=given_, primary="a", intervals=ends))
    assert found.metrics == {"a": 0.5, "b": 3.0, "c": 1.0, "d": -2.0}
    assert {type(value) for value in found.metrics.values()} == {float}
    assert found.intervals == {"a": (0.0, 1.0)}


@pytest.mark.parametrize("found", [None, 0.5, {"mAP": 0.5}, "mAP"])
def test_anything_but_scores_is_refused(found):
    assert f"returned {found!r} ({type(found).__name__}); expected Scores" in fault(found)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"metrics": {}}, "metrics {} (dict); expected numbers by name"),
        ({"metrics": [1.0]}, "metrics [1.0] (list); expected numbers by name"),
        ({"metrics": {"mAP": "0.5"}}, "metric 'mAP' '0.5' (str); expected a finite number"),
        ({"metrics": {"mAP": True}}, "metric 'mAP' True (bool); expected a finite number"),
        ({"metrics": {"mAP": np.bool_(True)}}, "metric 'mAP'"),
        ({"metrics": {"mAP": None}}, "metric 'mAP' None (NoneType); expected a finite number"),
        ({"metrics": {"mAP": float("nan")}}, "metric 'mAP' nan (float); expected a finite number"),
        ({"metrics": {"mAP": np.float32("inf")}}, "metric 'mAP' "),
        ({"metrics": {"mAP": 1j}}, "metric 'mAP' 1j (complex); expected a finite number"),
        ({"metrics": {"mAP": np.array(0.5)}}, "metric 'mAP' an array of float64; expected a fin"),
        ({"metrics": {"mAP": 0.5, 1: 0.5}}, "a metric called 1 (int); expected a string"),
        ({"primary": "top1"}, "primary 'top1' (str); expected one of mAP, rank1"),
        ({"primary": None}, "primary None (NoneType); expected one of mAP, rank1"),
        ({"protocol": {}, "card": {"a": 1}}, "protocol {} (dict); expected every choice"),
        ({"protocol": {"k": np.int64(3)}}, "protocol.k "),
        ({"protocol": {"k": [1, float("nan")]}}, "protocol.k.1 nan (float); expected a finite"),
        ({"protocol": {"k": {"l": {1, 2}}}}, "protocol.k.l {1, 2} (set); expected JSON values"),
        ({"protocol": {3: 1}}, "key 3 (int) in protocol; expected a string"),
        ({"card": "in words"}, "card 'in words' (str); expected the protocol in words, by name"),
        ({"metrics": None}, "metrics None (NoneType); expected numbers by name"),
        ({"card": {"k": float("inf")}}, "card.k inf (float); expected a finite number"),
        ({"per_query": {"ap": [0.5, 0.5]}}, "per_query['ap'] [0.5, 0.5] (list); expected an array"),
        (
            {"per_query": {"ap": np.array([None, 1])}},
            "per_query['ap'] an array of object; expected",
        ),
        ({"per_query": {"ap": np.zeros(3)}}, "per_query['ap'] of shape (3,); expected one row for"),
        ({"per_query": {"ap": np.array(1.0)}}, "per_query['ap'] of shape (); expected one row for"),
        ({"per_query": None}, "per_query None (NoneType); expected arrays by name"),
        ({"tables": {"t": np.array([{}])}}, "tables['t'] an array of object; expected an array"),
        ({"tables": {"t": np.array([1j])}}, "tables['t'] an array of complex128; expected an"),
        ({"intervals": {"mINP": (0, 1)}}, "an interval of 'mINP' (str), which is no metric"),
        ({"intervals": {"mAP": (1, 0)}}, "interval 'mAP' (1, 0) (tuple); low is above high"),
        ({"intervals": {"mAP": (0, float("nan"))}}, "interval 'mAP' (0, nan) (tuple); expected (l"),
        ({"intervals": {"mAP": 0.5}}, "interval 'mAP' 0.5 (float); expected (low, high)"),
        ({"intervals": []}, "intervals [] (list); expected (low, high) by metric"),
    ],
)
def test_what_is_wrong_is_named(changes, text):
    assert text in fault(scores(**changes))


def test_all_faults_are_told_at_once():
    text = fault(scores(metrics={"mAP": "x"}, tables={"t": None}))
    assert "metric 'mAP'" in text
    assert "tables['t']" in text


def test_without_a_query_split_all_arrays_have_as_many_rows_as_the_first():
    arrays = {"rank": np.zeros(5), "name": np.array(["x"] * 5)}
    assert len(check(scores(per_query=arrays), {}).per_query["rank"]) == 5
    text = fault(scores(per_query={**arrays, "pid": np.zeros(4)}), {})
    assert "per_query['pid'] of shape (4,); expected one row for each of 5" in text


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@settings(deadline=None)
@given(st.dictionaries(st.text(), JSON, min_size=1, max_size=4))
def test_whatever_json_has_may_stand_in_a_protocol(protocol):
    assert check(scores(protocol=protocol)).protocol == protocol

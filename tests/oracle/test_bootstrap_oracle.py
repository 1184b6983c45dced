"""Bootstrap intervals: against a plain loop, scipy, the normal law, and by how often they hold."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from reid_evaluate.ranking.identification import (
    detection_identification_interval,
    detection_identification_rate,
)
from reid_evaluate.ranking.rank_queries import Block
from reid_evaluate.ranking.verification import Verification
from reid_evaluate.statistics import bootstrap
from reid_evaluate.statistics.bootstrap import mean_interval, paired_difference


def some_values(queries, seed=0):
    """AP-like values, 0 to 1, that are far from a normal distribution."""
    return np.random.default_rng([7, seed]).beta(0.5, 0.3, queries)


def interval(values, **options):
    return mean_interval({"x": values}, **options)["x"]


# ---- a plain loop -----------------------------------------------------------------------


def loop_percentile(numbers, share):
    """Return the point below which a share lies, on the line between its neighbours."""
    ordered = sorted(numbers)
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


def loop_interval(values, groups, draws, seed, confidence):
    """Draw positions, look at every drawn query, and take the middle of the sorted means."""
    names = sorted(set(groups))
    members = [[values[q] for q in range(len(values)) if groups[q] == name] for name in names]
    rng = np.random.default_rng(seed)
    means = []
    for _ in range(draws):
        drawn = []
        for unit in rng.integers(len(names), size=len(names)):
            drawn += members[unit]
        means.append(sum(drawn) / len(drawn))
    tail = (1 - confidence) / 2
    return loop_percentile(means, tail), loop_percentile(means, 1 - tail)


@pytest.mark.parametrize("case", range(30))
def test_intervals_are_those_of_a_loop_over_the_same_draws(case, monkeypatch):
    rng = np.random.default_rng(case)
    queries, draws = int(rng.integers(1, 30)), int(rng.integers(1, 40))
    confidence = float(rng.choice([0.5, 0.9, 0.95, 0.99]))
    values = {name: rng.random(queries) for name in "abc"[: rng.integers(1, 4)]}
    by_query = list(range(queries))
    by_identity = [f"{pid:02d}" for pid in rng.integers(0, 6, queries)]
    # Tables of one draw, of some and of all must give one result.
    monkeypatch.setattr(bootstrap, "COUNTS_IN_MEMORY", int(rng.choice([1, 60, 2**20])))
    for groups in (by_query, by_identity):
        options = {"draws": draws, "seed": case, "confidence": confidence}
        got = mean_interval(values, groups=None if groups is by_query else groups, **options)
        assert list(got) == list(values)
        for name, column in values.items():
            expected = loop_interval(column.tolist(), groups, **options)
            assert got[name] == pytest.approx(expected, rel=1e-12)


# ---- rates at a threshold ---------------------------------------------------------------


def quantiles(numbers):
    return tuple(loop_percentile(numbers, share) for share in (0.025, 0.975))


@pytest.mark.parametrize("case", range(20))
def test_the_rate_of_a_search_is_that_of_the_drawn_queries(case):
    """Every draw is looked at as a set of queries of its own; small numbers, so that some tie."""
    rng = np.random.default_rng(case)
    queries, fars = int(rng.integers(1, 40)), [0.0, 0.05, 0.3, 1.0]
    match, wrong = rng.integers(0, 12, (2, queries)).astype(np.float64)
    wrong[rng.random(queries) < 0.1] = np.inf
    known = rng.random(queries) < 0.8
    rank = np.where(known, np.where(match < wrong, 1, 2), 0)
    match[~known] = np.inf
    got = detection_identification_interval(rank, match, wrong, fars, draws=50, seed=case)
    again = np.random.default_rng(case)
    drawn = [again.integers(queries, size=queries) for _ in range(50)]
    each = [detection_identification_rate(rank[d], match[d], wrong[d], fars) for d in drawn]
    for far in fars:
        expected = quantiles([0.0 if np.isnan(found[far]) else found[far] for found in each])
        assert got[far] == pytest.approx(expected, abs=1e-12)


def test_the_interval_of_a_true_positive_rate_holds_the_threshold():
    rng = np.random.default_rng(3)
    number = rng.integers(0, 5, 30)
    same = [np.sort(rng.random(n).astype(np.float32)) for n in number]
    wrong = np.sort((0.3 + rng.random((30, 50))).astype(np.float32), axis=1)
    watch = Verification(wrong.size, (0.01, 0.2))
    for start in (0, 13):  # two blocks
        rows = range(start, 13 if start == 0 else 30)
        query = np.repeat(rows, number[rows.start : rows.stop])
        keys = torch.from_numpy(np.concatenate([same[i] for i in rows]))
        part = torch.from_numpy(wrong[rows.start : rows.stop])
        watch.see(Block(start, (query, query, keys), [part], np.zeros((len(query), 1)), ()))
    got = watch.intervals(draws=100, seed=7)
    asked = np.flatnonzero(number)  # a query without a match has no pair of one person
    again = np.random.default_rng(7)
    drawn = [asked[again.integers(len(asked), size=len(asked))] for _ in range(100)]
    for rate, (tpr, limit) in watch.rates().items():
        shares = [np.mean(np.concatenate([same[i] for i in d]) < limit) for d in drawn]
        assert got[rate] == pytest.approx(quantiles(shares), abs=1e-12)
        assert got[rate][0] < tpr < got[rate][1]


# ---- scipy and the normal law -----------------------------------------------------------

DRAWS = 4000
CLOSE = 0.3
"""In standard errors of the mean: about five times the Monte Carlo error of two intervals."""


@pytest.mark.parametrize("confidence", [0.5, 0.95])
def test_intervals_of_means_are_those_of_scipy(confidence):
    values = some_values(40)
    theirs = stats.bootstrap(
        (values,),
        np.mean,
        n_resamples=DRAWS,
        confidence_level=confidence,
        method="percentile",
        rng=np.random.default_rng(3),
    ).confidence_interval
    ours = interval(values, draws=DRAWS, confidence=confidence)
    assert ours == pytest.approx(tuple(theirs), abs=CLOSE * values.std() / 40**0.5)


def test_intervals_of_paired_differences_are_those_of_scipy():
    a = some_values(50)
    b = np.clip(a + 0.2 * some_values(50, seed=1) - 0.1, 0, 1)
    theirs = stats.bootstrap(
        (a, b),
        lambda x, y, axis: np.mean(y, axis=axis) - np.mean(x, axis=axis),
        n_resamples=DRAWS,
        paired=True,
        vectorized=True,
        method="percentile",
        rng=np.random.default_rng(3),
    ).confidence_interval
    difference, low, high = paired_difference({"x": a}, {"x": b}, draws=DRAWS)["x"]
    assert difference == pytest.approx(b.mean() - a.mean())
    assert (low, high) == pytest.approx(tuple(theirs), abs=CLOSE * (b - a).std() / 50**0.5)


@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95])
def test_many_queries_give_the_interval_of_the_normal_law(confidence):
    values = some_values(2000)
    error = values.std() / 2000**0.5
    expected = stats.norm.interval(confidence, values.mean(), error)
    got = interval(values, draws=DRAWS, confidence=confidence)
    assert got == pytest.approx(expected, abs=CLOSE * error)


def test_many_identities_give_the_normal_law_of_a_ratio_of_sums():
    rng = np.random.default_rng(5)
    pids = rng.integers(0, 500, 3000)
    values = np.clip(0.3 * some_values(500)[pids] + 0.7 * rng.random(3000), 0, 1)
    mean = values.mean()
    sums = [float((values[pids == pid] - mean).sum()) for pid in np.unique(pids)]
    error = sum(s**2 for s in sums) ** 0.5 / len(values)  # Cochran, "Sampling Techniques", 6.3
    got = interval(values, groups=pids, draws=DRAWS)
    assert got == pytest.approx(stats.norm.interval(0.95, mean, error), abs=CLOSE * error)


# ---- how often the truth is inside ------------------------------------------------------


def share_that_covers(truth, sample, of_identities, repetitions=300):
    """Return how often the interval of fresh data holds the true mean."""
    inside = 0
    for repetition in range(repetitions):
        values, pids = sample(np.random.default_rng([11, repetition]))
        low, high = interval(values, groups=pids if of_identities else None, draws=200)
        inside += low <= truth <= high
    return inside / repetitions


def test_the_interval_holds_the_truth_as_often_as_it_says():
    def sample(rng):
        return rng.beta(2, 1, 80), None

    assert 0.9 <= share_that_covers(2 / 3, sample, of_identities=False) <= 0.98


def test_only_drawing_identities_is_right_when_their_queries_are_alike():
    def sample(rng):
        pids = np.repeat(np.arange(50), 6)
        return np.clip(rng.beta(2, 1, 50)[pids] + rng.normal(0, 0.01, 300), -1, 2), pids

    assert 0.89 <= share_that_covers(2 / 3, sample, of_identities=True) <= 0.98
    assert share_that_covers(2 / 3, sample, of_identities=False) < 0.75


# ---- what must hold exactly -------------------------------------------------------------


def test_equal_runs_differ_by_exactly_nothing():
    values = {"mAP": some_values(60), "rank1": some_values(60) > 0.5}
    expected = {"mAP": (0.0, 0.0, 0.0), "rank1": (0.0, 0.0, 0.0)}
    assert paired_difference(values, values) == expected
    assert paired_difference(values, values, groups=np.arange(60) // 4) == expected


def test_a_gain_of_every_query_has_no_width():
    a = np.arange(16) / 64
    assert paired_difference({"x": a}, {"x": a + 0.25})["x"] == (0.25, 0.25, 0.25)


def test_the_difference_is_b_minus_a_whatever_the_order_of_the_names():
    a = {"x": some_values(30), "y": some_values(30, seed=1)}
    b = {"y": some_values(30, seed=2), "x": some_values(30, seed=3)}
    forth, back = paired_difference(a, b), paired_difference(b, a)
    for name in "xy":
        difference, low, high = forth[name]
        assert difference == pytest.approx(b[name].mean() - a[name].mean())
        assert back[name] == pytest.approx((-difference, -high, -low))


def test_pairing_makes_the_interval_narrow():
    a = some_values(200)
    b = np.clip(a + 0.02 * some_values(200, seed=1), 0, 1)
    _, low, high = paired_difference({"x": a}, {"x": b})["x"]
    alone = interval(b)
    assert 0 < low < high < (alone[1] - alone[0]) / 4


def test_every_measure_sees_the_same_draws():
    values = some_values(40)
    together = mean_interval({"x": values, "copy": values, "mirror": 1 - values})
    assert together["x"] == pytest.approx(interval(values))
    assert together["copy"] == pytest.approx(together["x"])
    low, high = together["mirror"]
    assert (1 - high, 1 - low) == pytest.approx(together["x"])


def test_identities_of_one_query_each_are_queries():
    values = some_values(40)
    names = [f"{i:03d}" for i in range(40)]
    assert interval(values, groups=names) == pytest.approx(interval(values))


def test_the_seed_decides_and_nothing_else():
    values = some_values(40)
    before = np.random.get_state()[1].tolist()
    assert interval(values, seed=1) == interval(values.tolist(), seed=1)
    assert interval(values, seed=1) != interval(values, seed=2)
    assert np.random.get_state()[1].tolist() == before


def test_more_confidence_is_a_wider_interval():
    narrow, usual, wide = (interval(some_values(40), confidence=c) for c in (0.5, 0.9, 0.99))
    assert wide[0] < usual[0] < narrow[0] < narrow[1] < usual[1] < wide[1]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.integers(1, 30))
def test_an_interval_stays_within_the_values(values, draws):
    low, high = interval(values, draws=draws)
    assert min(values) - 1e-12 <= low <= high <= max(values) + 1e-12


def test_memory_is_bounded_for_a_hundred_thousand_queries():
    values = {name: some_values(100_000) for name in ("mAP", "rank1", "mINP")}
    tracemalloc.start()
    try:
        mean_interval(values, draws=25)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 60e6


# ---- mistakes ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        ({}, {}, "there is no measure"),
        ({"x": []}, {}, "there is no query"),
        ({"x": [1.0], "y": [1.0, 0.0]}, {}, "one length"),
        ({"x": [[1.0]]}, {}, "one length"),
        ({"x": 1.0}, {}, "one length"),
        ({"x": [1.0, np.nan]}, {}, "'x' has values that are not finite"),
        ({"x": [np.inf]}, {}, "'x' has values that are not finite"),
        ({"x": [1.0]}, {"groups": [1, 2]}, "groups have shape (2,) for 1 queries"),
        ({"x": [1.0]}, {"draws": 0}, "draws must be 1 or larger, got 0"),
        ({"x": [1.0]}, {"confidence": 0.0}, "confidence must be above 0 and below 1, got 0.0"),
        ({"x": [1.0]}, {"confidence": 1.0}, "got 1.0"),
        ({"x": [1.0]}, {"confidence": np.nan}, "got nan"),
        ({"x": [1.0]}, {"seed": -1}, "negative"),
    ],
)
def test_what_has_no_interval_is_refused(values, options, message):
    for function in (mean_interval, lambda v, **o: paired_difference(v, v, **o)):
        with pytest.raises(ValueError) as error:
            function(values, **options)
        assert message in str(error.value)


def test_runs_that_cannot_be_paired_are_refused():
    with pytest.raises(ValueError, match="measures differ: x and y"):
        paired_difference({"x": [1.0]}, {"y": [1.0]})
    with pytest.raises(ValueError, match="a has 1 queries and b 2"):
        paired_difference({"x": [1.0]}, {"x": [1.0, 0.0]})

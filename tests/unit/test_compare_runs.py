"""Comparing two runs: which scores belong together, what is averaged, and what is said."""

import json
import re

import numpy as np
import pytest

import reid_plugins.command.compare_runs as plugin
from damage import rewrite_json
from reid_core import cli
from reid_core.contracts import Scores
from reid_core.discovery import isolated_catalog
from reid_core.errors import ReidError
from reid_core.evaluation.run_evaluators import Evaluated
from reid_core.evaluation.saved_scores import save_scores
from reid_evaluate.statistics.bootstrap import mean_interval, paired_difference
from reid_plugins.command._compare_runs import compare_scores

PROTOCOL = {
    "ap": "standard",
    "junk_rule": "cross_camera",
    "denominator": "valid",
    "distance": "cosine",
    "sizes": {"query": 4, "gallery_before": 9},
    "data": {"dataset": "people", "content_hash": "c0ffee", "model": "resnet18"},
}
AP = {"a.png": 0.5, "b.png": 1.0, "c.png": 0.25, "d.png": 0.75}
FIRST_RANK = {"a.png": 2, "b.png": 1, "c.png": 7, "d.png": 1}


def arrays_of(ap=AP, first_rank=FIRST_RANK, **changes):
    """Per-query arrays of a ranking, in the order of ``ap``."""
    values = np.array(list(ap.values()))
    return {
        "ap": values,
        "ap_trapezoid": values / 2,
        "inp": values / 4,
        "first_rank": np.array([first_rank[name] for name in ap]),
        "name": np.array(list(ap)),
        "pid": np.array([f"pid {name[0]}" for name in ap]),
        "camid": np.arange(len(ap)),
        "top_indices": np.zeros((len(ap), 2), dtype=np.int64),
        **changes,
    }


@pytest.fixture
def save(tmp_path):
    """A function that saves scores below a run and returns the run."""

    def write(
        run,
        arrays=None,
        *,
        protocol=PROTOCOL,
        name="market_evaluate",
        kind="best",
        where=None,
        **tables,
    ):
        folder = tmp_path / run if where == "output_dir" else tmp_path / run / "evaluations"
        arrays = arrays_of() if arrays is None else arrays
        scores = Scores(
            {"mAP": 0.5}, "mAP", protocol, {"ap": "as it says"}, per_query=arrays, tables=tables
        )
        save_scores(folder, Evaluated(name, "people", scores), kind, f"{kind} model of {run}")
        return tmp_path / run

    return write


def no_interval(a, b):
    """A difference whose interval is wrong on purpose, to be recognised."""
    return {name: (float(b[name].mean() - a[name].mean()), -7.0, 7.0) for name in a}


def compare(a, b, **options):
    return compare_scores(a, b, no_interval, **options)


def message(a, b, **options):
    with pytest.raises(ReidError) as error:
        compare(a, b, **options)
    return str(error.value)


def assert_says(error_text, *parts):
    assert all(part in error_text for part in parts), error_text


# ---- what is averaged -------------------------------------------------------------------


def test_means_are_over_queries_matched_by_name(save):
    other = {"d.png": 0.75, "c.png": 0.0625, "b.png": 1.0, "a.png": 0.625}
    (got,) = compare(save("A"), save("B", arrays_of(other, FIRST_RANK | {"a.png": 1})))
    assert (got.evaluation, got.target) == ("market_evaluate", "people")
    assert (got.model_a, got.model_b) == ("best model of A", "best model of B")
    assert (got.queries, got.counted, got.choices) == (4, 4, [])
    mean_ap, rank1, inp = (got.metrics[name] for name in ("mAP", "rank1", "mINP"))
    assert (mean_ap.a, mean_ap.b, mean_ap.difference) == (0.625, 0.609375, -0.015625)
    assert (rank1.a, rank1.b, rank1.difference) == (0.5, 0.75, 0.25)
    assert (inp.a, inp.b) == (mean_ap.a / 4, mean_ap.b / 4)
    assert (mean_ap.low, mean_ap.high) == (-7, 7)
    assert mean_ap.interval_a == mean_ap.interval_b == (-7, 7)
    (lost,), (gained,) = got.lost, got.gained
    assert (lost.name, lost.pid, lost.camid, lost.ap) == ("c.png", "pid c", 2, (0.25, 0.0625))
    assert (gained.name, gained.ap, gained.first_rank) == ("a.png", (0.5, 0.625), (2, 1))


def test_the_queries_that_changed_most_come_first(save):
    names = [f"{i}.png" for i in range(8)]
    ranks = dict.fromkeys(names, 1)
    before = save("A", arrays_of(dict.fromkeys(names, 0.5), ranks))
    changes = [0.25, -0.125, 0.0, 0.5, -0.375, 0.25, -0.25, 0.125]
    after = {name: 0.5 + change for name, change in zip(names, changes, strict=True)}
    (got,) = compare(before, save("B", arrays_of(after, ranks)), queries=3)
    assert [query.name for query in got.lost] == ["4.png", "6.png", "1.png"]
    assert [query.name for query in got.gained] == ["3.png", "0.png", "5.png"]
    (none,) = compare(before, before)
    assert none.lost == none.gained == []


def test_the_definition_of_ap_is_that_of_a(save):
    a, b = save("A", protocol=PROTOCOL | {"ap": "trapezoid"}), save("B")
    (got,) = compare(a, b)
    assert (got.ap, got.own_ap_b, got.metrics["mAP"].a) == ("trapezoid", "standard", 0.3125)
    assert got.choices == []
    (got,) = compare(b, a)
    assert (got.ap, got.own_ap_b, got.metrics["mAP"].a) == ("standard", "trapezoid", 0.625)


def test_a_definition_of_ap_that_was_not_saved_is_refused(save):
    arrays = {name: array for name, array in arrays_of().items() if name != "ap_trapezoid"}
    a, b = save("A", protocol=PROTOCOL | {"ap": "trapezoid"}), save("B", arrays)
    assert_says(
        message(a, b), "market_evaluate on people: ", "'ap_trapezoid', which is not in both"
    )


def test_queries_without_match_are_left_out_or_count_as_zero(save):
    arrays = arrays_of(AP | {"c.png": 0.0}, FIRST_RANK | {"c.png": 0})
    (got,) = compare(save("A", arrays), save("B", arrays))
    assert (got.queries, got.counted, got.metrics["mAP"].a) == (4, 3, 0.75)
    assert got.metrics["rank1"].a == pytest.approx(2 / 3)
    every = PROTOCOL | {"denominator": "all"}
    (got,) = compare(save("C", arrays, protocol=every), save("D", protocol=every))
    assert (got.counted, got.metrics["mAP"].a, got.metrics["rank1"].a) == (4, 0.5625, 0.5)


def test_mean_inp_is_left_out_where_a_run_has_none(save):
    arrays = {name: array for name, array in arrays_of().items() if name != "inp"}
    (got,) = compare(save("A"), save("B", arrays))
    assert list(got.metrics) == ["mAP", "rank1"]


def test_rank1_of_a_single_shot_is_the_one_that_was_reported(save):
    """Where both runs have it; the protocols differ otherwise, and that is said."""
    draws = np.array([[1, 2, 0, 1], [2, 1, 0, 1]])
    a, b = save("A", single_shot_ranks=draws), save("B", single_shot_ranks=np.ones((3, 4)))
    (got,) = compare(a, b)
    assert (got.metrics["rank1"].a, got.metrics["rank1"].b) == (0.5, 1.0)
    (got,) = compare(a, save("C"))
    assert (got.metrics["rank1"].a, got.metrics["rank1"].b) == (0.5, 0.5)


def test_the_intervals_of_both_runs_are_those_of_their_means(save):
    other = arrays_of({name: ap / 2 for name, ap in AP.items()})
    (got,) = compare_scores(save("A"), save("B", other), paired_difference)
    change = got.metrics["mAP"]
    assert [change.interval_a, change.interval_b] == [
        mean_interval({"mAP": np.array(list(AP.values())) / factor})["mAP"] for factor in (1, 2)
    ]


# ---- which scores belong together -------------------------------------------------------


def test_differing_choices_are_listed_and_what_a_model_did_is_not(save):
    protocol = PROTOCOL | {
        "junk_rule": "none",
        "postprocess": [{"name": "k_reciprocal", "params": {"k1": 20}}],
        "intervals": None,
        "false_rates": [0.5],
        "identical_matches": 3,
        "sizes": {"query": 4, "gallery_before": 8},
        "data": {"dataset": "people", "content_hash": "beef", "model": "resnet50"},
    }
    a = save("A", protocol=PROTOCOL | {"intervals": {"draws": 10, "seed": 0}})
    (got,) = compare(a, save("B", protocol=protocol))
    assert [(choice.key, choice.a, choice.b) for choice in got.choices] == [
        ("junk_rule", "cross_camera", "none"),
        ("sizes.gallery_before", 9, 8),
        ("data.content_hash", "c0ffee", "beef"),
        ("postprocess", None, protocol["postprocess"]),
    ]


def test_scores_without_their_protocol_cannot_be_compared(save):
    """Of an evaluator that gives none, or of files that have none."""
    a, b = save("A"), save("B", protocol={})
    for first, second, run in ((a, b, "B"), (b, a, "A")):
        assert message(first, second) == (
            f"market_evaluate on people: the scores of {run} were saved without their protocol, "
            "so that they cannot be compared; score the run again"
        )
    path = a / "evaluations" / "best-market_evaluate-people.json"
    facts = json.loads(path.read_text())
    assert (facts["protocol"], facts["card"]) == (PROTOCOL, {"ap": "as it says"})
    rewrite_json(path, protocol=...)
    assert_says(message(a, b), "the scores of A were saved without their protocol")


def test_other_queries_are_refused_with_their_number_and_a_name(save):
    fewer = {name: AP[name] for name in ("a.png", "d.png")} | {"x.png": 1.0}
    a, b = save("A"), save("B", arrays_of(fewer, FIRST_RANK | {"x.png": 1}))
    assert_says(
        message(a, b),
        "market_evaluate on people: the runs were not scored on the same queries (4 in A, 3 in B)",
        "2 are in A only, e.g. 'b.png'; 1 are in B only, e.g. 'x.png'; score both on the same data",
    )


def test_queries_without_names_are_compared_row_by_row_if_they_are_the_same(save):
    """Each file has made up names from its own path."""
    protocol = PROTOCOL | {"made_up_names": ["query", "gallery"]}
    made_up = [np.array([f"{run}.npz:{i}" for i in range(4)]) for run in "AB"]
    a = save("A", arrays_of(name=made_up[0]), protocol=protocol)
    b = save("B", arrays_of(name=made_up[1]), protocol=protocol)
    assert compare(a, b)[0].metrics["mAP"].difference == 0
    text = "the runs were not scored on the same queries"
    assert_says(message(a, save("C", arrays_of(name=made_up[1]))), text)
    for column in ("pid", "camid"):
        other = arrays_of(name=made_up[1], **{column: arrays_of()[column][::-1]})
        assert_says(message(a, save("D", other, protocol=protocol)), text)


def test_names_that_are_not_unique_are_refused(save):
    a, b = save("A"), save("B", arrays_of(name=np.array(["a.png", "a.png", "c.png", "d.png"])))
    assert_says(message(a, b), "1 queries of B have a name that another one has")


def test_a_match_in_one_run_only_is_refused(save):
    a, b = save("A"), save("B", arrays_of(AP, FIRST_RANK | {"b.png": 0}))
    assert_says(message(a, b), "1 queries have a match in one run only, e.g. 'b.png'", "junk rule")


def test_every_common_ranking_is_compared_and_nothing_else(save):
    for run in ("A", "B"):
        for name in ("market_evaluate", "market_evaluate_2", f"own_of_{run}"):
            save(run, name=name)
        a_or_b = save(run, {"rank": np.ones(3)}, name="classification_evaluate")
    a, b = a_or_b.with_name("A"), a_or_b
    assert [got.evaluation for got in compare(a, b)] == ["market_evaluate", "market_evaluate_2"]
    (got,) = compare(a, b, evaluation="market_evaluate_2")
    assert got.evaluation == "market_evaluate_2"
    assert_says(
        message(a, b, evaluation="market_evalaute"),
        "--evaluation: 'market_evalaute' is not common to both runs; did you mean "
        "'market_evaluate'? (common: market_evaluate, market_evaluate_2)",
    )


def test_nothing_in_common_lists_what_there_is(save):
    a, b = save("A"), save("B", {"rank": np.ones(3)})
    assert_says(
        message(a, b), "A has market_evaluate on people; B has none; score both on one target"
    )


def test_the_kind_chooses_among_a_runs_scores(save):
    save("A", arrays_of(dict.fromkeys(AP, 1.0)), kind="last")
    save("A", arrays_of(dict.fromkeys(AP, 0.0)), kind="baseline-untrained")
    a, b = save("A"), save("B", kind="last")
    (got,) = compare(a, b, kind="last")
    assert (got.metrics["mAP"].a, got.metrics["mAP"].b) == (1.0, 0.625)
    assert_says(message(a, b), f"{b}: no saved scores: neither best-*.json")


def test_the_folder_of_an_evaluator_is_as_good_as_a_run(save):
    a, b = save("A"), save("B", kind="scores", where="output_dir")
    assert compare(a, b)[0].model_b == "scores model of B"
    assert compare(a / "evaluations", b) == compare(a, b)


def test_a_kind_that_is_asked_for_is_not_replaced_by_another(save):
    a, b = save("A", kind="last"), save("B", kind="scores")
    save("A", kind="scores")
    assert_says(message(a, b, kind="last"), f"{b}: no saved scores: neither last-*.json in")
    assert compare(a, b)[0].model_a == "scores model of A"


def test_a_kind_without_a_run_is_refused(save):
    a, b = (save(run, kind="scores", where="output_dir") for run in "AB")
    assert_says(message(a, b, kind="last"), "--kind: neither ")


def test_a_folder_that_is_not_there_or_empty_is_named(save, tmp_path):
    a = save("A")
    assert_says(message(a, tmp_path / "B"), f"{tmp_path / 'B'}: no such folder")
    (tmp_path / "empty").mkdir()
    assert_says(message(a, tmp_path / "empty"), f"{tmp_path / 'empty'}: no saved scores")


def test_damaged_scores_are_named(save):
    a, b = save("A"), save("B")
    (b / "evaluations" / "best-market_evaluate-people.npz").write_bytes(b"PK")
    assert_says(message(a, b), "best-market_evaluate-people: saved scores are missing or damaged")


# ---- the command ------------------------------------------------------------------------


@pytest.fixture
def reid(monkeypatch, capsys):
    """A function from arguments of the command to its status, output and errors."""
    monkeypatch.setattr(cli, "load_catalog", lambda: isolated_catalog(plugin))

    def run(*arguments):
        status = cli.main(["compare-runs", *map(str, arguments)])
        return status, *capsys.readouterr()

    return run


def test_the_command_prints_measures_intervals_and_queries(save, reid):
    data = PROTOCOL["data"] | {"content_hash": "beef"}
    protocol = PROTOCOL | {"ap": "trapezoid", "data": data}
    changed = AP | {"a.png": 0.0}
    a = save("A")
    b = save("B", arrays_of(changed, FIRST_RANK | {"a.png": 12}), protocol=protocol)
    status, out, err = reid(a, b, "--draws", 200, "--seed", 5, "--confidence", 0.9)
    assert (status, err) == (0, "")
    assert f"A: {a}\nB: {b}\nmarket_evaluate on people\n" in out
    assert "4 of 4 queries counted" in out
    assert "AP: standard, as A reported, while B reported trapezoid" in out
    assert "warning: protocol or data differ (A | B):\n    data.content_hash: c0ffee | beef" in out
    assert re.search(r"  90 % intervals +A +B +B - A\n", out)
    both = r"mAP +0\.6250 \[.*\] +0\.5000 \[.*\] +-0\.1250 \[(.*), (.*)\]\n"
    low, high = re.search(both, out).groups()
    assert -0.5 <= float(low) < float(high) <= 0
    assert re.search(
        r"rank1 +0\.5000 \[0\..*\] +0\.5000 .* \+0\.0000 \[\+0\.0000, \+0\.0000\]\n", out
    )
    assert "0.500 -> 0.000  2 -> 12      pid a  0  a.png" in out
    assert "lost most" in out
    assert "gained most" not in out
    assert "paired percentile bootstrap over queries, 200 draws, seed 5" in out


def test_choices_are_printed_as_words_or_as_json(save, reid):
    steps = [{"name": "k_reciprocal", "params": {"k1": 20}}]
    protocol = PROTOCOL | {"junk_rule": "none", "ties": "worst: first", "postprocess": steps}
    other = PROTOCOL | {"ties": "worst: second", "postprocess": []}
    _, out, _ = reid(save("A", protocol=protocol), save("B", protocol=other))
    assert "junk_rule: none | cross_camera\n" in out
    assert "ties: worst: first | worst: second\n" in out
    assert 'postprocess: [{"name": "k_reciprocal", "params": {"k1": 20}}] | []\n' in out
    _, out, _ = reid(save("C", protocol=protocol), save("D"))
    assert "ties: worst: first | -\n" in out


def test_a_query_without_match_has_a_dash_for_its_rank(save, reid):
    protocol = PROTOCOL | {"denominator": "all"}
    without = arrays_of(AP | {"c.png": 0.0}, FIRST_RANK | {"c.png": 0})
    _, out, _ = reid(save("A", without, protocol=protocol), save("B", protocol=protocol))
    assert "0.000 -> 0.250  - -> 7 " in out


def test_the_command_writes_everything_as_json(save, reid, tmp_path):
    path = tmp_path / "deep" / "difference.json"
    other = arrays_of({name: ap / 2 for name, ap in AP.items()})
    _, out, _ = reid(save("A"), save("B", other), "--json", path, "--queries", 1)
    assert f"comparison: {path}" in out
    written = json.loads(path.read_text())
    assert written["bootstrap"] == {
        **{"draws": 1000, "seed": 0, "confidence": 0.95},
        "resampled": "queries",
    }
    (evaluation,) = written["evaluations"]
    assert evaluation["metrics"]["mAP"]["difference"] == -0.3125
    assert [query["name"] for query in evaluation["lost"]] == ["b.png"]
    assert reid(tmp_path / "A", tmp_path / "B", "--json", path, "--queries", 1)[1] == out
    assert json.loads(path.read_text()) == written


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--queries", "-1"], "--queries: must be 0 or larger, got -1"),
        (["--seed", "-1"], "--seed: must be 0 or larger, got -1"),
        (["--draws", "0"], "draws must be 1 or larger, got 0"),
        (["--confidence", "95"], "confidence must be above 0 and below 1, got 95.0"),
    ],
)
def test_options_out_of_range_are_refused(save, reid, options, expected):
    status, out, err = reid(save("A"), save("B"), *options)
    assert (status, out) == (2, "")
    assert expected in err


def test_runs_without_a_query_that_counts_are_refused(save, reid):
    arrays = arrays_of(dict.fromkeys(AP, 0.0), dict.fromkeys(AP, 0))
    status, _, err = reid(save("A", arrays), save("B", arrays))
    assert (status, err) == (
        2,
        "error: market_evaluate on people: there is no query to take the mean of\n",
    )

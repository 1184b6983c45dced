"""The report page: whole and safe HTML whose numbers are those of the saved scores."""

import base64
import io
import json
import re
import shutil
from html.parser import HTMLParser
from importlib.resources import files

import numpy as np
import pytest
from PIL import Image

import reid_plugins.command.report as plugin
from damage import rewrite_json, rewrite_scores
from reid_core import cli
from reid_core.contracts import Scores
from reid_core.discovery import isolated_catalog
from reid_core.errors import ReidError
from reid_core.evaluation.run_evaluators import Evaluated
from reid_core.evaluation.saved_scores import save_scores
from reid_core.files import write_json
from reid_core.params.validation import check_run_params
from reid_core.run_directory import RunDirectory
from reid_core.storage.dataset_stores import Stores
from reid_plugins.command._report.collect import collect
from reid_plugins.command._report.page import POLICY, write_report
from reid_plugins.command._report.ranked_strips import best_and_worst

METRICS = {"mAP": 0.61234567, "rank1": 0.75, "tpr@0.001": 0.4321, "tpr@0.01": 0.8765}
INTERVALS = {"mAP": (0.5511, 0.6622), "rank1": (0.7, 0.8)}
PROTOCOL = {"evaluator": "market_evaluate", "ap": "standard", "denominator": "valid"}
CARD = {
    "evaluator": "market_evaluate",
    "ap": "standard: mean of the precision at each match",
    "queries_without_match": "valid: left out of every mean",
    "postprocessing": ["k_reciprocal(k1=20)", "multi_query"],
    "sizes": {"query": 8, "valid_queries": 7},
    "data": {"dataset": "people", "images": {"query": 8, "gallery": 30}},
}
WRONG, MATCH, JUNK = 0, 1, 2
QUERIES = 8


def arrays_of(queries=QUERIES, **changes):
    """Arrays per query of a ranking; the last query has no match."""
    flags = np.tile(np.array([JUNK, MATCH, WRONG, MATCH], dtype=np.int8), (queries, 1))
    ap = np.linspace(1.0, 0.2, queries)
    has_match = np.arange(queries) < queries - 1
    return {
        "ap": ap * has_match,
        "ap_trapezoid": ap * has_match / 2,
        "inp": ap / 4,
        "first_rank": np.arange(1, queries + 1) * has_match,
        "num_matches": 2 * has_match,
        "name": np.array([f"query/{i}.jpg" for i in range(queries)]),
        "pid": np.array([f"pid {i}" for i in range(queries)]),
        "camid": np.arange(queries) - 1,
        "top_indices": np.tile(np.array([3, 0, 2, 1]), (queries, 1)),
        "top_flags": flags,
        "top_distances": np.tile(np.float32([0.125, 0.25, 0.5, 250]), (queries, 1)),
        **changes,
    }


def tables_of(**changes):
    counts = np.zeros((2, 200), dtype=np.int64)
    counts[0, 20:60], counts[1, 50:180] = 3, 70
    return {
        "cmc": 1 - 0.25 / np.arange(1, 51),
        "pairs.edges": np.linspace(0, 2, 201, dtype=np.float32),
        "pairs.counts": counts,
        "pairs.false_rates": np.array([0.001, 0.01]),
        "pairs.thresholds": np.array([0.51, 0.625]),
        "camera_pairs.query_cameras": np.array([-1, 4]),
        "camera_pairs.gallery_cameras": np.array([0, 4, 7]),
        "camera_pairs.queries": np.array([[5, 1, 0], [2, 0, 7]]),
        "camera_pairs.map": np.array([[0.25, 0.5, np.nan], [0.75, np.nan, 0.875]]),
        **changes,
    }


@pytest.fixture
def save(tmp_path):
    """A function that saves scores and returns the folder of the run."""

    def write(
        arrays=None, tables=None, *, metrics=METRICS, intervals=INTERVALS, card=CARD,
        protocol=PROTOCOL, kind="best", name="market_evaluate", target="people", model=None,
        run="run", where="evaluations",
    ):  # fmt: skip
        scores = Scores(
            metrics,
            next(iter(metrics), "mAP"),
            protocol,
            card,
            arrays_of() if arrays is None else arrays,
            tables_of() if tables is None else tables,
            intervals,
        )
        result = Evaluated(name, target, scores)
        save_scores(tmp_path / run / where, result, kind, model or f"{kind} model")
        return tmp_path / run

    return write


# ---- reading a page ---------------------------------------------------------------------


class Node:
    """An element of a parsed page."""

    def __init__(self, tag, attributes):
        self.tag, self.attributes, self.children = tag, dict(attributes), []

    def __getitem__(self, name):
        return self.attributes[name]

    def text(self):
        return "".join(c if isinstance(c, str) else c.text() for c in self.children)

    def all(self, tag=None, class_=None, **attributes):
        """Return the elements inside of a tag, with a class and with attributes."""
        wanted = {key.replace("_", "-"): value for key, value in attributes.items()}
        found = []
        for child in self.children:
            if isinstance(child, Node):
                classes = child.attributes.get("class", "").split()
                if (
                    tag in (None, child.tag)
                    and (class_ is None or class_ in classes)
                    and wanted.items() <= child.attributes.items()
                ):
                    found.append(child)
                found += child.all(tag, class_, **attributes)
        return found

    def one(self, *arguments, **attributes):
        (found,) = self.all(*arguments, **attributes)
        return found


class Reader(HTMLParser):
    """Builds the tree and insists on what a browser would silently repair."""

    VOID = ("meta", "img", "input")

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.root = Node("", ())
        self.open = [self.root]
        self.feed(html)
        self.close()
        assert self.open == [self.root], f"not closed: {[node.tag for node in self.open]}"

    def handle_starttag(self, tag, attributes):
        names = [name for name, _ in attributes]
        assert len(names) == len(set(names)), f"attribute twice: {tag} {names}"
        node = Node(tag, attributes)
        self.open[-1].children.append(node)
        if tag not in self.VOID:
            self.open.append(node)

    def handle_endtag(self, tag):
        assert self.open.pop().tag == tag

    def handle_data(self, data):
        self.open[-1].children.append(data)

    def handle_comment(self, data):
        raise AssertionError(f"comment: {data}")


def report(run, catalog=None, **options):
    """Write a report and return it as a tree."""
    path = write_report(run, catalog or isolated_catalog(), **options)
    return Reader(path.read_text(encoding="utf-8")).root


def section(page, heading):
    """Return the section of a heading, None if there is none."""
    found = [s for s in page.all("section") if [h.text() for h in s.all("h3")] == [heading]]
    return found[0] if found else None


def headings(page):
    return [node.text() for node in page.all("h3")]


ALL = ["Metrics", "Protocol", "CMC curve", "AP of the queries", "mAP by pair of cameras"]
ALL += ["Distances of pairs", "Ranked lists"]


# ---- the page as a whole ----------------------------------------------------------------


def test_sections_come_in_order_and_the_contents_lead_to_them(save):
    page = report(save())
    assert [node.text() for node in page.all("h1")] == ["run"]
    assert [node.text() for node in page.all("h2")] == ["market_evaluate on people"]
    assert headings(page) == ALL
    assert "best model" in page.one("header").text()
    links = page.one("nav").all("a")
    assert [link.text() for link in links] == ["market_evaluate on people", *ALL]
    ids = {node["id"]: node for node in page.all() if "id" in node.attributes}
    assert [ids[link["href"][1:]].text() for link in links] == [link.text() for link in links]


def test_a_page_is_accessible_as_far_as_its_source_tells(save):
    page = report(save())
    ids = [node["id"] for node in page.all() if "id" in node.attributes]
    assert len(ids) == len(set(ids))
    naming = ("aria-labelledby", "aria-describedby", "for")
    named = {(a, node[a]) for node in page.all() for a in naming if a in node.attributes}
    assert {attribute for attribute, _ in named} == set(naming)
    assert {name for _, name in named} <= set(ids)
    assert all(node["href"][1:] in ids for node in [*page.all("a"), *page.all("use")])
    assert all(node["alt"] for node in page.all("img"))
    assert all(node["scope"] in ("row", "col") for node in page.all("th"))
    assert all(node["tabindex"] == "0" and node["aria-label"] for node in page.all(role="region"))
    assert page.all(class_="scroll") == page.all(role="region")
    labels = [node["for"] for node in page.all("label")]
    assert labels == [node["id"] for node in page.all("input")]
    for chart in page.all("svg", class_="chart"):
        assert chart["role"] == "img"
        assert [node.tag for node in chart.children[:2]] == ["title", "desc"]
    assert page.one("html")["lang"] == "en"
    assert page.one("a", class_="skip")["href"] == f"#{page.one('main')['id']}"


def test_nothing_is_loaded_and_nothing_runs(save):
    run = save()
    page = report(run)
    policy = page.one("meta", http_equiv="Content-Security-Policy")
    assert (
        policy["content"]
        == POLICY
        == ("default-src 'none'; img-src data:; style-src 'unsafe-inline'")
    )
    assert not {"script", "link", "iframe", "object", "form", "base"} & {n.tag for n in page.all()}
    for node in page.all():
        assert not [name for name in node.attributes if name.startswith("on")]
        assert node.attributes.get("href", "#").startswith("#")
        assert node.attributes.get("src", "data:").startswith("data:")
    style = page.one("style").text()
    assert not re.search(r"url\(|@import|@font-face", style)
    assert not re.search(r"https?:|//", (run / "report.html").read_text(encoding="utf-8"))


def test_equal_scores_give_equal_bytes_wherever_the_run_lies(save, tmp_path):
    run = save()
    first = write_report(run, isolated_catalog()).read_bytes()
    moved = tmp_path / "elsewhere" / "run"
    shutil.copytree(run, moved)
    assert write_report(run, isolated_catalog()).read_bytes() == first
    assert write_report(moved, isolated_catalog()).read_bytes() == first


HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</title></style></svg><b>",
    "&lt;i&gt; &amp; <!-- -->",
]


def test_names_cannot_become_markup(save):
    spiteful = np.array([HOSTILE[i % len(HOSTILE)] for i in range(QUERIES)])
    run = save(
        arrays_of(name=spiteful, pid=spiteful),
        metrics={"mAP": 0.5, **dict.fromkeys(HOSTILE, 0.25)},
        intervals=dict.fromkeys(HOSTILE, (0.2, 0.3)),
        card={"warning": HOSTILE[0], **{text: {text: text} for text in HOSTILE}},
        name="<script>'\"&",
        target="<u>",
        model=HOSTILE[1],
        run="<img onload='x'>",
    )
    page = report(run)
    assert not {"script", "b", "i", "u"} & {node.tag for node in page.one("head").all()}
    assert not {"script", "i", "u"} & {node.tag for node in page.one("body").all()}
    assert not [n for n in page.all() if any(name.startswith("on") for name in n.attributes)]
    texts = [node.text() for node in page.all()]
    assert all(text in texts for text in HOSTILE)
    assert page.one("h1").text() == "<img onload='x'>"
    assert page.one("h2").text() == "<script>'\"& on <u>"


def test_names_that_are_no_text_are_shown_as_far_as_they_can_be(save):
    strange = np.array(["a\x00b\ud8ff\x1b.jpg"] * QUERIES)
    page = report(save(arrays_of(name=strange)))
    assert page.all(class_="name")[0].text() == "a\ufffdb\ufffd\ufffd.jpg"


# ---- numbers ----------------------------------------------------------------------------


def test_metrics_are_those_of_the_facts(save):
    page = report(save())
    rows = section(page, "Metrics").all("tr")[1:]
    got = {row.one("th").text(): [cell.text() for cell in row.all("td")][:2] for row in rows}
    assert got == {
        "mAP": ["0.6123", "[0.5511, 0.6622]"],
        "rank1": ["0.7500", "[0.7000, 0.8000]"],
        "tpr@0.001": ["0.4321", "–"],
        "tpr@0.01": ["0.8765", "–"],
    }
    assert [row.one("th").text() for row in rows if "primary" in str(row.attributes)] == ["mAP"]
    assert page.one("nav").one(class_="headline").text() == "mAP 0.6123"


def test_only_values_between_0_and_1_have_a_bar(save):
    page = report(save(metrics={"mAP": 0.5, "loss": 3.25, "low": -1.0}, intervals={}))
    rows = section(page, "Metrics").all("tr")[1:]
    assert [len(row.all("svg")) for row in rows] == [1, 0, 0]
    assert rows[0].one("path", class_="value")["d"] == "M0 8H50.0"


def test_the_card_is_shown_whole(save):
    card = section(report(save()), "Protocol")
    terms = [(d.one("dt").text(), d.one("dd").text()) for d in card.all("div") if not d.all("dl")]
    assert terms == [
        ("evaluator", "market_evaluate"),
        ("ap", "standard: mean of the precision at each match"),
        ("queries without match", "valid: left out of every mean"),
        ("postprocessing", '["k_reciprocal(k1=20)", "multi_query"]'),
        ("query", "8"),
        ("valid queries", "7"),
        ("dataset", "people"),
        ("query", "8"),
        ("gallery", "30"),
    ]
    assert card.all(class_="warning") == []


def test_a_warning_stands_before_the_card(save):
    card = section(report(save(card={"ap": "standard: x", "warning": "too good"})), "Protocol")
    assert card.children[1]["class"] == "warning"
    assert card.one(class_="warning").text() == "Warning: too good"
    assert "too good" not in card.one("dl").text()


def test_each_line_of_a_warning_is_one_of_its_own(save):
    card = section(report(save(card={"warning": "too good\nseen before"})), "Protocol")
    texts = [line.text() for line in card.one(class_="warning").all("p")]
    assert texts == ["Warning: too good", "Warning: seen before"]


def points_of(path):
    return np.array(
        [[float(x) for x in pair.split()] for pair in re.split("[MLZ]", path)[1:] if pair]
    )


def test_the_cmc_curve_goes_through_its_shares_on_a_logarithmic_axis(save):
    chart = section(report(save()), "CMC curve")
    x, y = points_of(chart.one("path", class_="one")["d"]).T
    ranks, shares = np.arange(1, 51), 1 - 0.25 / np.arange(1, 51)
    expected_x = x[0] + (x[-1] - x[0]) * np.log(ranks) / np.log(50)
    expected_y = y[0] + (y[-1] - y[0]) * (shares - shares[0]) / (shares[-1] - shares[0])
    np.testing.assert_allclose(x, expected_x, atol=0.11)
    np.testing.assert_allclose(y, expected_y, atol=0.21)
    notes = [node.text() for node in chart.all("text", class_="note")]
    assert notes == ["0.7500", "0.9500", "0.9750", "0.9875"]
    assert "one image per identity" not in chart.text()


def test_the_cmc_curve_of_single_shots_says_that_it_is_none(save):
    shots = tables_of(single_shot_ranks=np.ones((2, QUERIES)))
    assert "one image per identity" in section(report(save(tables=shots)), "CMC curve").text()


@pytest.mark.parametrize(
    ("ap", "counts", "expected", "note"),
    [
        (
            "standard",
            "valid",
            lambda a: a["ap"][:-1],
            "7 queries. 1 without a match are left",
        ),
        ("trapezoid", "valid", lambda a: a["ap_trapezoid"][:-1], "7 queries."),
        ("standard", "all", lambda a: a["ap"], "8 queries. 1 without a match count as 0."),
    ],
)
def test_the_histogram_counts_what_the_map_is_the_mean_of(save, ap, counts, expected, note):
    page = report(save(protocol={"ap": ap, "denominator": counts}))
    values = expected(arrays_of())
    chart = section(page, "AP of the queries")
    bars = [re.fullmatch(r"AP (.*) to (.*): (\d+) of .*", t.text()) for t in chart.all("title")[1:]]
    got = [(float(bar[1]), float(bar[2]), int(bar[3])) for bar in bars]
    assert len(got) == 20
    for low, high, count in got:
        inside = [v for v in values if low <= v < high or v == high == 1.0]
        assert count == len(inside), (low, high)
    assert f"mean {sum(values) / len(values):.4f}" in chart.text()
    assert note in chart.text()


def test_the_matrix_of_cameras_has_every_score_with_its_number_of_queries(save):
    part = section(report(save()), "mAP by pair of cameras")
    head, *rows = part.all("tr")
    assert [node.text() for node in head.all("th")] == ["0", "4", "7"]
    assert [row.one("th").text() for row in rows] == ["unknown", "4"]
    cells = [[(c["title"], c.text()) for c in row.all("td")] for row in rows]
    assert cells == [
        [("5 queries", "0.250, 5 queries"), ("1 query", "0.500, 1 query"), ("0 queries", "–")],
        [("2 queries", "0.750, 2 queries"), ("0 queries", "–"), ("7 queries", "0.875, 7 queries")],
    ]
    shares = [c["style"] for row in rows for c in row.all("td") if "style" in c.attributes]
    assert shares == ["--share:0%", "--share:40%", "--share:80%", "--share:100%"]
    assert "0.2500" in part.text()
    assert "0.8750" in part.text()


def test_every_false_match_rate_has_a_button_a_line_and_a_sentence(save):
    page = report(save())
    part = section(page, "Distances of pairs")
    assert [node.text() for node in part.all("label")] == ["0.001", "0.01"]
    buttons = part.all("input", type="radio")
    assert ["checked" in node.attributes for node in buttons] == [True, False]
    assert len({node["name"] for node in buttons}) == 1
    assert [g.one("text").text() for g in part.all("g", class_="at")] == ["0.51", "0.625"]
    texts = [node.text() for node in part.all("p", class_="at")]
    assert "nearer than 0.51 " in texts[0]
    assert "at most 0.1 % of the pairs of different persons" in texts[0]
    assert "0.4321 (tpr@0.001)" in texts[0]
    assert "0.8765 (tpr@0.01)" in texts[1]
    style = page.one("style").text()
    for i in (1, 2):
        assert f".rates input:nth-of-type({i}):checked~figure .at-{i}{{display:revert}}" in style
        assert len(part.all(class_=f"at-{i}")) == 2
    assert ":nth-of-type(3)" not in style


def test_distances_are_drawn_as_densities_of_each_kind(save):
    edges = np.concatenate([[0.0], np.cumsum(np.linspace(0.5, 2, 4))])
    changes = {"pairs.edges": edges, "pairs.counts": np.array([[3, 1, 0, 0], [0, 10, 20, 10]])}
    part = section(report(save(tables=tables_of(**changes))), "Distances of pairs")
    heights = {}
    for kind in ("same", "different"):
        _, y = points_of(part.one("path", class_=kind)["d"]).T
        heights[kind] = (y[0] - y[1:-1:2]) ** 2  # the axis is that of square roots
    widths = np.diff(edges)
    expected = {"same": [0.75, 0.25, 0, 0] / widths, "different": [0, 0.25, 0.5, 0.25] / widths}
    unit = heights["same"][0] / expected["same"][0]
    for kind, values in heights.items():
        np.testing.assert_allclose(values / unit, expected[kind], atol=0.01)


def test_a_threshold_that_accepts_all_pairs_has_no_line(save):
    changes = {"pairs.thresholds": np.array([0.5, np.inf])}
    part = section(report(save(tables=tables_of(**changes))), "Distances of pairs")
    assert len(part.all("g", class_="at")) == 1
    assert part.all("p", class_="at")[1].text().startswith("All pairs are taken for one person")


# ---- what is absent ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "heading", "reason"),
    [
        ("cmc", "CMC curve", "no CMC curve was saved"),
        ("pairs.edges", "Distances of pairs", "no distances of pairs were saved"),
        ("camera_pairs.map", "mAP by pair of cameras", "no scores by pair of cameras were saved"),
    ],
)
def test_a_section_without_its_table_is_left_out_with_the_reason(save, table, heading, reason):
    tables = tables_of()
    del tables[table]
    page = report(save(tables=tables))
    assert headings(page) == [h for h in ALL if h != heading]
    assert f"{heading}: {reason}" in page.one("aside").text()


@pytest.mark.parametrize(
    ("changes", "heading"),
    [
        ({"cmc": np.ones((2, 2))}, "CMC curve"),
        ({"cmc": np.array(["a", "b"])}, "CMC curve"),
        ({"cmc": np.ones(1)}, "CMC curve"),
        ({"pairs.counts": np.ones((2, 7))}, "Distances of pairs"),
        ({"pairs.counts": np.zeros((2, 200))}, "Distances of pairs"),
        ({"pairs.thresholds": np.ones(5)}, "Distances of pairs"),
        ({"pairs.edges": np.zeros(201)}, "Distances of pairs"),
        ({"camera_pairs.map": np.ones((3, 3))}, "mAP by pair of cameras"),
        ({"camera_pairs.map": np.full((2, 3), np.nan)}, "mAP by pair of cameras"),
    ],
)
def test_tables_of_another_shape_are_left_out(save, changes, heading):
    page = report(save(tables=tables_of(**changes)))
    assert headings(page) == [h for h in ALL if h != heading]
    assert f"{heading}: " in page.one("aside").text()


@pytest.mark.parametrize(
    "changes",
    [
        {"top_flags": np.full((QUERIES, 4), 7)},
        {"top_flags": np.zeros((QUERIES, 3))},
        {name: np.zeros((QUERIES, 0)) for name in ("top_indices", "top_flags", "top_distances")},
        {"first_rank": np.zeros(QUERIES)},
    ],
)
def test_ranked_lists_that_cannot_be_shown_are_left_out(save, changes):
    page = report(save(arrays_of(**changes)))
    assert "Ranked lists" not in headings(page)
    assert "Ranked lists: " in page.one("aside").text()


def test_an_evaluator_that_ranks_nothing_has_metrics_and_card(save):
    page = report(save({"rank": np.ones(5)}, {"confusion": np.eye(3)}, metrics={"top1": 0.5}))
    assert headings(page) == ["Metrics", "Protocol"]
    assert page.all("aside") == []


def test_an_evaluator_may_say_nearly_nothing(save):
    page = report(save({}, {}, metrics={}, intervals={}, protocol={}, card={}))
    assert headings(page) == ["Metrics", "Protocol"]
    assert "no card" in section(page, "Protocol").text()
    assert page.one(class_="headline").text() == ""


# ---- ranked lists -----------------------------------------------------------------------


def test_best_and_worst_queries_against_a_plain_sort(save):
    rng = np.random.default_rng(0)
    ap = rng.choice([0.25, 0.5, 1.0], 90)
    rank = rng.integers(0, 4, 90)
    names = np.array([f"{n:03d}" for n in rng.permutation(90)])
    flags = {f"top_{n}": np.zeros((90, 1), np.int64) for n in ("indices", "flags", "distances")}
    arrays = arrays_of(90, ap=ap, first_rank=rank, name=names, **flags)
    best, worst = best_and_worst(collect(save(arrays))[0])
    valid = [i for i in range(90) if rank[i] > 0]
    assert best == sorted(valid, key=lambda i: (-ap[i], rank[i], names[i]))[:20]
    assert worst == sorted(valid, key=lambda i: (ap[i], -rank[i], names[i]))[:20]


def test_of_few_queries_each_is_shown_once(save):
    arrays = arrays_of(31)
    best, worst = best_and_worst(collect(save(arrays))[0])
    assert (best, worst) == (list(range(20)), list(range(29, 19, -1)))
    page = report(save())
    assert [node.text() for node in page.all("h4")] == ["The 7 best queries"]
    assert "7 queries by average precision; 1 without a match are not ranked." in page.text()


def test_a_strip_names_the_query_and_ranks_what_counts(save):
    part = section(report(save()), "Ranked lists")
    strip = part.one("ol", class_="strips").children[1]
    about = strip.one(class_="about").text()
    assert all(text in about for text in ("AP 0.8857", "pid 1", "rank 2", "query/1.jpg"))
    query, *images = strip.one("ol", class_="images").children
    assert "query: pid pid 1, camera 0" in query.text()
    assert [node.one(class_="frame")["class"] for node in images] == [
        *("frame junk", "frame match", "frame wrong", "frame match")
    ]
    assert [node.one("use")["href"] for node in images] == [
        *("#sign-junk", "#sign-match", "#sign-wrong", "#sign-match")
    ]
    assert [node.one("b").text() for node in images] == ["–", "1", "2", "3"]
    assert [node.one(class_="distance").text() for node in images] == [
        *("0.125", "0.250", "0.500", "250")
    ]
    assert [node.one(class_="spoken").text() for node in images] == [
        "no rank, distance 0.125, junk",
        "rank 1, distance 0.250, match",
        "rank 2, distance 0.500, wrong",
        "rank 3, distance 250, match",
    ]


def test_a_strip_has_at_most_ten_images_and_none_for_absent_ones(save):
    shape = (QUERIES, 15)
    tops = {"top_indices": np.tile(np.arange(15), (QUERIES, 1)), "top_flags": np.ones(shape)}
    tops["top_indices"][:, 4:8] = -1
    tops["top_distances"] = np.ones(shape)
    part = section(report(save(arrays_of(**tops))), "Ranked lists")
    (first, *_) = part.all("ol", class_="images")
    assert [node.one("b").text() for node in first.children] == [
        *("query", "1", "2", "3", "4", "5", "6")
    ]


# ---- pictures ---------------------------------------------------------------------------


@pytest.fixture
def real_run(tmp_path, tiny_params, catalog):
    """A run with a packed store and scores whose queries are those of the store."""
    params = check_run_params(tiny_params, catalog, "params")
    (entry,) = params.data.train
    store = Stores(tmp_path / "runs").open(entry)
    directory = RunDirectory.create(tmp_path / "runs" / "run", params.model_dump(mode="json"), None)
    record = {"data": {"synthetic_market": store.manifest["content_hash"]}}
    write_json(directory.environment, record)
    queries, gallery = (store.index.positions(split) for split in ("query", "gallery"))
    names = {key: getattr(store.index, key)[queries] for key in ("name", "pid", "camid")}
    arrays = arrays_of(len(queries), **names)
    scores = Scores(METRICS, "mAP", PROTOCOL, CARD, arrays, tables_of(), INTERVALS)
    save_scores(
        directory.evaluations,
        Evaluated("market_evaluate", "synthetic_market", scores),
        "best",
        "best model, epoch 2",
    )
    return directory.path, store, queries, gallery


def remarks(page):
    return [node.text() for node in section(page, "Ranked lists").all("p", class_="remark")]


def test_pictures_are_those_of_the_store(real_run, catalog):
    run, store, queries, gallery = real_run
    page = report(run, catalog)
    assert remarks(page) == []
    strip = page.one("ol", class_="strips").children[0]
    images = strip.all("img")
    shown = [queries[0], *gallery[[3, 0, 2, 1]]]
    for image, position in zip(images, shown, strict=True):
        kind, _, data = image["src"].partition(",")
        assert kind == "data:image/jpeg;base64"
        with Image.open(io.BytesIO(base64.b64decode(data))) as picture:
            original = store.image(int(position))
            assert picture.size == original.size
            error = np.abs(np.asarray(picture, float) - np.asarray(original, float)).mean()
        assert error < 12
        pid, camera = store.index.pid[position], store.index.camid[position]
        assert f"pid {pid}, camera {camera}" in image["alt"]
        assert (image["width"], image["height"]) == ("48", "96")
    assert images[2]["alt"].endswith(", rank 1, distance 0.250, match")


def test_equal_pictures_give_equal_bytes(real_run, catalog):
    run, *_ = real_run
    first = write_report(run, catalog).read_bytes()
    assert write_report(run, catalog).read_bytes() == first


def test_a_run_that_was_moved_with_its_store_keeps_its_pictures(real_run, catalog, tmp_path):
    real_run[1].close()
    (tmp_path / "runs").rename(tmp_path / "moved")
    assert remarks(report(tmp_path / "moved" / "run", catalog)) == []


def test_without_its_store_a_run_has_a_report_without_pictures(real_run, catalog):
    run, store, *_ = real_run
    shutil.rmtree(store.path)
    page = report(run, catalog)
    (text,) = remarks(page)
    assert "There are no pictures: the packed images of 'synthetic_market' are not there" in text
    assert page.all("img") == []
    assert len(page.one("ol", class_="strips").children) == 7
    assert not store.path.exists(), "nothing may be packed for a report"


def test_scores_of_other_images_are_shown_without_pictures(real_run, catalog):
    run, *_ = real_run
    path = run / "evaluations" / "best-market_evaluate-synthetic_market.npz"
    rewrite_scores(path, lambda a: {**a, "per_query.name": a["per_query.name"][::-1]})
    assert "not those that were scored" in remarks(report(run, catalog))[0]


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (lambda run: (run / "params.json").write_text("{"), "params.json: not valid JSON"),
        (lambda run: (run / "params.json").unlink(), "do not lie in a run"),
        (lambda run: (run / "environment.json").unlink(), "environment.json: no such file"),
        (lambda run: write_json(run / "environment.json", {}), "does not say which images"),
    ],
)
def test_what_keeps_pictures_away_is_said(real_run, catalog, damage, expected):
    run, *_ = real_run
    damage(run)
    assert expected in remarks(report(run, catalog))[0]


def test_a_damaged_image_is_said(real_run, catalog, monkeypatch):
    run, store, *_ = real_run
    monkeypatch.setattr(type(store), "read", lambda self, position: b"no image")
    assert "not an image" in remarks(report(run, catalog))[0]


# ---- training ---------------------------------------------------------------------------


def lines_of(steps=6):
    for step in range(1, steps + 1):
        line = {"kind": "train", "step": step, "epoch": step / 2, "total": 3.0 / step}
        yield line | {"losses": {"softmax": 2.0 / step, "triplet": 1.0 / step}, "rates": {"a": 0.1}}
    place = {"evaluation": "market_evaluate", "target": "people", "primary": "mAP", "step": 6}
    yield {"kind": "baseline", "name": "<histogram>", **place, "metrics": {"mAP": 0.125}}
    yield {"kind": "evaluation", "epoch": 3, **place, "metrics": {"mAP": 0.6125, "rank1": 0.75}}


def write_lines(run, lines):
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (run / "metrics.jsonl").write_text(text)
    return run


def test_the_course_of_the_training_is_drawn(save):
    page = report(write_lines(save(), lines_of()))
    assert headings(page) == [*ALL, "Loss", "Learning rate", "Score"]
    loss = section(page, "Loss")
    assert [node.text().strip() for node in loss.all("li")] == [
        *("total 0.55", "softmax 0.367", "triplet 0.183")
    ], "the means of the last two"
    assert "Lines: running means" in loss.text()
    x, y = points_of(loss.all("path", class_="series-0")[0]["d"]).T
    np.testing.assert_allclose((x - x[0]) / (x[-1] - x[0]), np.linspace(0, 1, 6), atol=0.001)
    values = 3 / np.arange(1, 7)
    means = np.array([values[max(0, i - 1) : i + 2].mean() for i in range(6)])
    np.testing.assert_allclose(
        (y - y[0]) / (y[-1] - y[0]), (means - means[0]) / (means[-1] - means[0]), atol=0.005
    )
    dots = [dot for dot in loss.all("circle", class_="raw") if "series-0" in dot["class"]]
    assert [float(dot["cx"]) for dot in dots] == pytest.approx(list(x))
    heights = np.array([float(dot["cy"]) for dot in dots])
    np.testing.assert_allclose(
        (heights - heights[0]) / (heights[-1] - heights[0]),
        (values - values[0]) / (values[-1] - values[0]),
        atol=0.005,
    )
    score = section(page, "Score")
    assert [node.text().strip() for node in score.all("li")] == [
        *("mAP 0.6125", "rank1 0.7500", "<histogram> mAP 0.1250")
    ]


def test_one_epoch_is_one_point_in_every_chart(save):
    place = {"evaluation": "market_evaluate", "target": "people", "primary": "mAP", "step": 6}
    scored = {"kind": "evaluation", "epoch": 1, **place, "metrics": {"mAP": 0.5}}
    page = report(write_lines(save(), [next(lines_of(1)), scored]))
    for heading, count in (("Loss", 3), ("Learning rate", 1), ("Score", 1)):
        chart = section(page, heading)
        assert len(chart.all("circle")) == count
        assert not chart.all("circle", class_="raw")


def test_a_long_training_is_averaged(save):
    page = report(write_lines(save(), lines_of(1000)))
    loss = section(page, "Loss")
    (path, *_) = loss.all("path", class_="series-0")
    assert len(points_of(path["d"])) == 300
    assert "Neighbouring steps are averaged." in loss.text()
    assert "averaged" not in section(page, "Score").text()


def test_without_a_record_there_is_no_training(save):
    assert "Training" not in report(save()).text()
    assert "Training" not in report(write_lines(save(run="empty"), [])).text()


# ---- what repeats the run ----------------------------------------------------------------


def foot_of(run):
    """Return the foot's facts, and the params that stand in it."""
    foot = report(run).one("footer")
    names, values = ([node.text() for node in foot.all(tag)] for tag in ("dt", "dd"))
    return dict(zip(names, values, strict=True)), [node.text() for node in foot.all("pre")]


def test_the_foot_says_what_repeats_the_run(save):
    run = save()
    params = {"train": {"seed": 7, "epochs": 2}, "head": [{"name": HOSTILE[0]}], "名": "</pre>"}
    write_json(run / "params.json", params)
    command = "train.py --operation start_train --set 'working_dir=<b>my runs</b>'"
    start = {"git": {"commit": "0123abc", "changed_files": 2}, "command": command}
    start |= {"python": "3.11.7", "torch": "2.14", "device": "cpu", "device_name": "x86_64"}
    again = {**start, "command": "train.py --operation resume_train", "torch": "2.15"}
    write_json(run / "environment.json", {"data": {}, "starts": [start, again]})
    facts, (text,) = foot_of(run)
    assert json.loads(text) == params
    assert facts == {
        "seed": "7",
        "commit": "0123abc, and 2 changed files",
        "command": f"{command}; then train.py --operation resume_train",
        "device": "cpu (x86_64)",
        "versions": "python 3.11.7, torch 2.14; then python 3.11.7, torch 2.15",
    }


def test_the_foot_of_scores_without_a_run_names_nothing(save):
    assert foot_of(save(kind="scores", where=".")) == ({}, [])


@pytest.mark.parametrize("content", ["[1]", "5", '{"train": [], "starts": [5, {"git": 3}]}', "{}"])
def test_the_foot_of_a_strange_record_leaves_out_what_is_not_there(save, content):
    run = save()
    for name in ("params.json", "environment.json"):
        (run / name).write_text(content)
    facts, _ = foot_of(run)
    assert "seed" not in facts
    assert "commit" not in facts
    assert "command" not in facts


def test_the_foot_says_what_cannot_be_read(save):
    run = save()
    (run / "params.json").write_text("{")
    (run / "environment.json").write_text("{")
    facts, _ = foot_of(run)
    assert list(facts) == ["params", "environment"]
    assert all("not valid JSON" in text for text in facts.values())


@pytest.mark.parametrize("line", ["[1]\n{}\n", '{"kind": "train"}\n'])
def test_a_damaged_record_is_named(save, line):
    run = save()
    (run / "metrics.jsonl").write_text(line)
    with pytest.raises(ReidError, match=r"metrics\.jsonl: "):
        report(run)


# ---- which scores -----------------------------------------------------------------------


def test_several_evaluations_have_a_section_each(save):
    save(name="first", kind="best")
    run = save({"rank": np.ones(4)}, {}, name="second", kind="best", metrics={"top1": 0.25})
    page = report(run)
    assert [node.text() for node in page.all("h2")] == ["first on people", "second on people"]
    assert [node.text() for node in page.one("nav").all(class_="headline")] == [
        *("mAP 0.6123", "top1 0.2500")
    ]
    only = report(run, evaluation="second")
    assert [node.text() for node in only.all("h2")] == ["second on people"]


def test_the_best_scores_come_before_the_last_unless_told_otherwise(save):
    run = save(kind="last")
    assert "last model" in report(run).one("header").text()
    save(kind="best")
    save(kind="baseline-x")
    assert report(run).one(class_="model").text() == "best model"
    assert report(run, kind="last").one(class_="model").text() == "last model"


def test_the_folder_of_an_evaluator_has_a_report_without_pictures(save, tmp_path):
    run = save(kind="scores", where=".")
    page = report(run)
    assert headings(page) == ALL
    assert "do not lie in a run" in remarks(page)[0]


def message(run, **options):
    with pytest.raises(ReidError) as error:
        write_report(run, isolated_catalog(), **options)
    return str(error.value)


def test_a_folder_without_scores_is_named(save, tmp_path):
    assert message(tmp_path / "none") == (
        f"{tmp_path / 'none'}: no such folder; name the directory of a run"
    )
    (tmp_path / "empty").mkdir()
    assert message(tmp_path / "empty").startswith(f"{tmp_path / 'empty'}: no saved scores: ")
    run = save(kind="last")
    assert f"{run}: no saved scores: neither best-*.json" in message(run, kind="best")


def test_an_unknown_evaluation_is_named(save):
    assert message(save(), evaluation="market_evalute") == (
        f"--evaluation: {save()} has no scores of 'market_evalute'; did you mean "
        "'market_evaluate'? (it has: market_evaluate)"
    )


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"evaluation": 3}, "'evaluation' is not a text"),
        ({"primary": None}, "'primary' is not a text"),
        ({"metrics": []}, "'metrics' is not an object"),
        ({"metrics": {"mAP": "high"}}, "the metric 'mAP' is not a number"),
        ({"intervals": {"mAP": [0.5]}}, "the interval of 'mAP' is not two numbers"),
        ({"card": "none"}, "'card' is not an object"),
        ({"protocol": None}, "'protocol' is not an object"),
    ],
)
def test_damaged_facts_are_named(save, change, fault):
    run = save()
    path = run / "evaluations" / "best-market_evaluate-people.json"
    rewrite_json(path, **change)
    assert f"best-market_evaluate-people: saved scores are damaged: {fault}" in message(run)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"ap": np.ones(3)}, "the arrays of the queries differ in length"),
        ({"ap": np.ones((QUERIES, 2))}, "the array 'ap' has 2 dimensions"),
        ({"ap": np.array(["a"] * QUERIES)}, "the array 'ap' has no numbers"),
    ],
)
def test_damaged_arrays_are_named(save, change, fault):
    assert f"best-market_evaluate-people: saved scores are damaged: {fault}" in message(
        save(arrays_of(**change))
    )


@pytest.mark.parametrize("ending", ["json", "npz"])
def test_damaged_files_are_named(save, ending):
    run = save()
    (run / "evaluations" / f"best-market_evaluate-people.{ending}").write_bytes(b"PK")
    assert "best-market_evaluate-people: saved scores are missing or damaged" in message(run)


# ---- colours ----------------------------------------------------------------------------


def themes():
    """Return the colours of both themes by name."""
    text = (files("reid_plugins.command._report") / "style.css").read_text(encoding="utf-8")
    light, dark = re.findall(r":root \{(.*?)\}", text, re.DOTALL)
    colours = [dict(re.findall(r"--([\w-]+): (#\w{6});", block)) for block in (light, dark)]
    assert colours[0].keys() == colours[1].keys()
    return {"light": colours[0], "dark": colours[1]}


def contrast(one, other):
    """Return the contrast ratio of WCAG 2, 1 to 21."""

    def luminance(colour):
        channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


TEXTS = [(ink, paper) for ink in ("ink", "quiet", "accent") for paper in ("paper", "card")]
TEXTS += [("ink", "tint"), ("warning-ink", "warning-paper")]
SHAPES = [(line, "card") for line in ("bar", "match", "wrong", "junk", "accent")]
SHAPES += [(f"series-{i}", "card") for i in range(7)] + [("accent", "tint")]
SHAPES += [("sign", verdict) for verdict in ("match", "wrong", "junk")]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_colours_can_be_told_apart(theme):
    colours = themes()[theme]
    for pairs, least in ((TEXTS, 4.5), (SHAPES, 3)):
        for one, other in pairs:
            assert contrast(colours[one], colours[other]) >= least, (one, other)


# ---- the command ------------------------------------------------------------------------


@pytest.fixture
def reid(monkeypatch, capsys):
    """A function from arguments of the command to its status, output and errors."""
    monkeypatch.setattr(cli, "load_catalog", lambda: isolated_catalog(plugin))

    def run(*arguments):
        status = cli.main(["report", *map(str, arguments)])
        return status, *capsys.readouterr()

    return run


def test_the_command_writes_where_it_is_told(save, reid, tmp_path):
    run = save()
    assert reid(run) == (0, f"report: {run / 'report.html'}\n", "")
    other = tmp_path / "deep" / "page.html"
    assert reid(run, "--output", other, "--kind", "best")[:2] == (0, f"report: {other}\n")
    assert other.read_bytes() == (run / "report.html").read_bytes()
    assert not list(tmp_path.rglob("*.tmp"))


def test_the_command_says_what_is_wrong(save, reid, tmp_path):
    status, out, err = reid(tmp_path / "none")
    assert (status, out) == (2, "")
    assert err == f"error: {tmp_path / 'none'}: no such folder; name the directory of a run\n"
    (tmp_path / "file").write_text("")
    status, _, err = reid(save(), "--output", tmp_path / "file" / "page.html")
    assert status == 2
    assert "cannot be written" in err
    assert reid(save(), "--evaluation", "x")[0] == 2

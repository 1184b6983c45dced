"""The report on sizes and imports, and the graph that it and other checks stand on."""

import pytest

from code_size import report
from import_graph import graph_of, levels, room_of

HOUSE = {
    "reid_core": "",
    "reid_core.files": "def write():\n    pass\n",
    "reid_core.api": "from reid_core.data.store import Store\n",
    "reid_core.data": "",
    "reid_core.data.store": "from reid_core import files\n\n\n@a\nclass Store:\n    x = 1\n",
}


def test_packages_rooms_and_imports_are_counted():
    assert list(report(HOUSE)) == [
        "reid_core: 5 files, 9 lines (median 1, longest 6); functions: median 2, longest 2",
        "      2 lines  reid_core.files:write",
        "rooms:",
        "  reid_core (kernel)           2 files      2 lines",
        "  reid_core.api                1 files      1 lines",
        "  reid_core.data               2 files      6 lines",
        "imports: 2 among files, 2 of them among rooms; 3 levels, 0 circles",
    ]


def test_what_is_larger_than_its_goal_and_circles_are_named():
    large = {"reid_core.files": "x = 1\n" * 2201, "reid_core.data.store": "x = 1\n" * 1501}
    large |= {"reid_evaluate.ranking": "", "reid_evaluate.ranking.keys": "x = 1\n" * 1501}
    lines = list(report({**HOUSE, **large}))
    assert "  reid_evaluate.ranking        2 files   1501 lines" in lines
    assert "  reid_core (kernel)           2 files   2201 lines  more than 2200" in lines
    assert "  reid_core.data               2 files   1501 lines  more than 1500" in lines
    lines = list(report({**HOUSE, "reid_core.files": "from reid_core.data import store"}))
    assert lines[-2:] == [
        "imports: 3 among files, 3 of them among rooms; no levels, 1 circles",
        "  circle: reid_core.data.store, reid_core.files",
    ]


def test_levels():
    found = levels(graph_of(HOUSE))
    assert [found[f"reid_core.{name}"] for name in ("files", "data.store", "api")] == [1, 2, 3]
    with pytest.raises(ValueError, match="these import each other: a, b"):
        levels({"a": {"b"}, "b": {"a"}})


@pytest.mark.parametrize(
    ("name", "room"),
    [
        ("reid_core", "reid_core"),
        ("reid_core.files", "reid_core"),
        ("reid_core.api", "reid_core.api"),
        ("reid_core.data", "reid_core.data"),
        ("reid_core.data.store", "reid_core.data"),
        ("reid_plugins.loss.triplet", "reid_plugins.loss"),
        ("reid_evaluate.ranking.keys", "reid_evaluate"),
    ],
)
def test_the_room_of_a_module(name, room):
    assert room_of(name, HOUSE) == room

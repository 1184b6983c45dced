"""README and guides name files and folders of this house, and those that they name are there."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HOUSES = ("", "reid_core", "plugins/reid_plugins", "evaluate/reid_evaluate", "tests", "docs")
"""Where a path may begin that a guide shortens."""


def guides():
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def paths_of(text):
    """Return what stands in backticks and looks like a file or folder of ours."""
    words = re.findall(r"`([\w./*-]+)`", text)
    return {w for w in words if re.search(r"\.(py|json|md|toml|cfg)$", w) or w.endswith("/")}


def exists(path):
    return any(list((ROOT / house).glob(path.rstrip("/"))) for house in HOUSES)


def test_every_file_that_a_guide_names_is_there():
    named = {
        (guide.name, path)
        for guide in guides()
        for path in paths_of(guide.read_text(encoding="utf-8"))
        if "/" in path.rstrip("/")
    }
    assert len(named) > 50
    # Of a folder of runs, only its sources are ours.
    ours = {n for n in named if n[1].endswith(".py") or not n[1].startswith("runs/")}
    assert sorted(name for name in ours if not exists(name[1])) == []


def test_every_folder_of_the_core_stands_in_the_readme_and_in_the_stack():
    rooms = {p.parent.name for p in (ROOT / "reid_core").glob("*/__init__.py")}
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    stack = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert [room for room in rooms if f"reid_core/{room}/" not in readme] == []
    assert [room for room in rooms if not re.search(rf"│ {room} ", stack)] == []

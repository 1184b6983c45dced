"""The mutation checker, on a package of two files whose tests see one change and not the other."""

import ast
import sys

import pytest

from mutation_check import Project, check, chosen_mutants, main, mutants_of, nearest_tests

SIZE = '''"""Sizes."""

def area(width: int = 2, height: int = 3) -> int:
    """Return the area of 1 rectangle."""
    return width * height


def is_large(size: int, limit: int = 10) -> bool:
    return size > limit
'''
SEEN = """
from reid_core.shapes.size import area

def test_area():
    assert area() == 6
    assert area(5, 7) == 35
"""


@pytest.fixture
def project(tmp_path):
    """A checkout with its own ``reid_core`` beside the installed one."""
    for folder, files in {
        "reid_core": {"__init__.py": "", "top.py": "from reid_core.shapes import size\n"},
        "reid_core/shapes": {"__init__.py": "", "size.py": SIZE},
        "tests/unit": {
            "test_size.py": SEEN,
            "test_top.py": "from reid_core import top\n\ndef test_it():\n    assert top\n",
            "test_other.py": "def test_it():\n    raise AssertionError('it is not asked for')\n",
        },
    }.items():
        (tmp_path / folder).mkdir(parents=True)
        for name, text in files.items():
            (tmp_path / folder / name).write_text(text)
    return Project(tmp_path, ("unit",))


def sources_of(project):
    paths = (project.root / "reid_core").rglob("*.py")
    names = {p: ".".join(p.relative_to(project.root).with_suffix("").parts) for p in paths}
    return {name.removesuffix(".__init__"): path.read_text() for path, name in names.items()}


def test_mutants_are_killed_by_the_test_that_sees_them_or_survive(project):
    before = sources_of(project)
    found = {m.change: by for _, m, by in check(project, seed=0, count=99, only=None, most=5)}
    assert found == {
        "2  ->  3": "test_size::test_area",
        "3  ->  4": "test_size::test_area",
        "width * height  ->  None": "test_size::test_area",
        "width * height  ->  (width / height)": "test_size::test_area",
        "10  ->  11": None,
        "size > limit  ->  None": None,
        "size > limit  ->  (size >= limit)": None,
    }
    assert sources_of(project) == before


def test_a_test_that_fails_by_itself_or_sees_another_copy_stops_the_check(project):
    test = project.root / "tests" / "unit" / "test_size.py"
    test.write_text(SEEN.replace("6", "7"))
    with pytest.raises(SystemExit, match="without any mutant, test_size::test_area fails"):
        list(check(project, 0, 1, None, 5))
    elsewhere = f"import sys\nsys.path.insert(0, {str(project.root)!r})\n"
    test.write_text(elsewhere + SEEN)
    (project.root / "tests" / "unit" / "test_top.py").unlink()
    with pytest.raises(SystemExit, match="do not import the copy"):
        list(check(project, 0, 1, None, 5))


def test_the_nearest_tests_come_first(project):
    modules = ["reid_core.shapes.size", "reid_core.top"]
    found = nearest_tests(modules, project, sources_of(project), most=5)
    names = [[path.stem for path in found[module]] for module in modules]
    assert names == [["test_size", "test_top"], ["test_top"]]
    (first,) = nearest_tests(modules[:1], project, sources_of(project), most=1).values()
    assert [path.stem for path in first] == ["test_size"]


@pytest.mark.parametrize(
    ("source", "changes"),
    [
        ("x = a == b", {"comparison": "x = (a != b)"}),
        ("x = a in b", {"comparison": "x = (a not in b)"}),
        ("x = (a + b) * c", {"arithmetic": "x = ((a - b)) * c"}),
        ("x = not a", {"not": "x = (a)"}),
        ("x = a or b", {"and/or": "x = (a and b)"}),
        ("x = a if b else c", {"choice": "x = (c)"}),
        ("x = True", {"constant": "x = False"}),
        ("f(a, b=c)", {"keyword": "f(a)"}),
        ("def f():\n    return 'ä', a", {"return": "def f():\n    return None"}),
        ("def f(a: Literal[1]) -> Literal[2]: pass", {}),
        ("x: Annotated[int, f(ge=1)] = a", {}),
        ("@frozen(a=True)\nclass A: pass", {}),
        ("x = f'{a + b}'", {}),
        ("f(description=a + b)", {}),
        ("if TYPE_CHECKING:\n    x = 1", {}),
        ("def f():\n    return None", {}),
        ("if a < b < c: pass", {}),
        ("'1 + 1'", {}),
    ],
)
def test_every_sort_of_change(source, changes):
    assert {m.kind: m.source for m in mutants_of("m", source)} == changes
    for mutant in mutants_of("m", source):
        ast.parse(mutant.source)


def test_the_seed_decides_and_kinds_share_the_places():
    sources = {"reid_core.a": "x = [1, 2, 3, 4, 5, 6, 7, 8, 9]\ny = not x\n"}
    (first,) = chosen_mutants(sources, 0, 4).values()
    assert chosen_mutants(sources, 0, 4) == {"kernel": first}
    assert any(chosen_mutants(sources, seed, 4)["kernel"] != first for seed in range(1, 5))
    assert {mutant.kind for mutant in first} == {"constant", "not"}
    assert len(set(first)) == 4
    assert len(chosen_mutants(sources, 0, 99)["kernel"]) == 10


def test_rooms_are_named_and_listed(monkeypatch, capsys):
    with pytest.raises(SystemExit, match="no room 'attic'; there are kernel"):
        chosen_mutants({"reid_core.a": "x = 1"}, 0, 4, only="attic")
    monkeypatch.setattr(sys, "argv", ["mutation_check.py", "--list", "--only", "compute"])
    assert main() == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 12
    assert all(line.startswith("reid_core.compute.") for line in lines[::2])
    assert "test_device" in lines[1]

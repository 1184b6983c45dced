"""Change the core in one place at a time and look whether a test fails: do the tests see it?

python tools/mutation_check.py                     # six mutants of every room
python tools/mutation_check.py --only data --count 20 --seed 3
python tools/mutation_check.py --list              # what would be tried

The same seed gives the same mutants of the same sources. They run in a copy; nothing here changes.
Of each mutant the nearest test files run. What survives those of ``FOLDERS`` may still be seen by
an integration test: ``--folders unit contract oracle integration`` tells, and takes much longer.
"""

from __future__ import annotations

import argparse
import ast
import copy
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from import_graph import PACKAGES, ROOT, graph_of, imports_of, module_files, read_sources, room_of

FOLDERS = ("unit", "contract", "oracle")
"""The tests that are quick enough to be run once a mutant."""

LEFT_OUT = (".*", "__pycache__", "*.egg-info")
LEFT_OUT_AT_THE_TOP = {"build", "dist", "runs"}
"""What git or a build has put there; a room of the core is called runs, too."""

UNTESTED_KEYWORDS = ("description", "summary", "reference", "help")
"""Keywords whose values are words for people."""

COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
}


@dataclass(frozen=True)
class Project:
    """A checkout, its packages and the folders of its tests."""

    root: Path = ROOT
    folders: tuple[str, ...] = FOLDERS

    @property
    def packages(self) -> dict[str, Path]:
        """Return the folder of every package that the checkout has."""
        found = {n: self.root / path.relative_to(ROOT) for n, path in PACKAGES.items()}
        return {name: path for name, path in found.items() if path.is_dir()}

    @property
    def search_path(self) -> str:
        """Return the folders in which the packages are found before an installed one."""
        return os.pathsep.join(dict.fromkeys(str(p.parent) for p in self.packages.values()))

    def tests(self) -> list[Path]:
        """Return the test files, relative to the root."""
        found = (p for f in self.folders for p in (self.root / "tests" / f).glob("test_*.py"))
        return sorted(path.relative_to(self.root) for path in found)


# ---- mutants ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Mutant:
    """A module with one expression changed."""

    module: str
    line: int
    kind: str
    change: str
    source: str


def mutants_of(module: str, text: str) -> list[Mutant]:
    """Return every mutant of a module, in the order of the file."""
    found = []
    for node in _expressions(ast.parse(text)):
        for kind, target, new in _changes(node):
            source = _replaced(text, target, new)
            before = " ".join(str(ast.get_source_segment(text, target)).split())
            change = f"{_short(before)}  ->  {_short(new)}"
            found.append(Mutant(module, target.lineno, kind, change, source))
    return found


def _expressions(node: ast.AST) -> Iterator[ast.AST]:
    """Yield what may be changed: no annotations, decorators, f-strings or words for people."""
    yield node
    for name, field in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list"):
            continue
        for child in field if isinstance(field, list) else [field]:
            words = isinstance(child, ast.keyword) and child.arg in UNTESTED_KEYWORDS
            types = isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"
            if isinstance(child, ast.AST) and not (
                words or types or isinstance(child, ast.JoinedStr)
            ):
                yield from _expressions(child)


def _changes(node: ast.AST) -> Iterator[tuple[str, ast.expr, str]]:
    """Yield (kind, expression to be replaced, source text in its place) of one node."""
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        new = ast.Compare(node.left, [COMPARISONS[type(node.ops[0])]()], node.comparators)
        yield "comparison", node, f"({ast.unparse(new)})"
    elif isinstance(node, ast.BinOp) and type(node.op) in ARITHMETIC:
        changed = ast.BinOp(node.left, ARITHMETIC[type(node.op)](), node.right)
        yield "arithmetic", node, f"({ast.unparse(changed)})"
    elif isinstance(node, ast.BoolOp):
        other = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        yield "and/or", node, f"({ast.unparse(ast.BoolOp(other, node.values))})"
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield "not", node, f"({ast.unparse(node.operand)})"
    elif isinstance(node, ast.IfExp):
        yield "choice", node, f"({ast.unparse(node.orelse)})"
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool | int | float):
        value = not node.value if isinstance(node.value, bool) else node.value + 1
        yield "constant", node, repr(value)
    elif isinstance(node, ast.Return) and node.value and ast.unparse(node.value) != "None":
        yield "return", node.value, "None"
    elif isinstance(node, ast.Call):
        for i, keyword in enumerate(node.keywords):
            if keyword.arg and keyword.arg not in UNTESTED_KEYWORDS:
                fewer = copy.copy(node)
                fewer.keywords = node.keywords[:i] + node.keywords[i + 1 :]
                yield "keyword", node, ast.unparse(fewer)


def _replaced(text: str, node: ast.expr, new: str) -> str:
    """Return a text with the source of one expression replaced; columns count bytes."""
    lines = text.encode().splitlines(keepends=True)
    start = sum(map(len, lines[: node.lineno - 1])) + node.col_offset
    stop = sum(map(len, lines[: int(node.end_lineno or 0) - 1])) + int(node.end_col_offset or 0)
    whole = b"".join(lines)
    return (whole[:start] + new.encode() + whole[stop:]).decode()


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."


def chosen_mutants(
    sources: Mapping[str, str], seed: int, count: int, only: str | None = None
) -> dict[str, list[Mutant]]:
    """Draw up to ``count`` mutants of every room of the core, of as many kinds as there are.

    Raises:
        SystemExit: There is no room ``only``.
    """
    rooms: dict[str, dict[str, list[Mutant]]] = defaultdict(lambda: defaultdict(list))
    for name in sorted(sources):
        room = room_of(name, sources)
        if room.partition(".")[0] == "reid_core":
            for mutant in mutants_of(name, sources[name]):
                rooms[room.partition(".")[2] or "kernel"][mutant.kind].append(mutant)
    if only is not None and only not in rooms:
        raise SystemExit(f"no room '{only}'; there are {', '.join(sorted(rooms))}")
    return {
        room: _drawn(random.Random(f"{seed} {room}"), kinds, count)
        for room, kinds in sorted(rooms.items())
        if only in (None, room)
    }


def _drawn(rng: random.Random, kinds: dict[str, list[Mutant]], count: int) -> list[Mutant]:
    """Draw mutants, each of a kind that is drawn first, so that none is crowded out."""
    left = {kind: rng.sample(found, len(found)) for kind, found in sorted(kinds.items())}
    drawn: list[Mutant] = []
    while len(drawn) < count and any(left.values()):
        drawn.append(left[rng.choice([kind for kind in left if left[kind]])].pop())
    return sorted(drawn, key=lambda mutant: (mutant.module, mutant.line))


# ---- the tests of a module --------------------------------------------------------------


def nearest_tests(
    modules: Iterable[str], project: Project, sources: Mapping[str, str], most: int
) -> dict[str, list[Path]]:
    """Return for each module the test files that are nearest to it, the nearest first.

    A file that imports the module is nearer than one that imports its users, and of two at one
    distance the one that imports less is.
    """
    graph = graph_of(sources)
    uses = {}
    for path in project.tests():
        text = (project.root / path).read_text(encoding="utf-8")
        uses[path] = {line.imported for line in imports_of("a test", {**sources, "a test": text})}
    found = {}
    for module in dict.fromkeys(modules):
        far = _distances(module, graph)
        reaching = {path: used & far.keys() for path, used in uses.items() if used & far.keys()}
        order = {p: (min(far[n] for n in used), len(uses[p]), p) for p, used in reaching.items()}
        found[module] = sorted(reaching, key=order.__getitem__)[:most]
    return found


def _distances(module: str, graph: Mapping[str, set[str]]) -> dict[str, int]:
    """Return how many imports away a module is from each of those that need it."""
    near, ring = {module: 0}, {module}
    while ring:
        ring = {name for name in graph if graph[name] & ring} - near.keys()
        near |= dict.fromkeys(ring, max(near.values()) + 1)
    return near


@dataclass(frozen=True)
class Outcome:
    """What a run of tests said: the test that failed first, or nothing."""

    killed_by: str | None
    seconds: Mapping[str, float]
    """The time of each test file that ended."""


class Copy:
    """A copy of a project in which one file at a time is changed and tests are run."""

    def __init__(self, project: Project, folder: Path) -> None:
        """Copy the checkout without what git or a build has put there."""
        root = folder / "checkout"
        anywhere = shutil.ignore_patterns(*LEFT_OUT)

        def left_out(place: str, names: list[str]) -> set[str]:
            at_the_top = Path(place) == project.root
            return anywhere(place, names) | (LEFT_OUT_AT_THE_TOP if at_the_top else set())

        shutil.copytree(project.root, root, ignore=left_out)
        self.project = Project(root, project.folders)
        self.files = module_files(self.project.packages)
        self.report = folder / "report.xml"

    def run(self, tests: Sequence[Path], timeout: float, first: bool = True) -> Outcome:
        """Run test files in their order, up to the first failure if asked.

        Raises:
            RuntimeError: pytest could not run them.
        """
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
        command += ["-p", "no:randomly", "--hypothesis-seed=0"]
        command += ["-o", "junit_family=xunit1", f"--junit-xml={self.report}"]
        command += ["-x"] if first else []
        self.report.unlink(missing_ok=True)
        process = subprocess.Popen(
            [*command, *map(str, tests)],
            cwd=self.project.root,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            output, _ = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            return Outcome(f"no end within {timeout:.0f} s", {})
        if process.returncode not in (0, 1, 2) or not self.report.is_file():
            raise RuntimeError(f"pytest ended with {process.returncode}:\n{output}")
        return self._outcome(process.returncode)

    def environment(self) -> dict[str, str]:
        """Return variables under which the copy's packages are found before the installed ones."""
        more = {
            "PYTHONPATH": self.project.search_path,
            "PYTHONDONTWRITEBYTECODE": "1",  # two mutants of one second would share their bytecode
            "OMP_NUM_THREADS": "1",
        }
        return {**os.environ, **more}

    def _outcome(self, status: int) -> Outcome:
        """Read pytest's report."""
        seconds: dict[str, float] = defaultdict(float)
        failed = []
        for case in ET.parse(self.report).iter("testcase"):
            seconds[case.get("file", "")] += float(case.get("time", 0))
            if case.find("failure") is not None or case.find("error") is not None:
                failed.append(f"{case.get('classname', '').rpartition('.')[2]}::{case.get('name')}")
        by = (failed or ["a test"])[0].removeprefix("::") if status else None
        return Outcome(by, seconds)

    def kills(self, mutant: Mutant, tests: Sequence[Path], timeout: float) -> str | None:
        """Return the test that fails with a mutant, or None."""
        file = self.files[mutant.module]
        before = file.read_bytes()
        file.write_text(mutant.source, encoding="utf-8")
        try:
            return self.run(tests, timeout).killed_by
        finally:
            file.write_bytes(before)

    def check(self, modules: Mapping[str, Sequence[Path]]) -> dict[str, float]:
        """Return the time of each test file; all must pass, and must see a module that is broken.

        Raises:
            SystemExit: A test fails without a mutant, or another copy is what is imported.
        """
        tests = sorted({path for paths in modules.values() for path in paths})
        found = self.run(tests, timeout=3600)
        if found.killed_by:
            raise SystemExit(f"without any mutant, {found.killed_by} fails")
        module, paths = next((m, p) for m, p in modules.items() if p)
        broken = f"raise AssertionError('a canary in {module}')\n"
        canary = Mutant(module, 1, "canary", "", self.files[module].read_text("utf-8") + broken)
        if self.kills(canary, paths, 600) is None:
            raise SystemExit(f"the tests do not import the copy: a broken {module} passes them")
        return dict(found.seconds)


# ---- the program ------------------------------------------------------------------------


def check(
    project: Project, seed: int, count: int, only: str | None, most: int
) -> Iterator[tuple[str, Mutant, str | None]]:
    """Yield (room, mutant, what killed it or None) of every mutant that is drawn."""
    sources = read_sources(project.packages)
    rooms = chosen_mutants(sources, seed, count, only)
    names = [mutant.module for mutants in rooms.values() for mutant in mutants]
    modules = nearest_tests(names, project, sources, most)
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        copied = Copy(project, Path(folder))
        seconds = copied.check(modules)
        for room, mutants in rooms.items():
            for mutant in mutants:
                tests = modules[mutant.module]
                timeout = 60 + 4 * sum(seconds.get(str(path), 0) for path in tests)
                yield room, mutant, copied.kills(mutant, tests, timeout) if tests else None


def print_mutants(project: Project, seed: int, count: int, only: str | None, most: int) -> None:
    """Print what would be tried, and with which test files."""
    sources = read_sources(project.packages)
    mutants = [m for found in chosen_mutants(sources, seed, count, only).values() for m in found]
    tests = nearest_tests((mutant.module for mutant in mutants), project, sources, most)
    for mutant in mutants:
        stems = [path.stem for path in tests[mutant.module]]
        print(f"{_row(mutant)}\n    {' '.join(stems) or 'no test'}")


def main() -> int:
    """Print a line per mutant, and how many of each room no test has seen."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--seed", type=int, default=0, help="which mutants are drawn (0)")
    parser.add_argument("--count", type=int, default=6, help="mutants of each room (6)")
    parser.add_argument("--only", metavar="ROOM", help="one room, such as data or kernel")
    parser.add_argument("--files", type=int, default=6, help="test files for each module (6)")
    parser.add_argument("--folders", nargs="+", default=FOLDERS, help="folders of tests")
    parser.add_argument("--list", action="store_true", help="print the mutants and run nothing")
    options = parser.parse_args()
    project = Project(ROOT, tuple(options.folders))
    drawn = (options.seed, options.count, options.only)
    if options.list:
        print_mutants(project, *drawn, options.files)
        return 0
    killed, all_of = Counter[str](), Counter[str]()
    for room, mutant, by in check(project, *drawn, options.files):
        print(f"{_row(mutant)}\n    {f'killed by {by}' if by else 'SURVIVED'}", flush=True)
        all_of[room] += 1
        killed[room] += by is not None
    for room, total in all_of.items():
        print(f"{room:<12} {killed[room]} of {total} killed")
    print(f"{'all':<12} {killed.total()} of {all_of.total()} killed")
    return 0


def _row(mutant: Mutant) -> str:
    return f"{mutant.module}:{mutant.line}  {mutant.kind}: {mutant.change}"


if __name__ == "__main__":
    sys.exit(main())

"""Print how large the packages and rooms are, and how they hang together, to keep both small.

python tools/code_size.py
"""

from __future__ import annotations

import ast
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping

from import_graph import PACKAGES, all_imports, circles, graph_of, levels, read_sources, room_of

KERNEL_GOAL = 2200
"""Lines of the files directly in ``reid_core`` that we want at most."""

ROOM_GOAL = 1500
"""Lines of a folder of ``reid_core`` that we want at most."""


def functions(name: str, text: str) -> list[tuple[int, str]]:
    """Return (lines, module:name) of every function of a module, its decorators left out."""
    return [
        (int(node.end_lineno or 0) - node.lineno + 1, f"{name}:{node.name}")
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]


def package_lines(package: str, sources: Mapping[str, str]) -> list[str]:
    """Return the size of a package, and its three longest functions."""
    mine = {n: text for n, text in sources.items() if n.partition(".")[0] == package}
    lines = [len(text.splitlines()) for text in mine.values()]
    found = sorted((f for item in mine.items() for f in functions(*item)), reverse=True)
    median = statistics.median(size for size, _ in found) if found else 0
    return [
        f"{package}: {len(mine)} files, {sum(lines)} lines "
        f"(median {statistics.median(lines):.0f}, longest {max(lines)}); "
        f"functions: median {median:.0f}, longest {found[0][0] if found else 0}",
        *(f"  {size:>5} lines  {name}" for size, name in found[:3]),
    ]


def room_lines(sources: Mapping[str, str]) -> list[str]:
    """Return the files and lines of the kernel and of every room, and which exceed their goal."""
    files, lines = Counter[str](), Counter[str]()
    for name, text in sources.items():
        room = room_of(name, sources)
        if room == "reid_evaluate":  # one room to its importers
            room = ".".join(name.split(".")[:2])
        files[room] += 1
        lines[room] += len(text.splitlines())
    found = []
    for room in sorted(files):
        core = room.partition(".")[0] == "reid_core"
        goal = KERNEL_GOAL if room == "reid_core" else ROOM_GOAL
        over = f"  more than {goal}" if core and lines[room] > goal else ""
        label = "reid_core (kernel)" if room == "reid_core" else room
        found.append(f"  {label:<26} {files[room]:>3} files {lines[room]:>6} lines{over}")
    return found


def graph_lines(sources: Mapping[str, str]) -> list[str]:
    """Return how many imports there are among files and rooms, on how many levels, and circles."""
    graph = graph_of(sources)
    edges = {(line.importer, line.imported) for line in all_imports(sources)}
    crossing = sum(room_of(a, sources) != room_of(b, sources) for a, b in edges)
    found = circles(graph)
    height = f"{max(levels(graph).values())} levels" if not found else "no levels"
    return [
        f"imports: {len(edges)} among files, {crossing} of them among rooms; "
        f"{height}, {len(found)} circles",
        *(f"  circle: {', '.join(group)}" for group in found),
    ]


def report(sources: Mapping[str, str]) -> Iterable[str]:
    """Return all that is printed about a tree of sources."""
    for package in sorted({name.partition(".")[0] for name in sources}):
        yield from package_lines(package, sources)
    yield "rooms:"
    yield from room_lines(sources)
    yield from graph_lines(sources)


if __name__ == "__main__":
    print("\n".join(report(read_sources(PACKAGES))))

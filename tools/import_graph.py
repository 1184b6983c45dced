"""Who imports whom among our own files, read from their sources without running them.

A tree of sources is a mapping from a module's import name to its text; a package stands in it
under its own name, with the text of its ``__init__``.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = {
    "reid_core": ROOT / "reid_core",
    "reid_plugins": ROOT / "plugins" / "reid_plugins",
    "reid_evaluate": ROOT / "evaluate" / "reid_evaluate",
}
"""Our import packages and their folders."""


ABOVE_ROOMS = ("api", "testing")
"""The files directly in ``reid_core`` that stand above its rooms; the others are its kernel."""


@dataclass(frozen=True, order=True)
class Import:
    """One way in which a file of ours takes something from a module of ours."""

    importer: str
    imported: str
    names: tuple[str, ...] = ()
    """What a ``from`` takes out of the module; modules stand in ``imported`` instead."""
    for_types: bool = False
    """Whether the line runs for a type checker alone (``if TYPE_CHECKING``)."""

    def __str__(self) -> str:
        """Return the edge in words."""
        return f"{self.importer} imports {self.imported}" + " for types" * self.for_types


def module_files(packages: Mapping[str, Path] = PACKAGES) -> dict[str, Path]:
    """Return the file of every module below the packages' folders, by import name."""
    return {
        ".".join((name, *path.relative_to(folder).with_suffix("").parts)).removesuffix(
            ".__init__"
        ): path
        for name, folder in packages.items()
        for path in sorted(folder.rglob("*.py"))
    }


def read_sources(packages: Mapping[str, Path] = PACKAGES) -> dict[str, str]:
    """Return the text of every module below the packages' folders, by import name."""
    return {n: path.read_text(encoding="utf-8") for n, path in module_files(packages).items()}


def room_of(name: str, sources: Mapping[str, str]) -> str:
    """Return a module's room, a folder; ``reid_core`` is the kernel, the files directly in it."""
    root, _, rest = name.partition(".")
    first = rest.partition(".")[0]
    if root == "reid_evaluate" or not first:
        return root
    in_folder = any(other.startswith(f"{root}.{first}.") for other in sources)
    if root == "reid_core" and not in_folder and first not in ABOVE_ROOMS:
        return root
    return f"{root}.{first}"


def imports_of(name: str, sources: Mapping[str, str]) -> list[Import]:
    """Return what one module imports of the tree, wherever in the file, once each.

    That is what its imports name; what it reaches through an imported package, as in
    ``reid_core.storage.store.Store`` after ``import reid_core``; and what strings name, as in
    ``importlib.import_module("reid_core.storage.store")``.

    Raises:
        ValueError: It imports relatively, or takes a module that the tree does not have from a
            package of the tree.
    """
    found = set()
    tree = ast.parse(sources[name])
    roots = {known.partition(".")[0] for known in sources}
    for_types = {id(node) for block in _type_blocks(tree) for node in ast.walk(block)}
    for node in ast.walk(tree):
        for module, names in _modules_of(node, name, sources):
            if module.partition(".")[0] not in roots:
                continue
            if module not in sources:
                raise ValueError(f"{name} imports {module}, which is no file")
            found.add(Import(name, module, names, id(node) in for_types))
    for dotted, only_types in attributes_of(tree, sources).values():
        if dotted in sources:
            found.add(Import(name, dotted, (), only_types))
    found |= {Import(name, module) for module in _named_in_strings(tree, name, sources)}
    return sorted(found)


def attributes_of(tree: ast.Module, sources: Mapping[str, str]) -> dict[int, tuple[str, bool]]:
    """Return what the attributes that are read through imported modules of the tree spell.

    Returns:
        For the ``id`` of each such node its full name, e.g. ``reid_core.storage.store.Store``, and
        whether its module is imported for types alone. Of a chain of modules only the last one
        stands here, and what is read of it.
    """
    bound = _bound_modules(tree, sources)
    found: dict[int, tuple[str, bool]] = {}
    inner: set[int] = set()
    for node in ast.walk(tree):
        if not isinstance(node, ast.Attribute) or id(node) in inner:
            continue
        first, _, rest = ast.unparse(node).partition(".")
        if first not in bound:
            continue
        module, for_types = bound[first]
        found[id(node)] = (f"{module}.{rest}", for_types)
        if f"{module}.{rest}" in sources:
            inner |= {id(below) for below in ast.walk(node)}
    return found


def _bound_modules(tree: ast.Module, sources: Mapping[str, str]) -> dict[str, tuple[str, bool]]:
    """Return the modules of the tree by the names that a file gives them by importing.

    With each stands whether it is imported for types alone.
    """
    for_types = {id(node) for block in _type_blocks(tree) for node in ast.walk(block)}
    bound: dict[str, tuple[str, bool]] = {}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Import | ast.ImportFrom):
            continue
        package = f"{node.module}." if isinstance(node, ast.ImportFrom) else ""
        for alias in node.names:
            module, own = f"{package}{alias.name}", alias.asname or alias.name
            if isinstance(node, ast.Import) and not alias.asname:
                module = own = alias.name.partition(".")[0]
            if module in sources:
                only_types = id(node) in for_types and bound.get(own, ("", True))[1]
                bound[own] = (module, only_types)
    return bound


IMPORTERS = ("import_module", "__import__")
"""The functions that import what a string names."""


def _named_in_strings(tree: ast.Module, name: str, sources: Mapping[str, str]) -> Iterator[str]:
    """Yield the modules that strings of a file name, but not the file's own folders.

    A package's name without a dot is a word as well: it counts where it is imported.
    """
    imported = {
        id(argument)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in IMPORTERS
        for argument in (*node.args, *(keyword.value for keyword in node.keywords))
    }
    for node in strings_of(tree):
        module = str(node.value)
        names_it = module in sources and ("." in module or id(node) in imported)
        if names_it and not f"{name}.".startswith(f"{module}."):
            yield module


def strings_of(tree: ast.Module) -> Iterator[ast.Constant]:
    """Yield the strings of a file, the parts of f-strings as well, but no docstrings."""
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
            yield node


def _type_blocks(tree: ast.Module) -> Iterator[ast.stmt]:
    """Yield the statements under ``if TYPE_CHECKING``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            yield from node.body


def _modules_of(
    node: ast.AST, name: str, sources: Mapping[str, str]
) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield (module, names taken out of it) of one node of a file."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield alias.name, ()
    elif isinstance(node, ast.ImportFrom):
        if node.level:
            raise ValueError(f"{name}: relative import in line {node.lineno}")
        module = str(node.module)
        names = tuple(a.name for a in node.names if f"{module}.{a.name}" not in sources)
        for alias in node.names:
            if alias.name not in names:
                yield f"{module}.{alias.name}", ()
        if names:
            yield module, names


def all_imports(sources: Mapping[str, str]) -> list[Import]:
    """Return every import among the modules of a tree."""
    return [line for name in sources for line in imports_of(name, sources)]


def graph_of(sources: Mapping[str, str]) -> dict[str, set[str]]:
    """Return the modules that each module of a tree imports, those for types as well."""
    graph: dict[str, set[str]] = {name: set() for name in sources}
    for line in all_imports(sources):
        graph[line.importer].add(line.imported)
    return graph


def circles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """Return the groups of modules that reach each other, each sorted; none is right."""
    reach = {name: _reached(name, graph) for name in graph}
    groups = {
        tuple(sorted({name, *(other for other in reach[name] if name in reach[other])}))
        for name in graph
        if name in reach[name]
    }
    return [list(group) for group in sorted(groups)]


def _reached(name: str, graph: Mapping[str, set[str]]) -> set[str]:
    """Return what can be reached from a module in one step or more."""
    seen: set[str] = set()
    ahead = list(graph[name])
    while ahead:
        if (found := ahead.pop()) not in seen:
            seen.add(found)
            ahead += graph[found]
    return seen


def levels(graph: Mapping[str, set[str]]) -> dict[str, int]:
    """Return each module's level: 1 where it imports nothing, else one above all it imports.

    Raises:
        ValueError: The graph has a circle.
    """
    if found := circles(graph):
        raise ValueError(f"these import each other: {', '.join(found[0])}")
    done: dict[str, int] = {}
    while len(done) < len(graph):
        for name in graph.keys() - done.keys():
            if graph[name] <= done.keys():
                done[name] = 1 + max((done[other] for other in graph[name]), default=0)
    return done

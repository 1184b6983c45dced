"""The house rules: what is on disk is declared, dependencies point one way, nothing runs data."""

import ast
import configparser
import importlib
from importlib.metadata import distribution
from pathlib import Path

import pytest

from reid_core.discovery import isolated_catalog
from reid_core.hookspecs import KINDS

ROOT = Path(__file__).parents[2]
SOURCES = {
    "reid_core": ROOT / "reid_core",
    "reid_plugins": ROOT / "plugins" / "reid_plugins",
    "reid_evaluate": ROOT / "evaluate" / "reid_evaluate",
}
REINSTALL = "run again: pip install -e ."

SETUP = configparser.ConfigParser()
SETUP.read(ROOT / "setup.cfg", encoding="utf-8")


def lines_of(section, key):
    return SETUP[section][key].split("\n")[1:]


def module_name(path):
    """Return the import name of one of our files."""
    for name, folder in SOURCES.items():
        if path.is_relative_to(folder):
            parts = path.relative_to(folder).with_suffix("").parts
            return ".".join([name, *parts]).removesuffix(".__init__")
    raise AssertionError(path)


FILES = {module_name(path): path for root in SOURCES.values() for path in root.rglob("*.py")}
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in FILES.items()}
DECLARED = dict(line.split(" = ") for line in lines_of("options.entry_points", "reid_core"))
EVALUATORS = {
    name
    for name in FILES
    if name.startswith("reid_evaluate.")
    and (name in DECLARED.values() or name.startswith("reid_evaluate._"))
}
"""Evaluator plugins and what they are made of; all else in reid_evaluate are metrics."""
SCRIPTS = [ROOT / "train.py", ROOT / "evaluator.py", *(ROOT / "tools").rglob("*.py")]


def imports_of(name):
    """Return the modules that a module imports, wherever in the file, and its names as modules."""
    found = set()
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: relative import in line {node.lineno}"
            found.add(node.module)
            members = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= members & FILES.keys()
    return found


def ours(name):
    """Return those of a module's imports that are ours."""
    return {module for module in imports_of(name) if module.partition(".")[0] in SOURCES}


# ---- files, setup.cfg and the installation agree ----------------------------------------


def test_every_plugin_file_is_declared_and_every_declaration_has_its_file():
    plugins = {
        f"{path.parent.name}.{path.stem}": module_name(path)
        for path in SOURCES["reid_plugins"].glob("*/*.py")
        if not path.stem.startswith("_")
    }
    evaluators = {
        f"evaluator.{path.stem}": module_name(path)
        for path in SOURCES["reid_evaluate"].glob("*_evaluate.py")
    }
    assert plugins | evaluators == DECLARED, "make [options.entry_points] of setup.cfg agree"


def test_the_installation_declares_what_setup_cfg_declares():
    installed = distribution("reid-core").entry_points.select(group="reid_core")
    assert {entry.name: entry.value for entry in installed} == DECLARED, REINSTALL


def test_the_installation_has_the_version_and_the_program_of_setup_cfg():
    installed = distribution("reid-core")
    assert installed.version == SETUP["metadata"]["version"], REINSTALL
    scripts = installed.entry_points.select(group="console_scripts")
    declared = lines_of("options.entry_points", "console_scripts")
    assert [f"{entry.name} = {entry.value}" for entry in scripts] == declared, REINSTALL


def test_every_package_folder_is_listed_and_every_listed_package_has_its_folder():
    folders = {path.parent for path in FILES.values()}
    names = {module_name(folder / "__init__.py") for folder in folders}
    assert names == set(lines_of("options", "packages")), "make 'packages' of setup.cfg agree"
    assert [str(folder) for folder in folders if not (folder / "__init__.py").is_file()] == []


def test_package_dir_names_the_three_source_roots():
    declared = dict(line.split(" = ") for line in lines_of("options", "package_dir"))
    assert {name: ROOT / folder for name, folder in declared.items()} == SOURCES


@pytest.mark.parametrize("folder", ["plugins", "evaluate", "tools", "tests", "params"])
def test_top_level_folders_hide_nobodys_package(folder):
    assert not (ROOT / folder / "__init__.py").exists()


@pytest.mark.parametrize(("name", "module"), DECLARED.items())
def test_a_built_in_plugin_offers_components_of_its_own_kind(name, module):
    catalog = isolated_catalog(importlib.import_module(module))
    assert catalog.faults == []
    kind = name.partition(".")[0]
    assert kind in KINDS
    assert {offer.kind for offer in catalog.offers} == {kind}


# ---- dependencies point one way ---------------------------------------------------------


@pytest.mark.parametrize("name", sorted(FILES))
def test_imports_point_one_way(name):
    root, _, rest = name.partition(".")
    if root == "reid_core":
        allowed = ("reid_core",)
    elif root == "reid_plugins":
        # A plugin could be moved out unchanged: it knows the folder of its own kind alone.
        allowed = ("reid_core", "reid_evaluate", f"reid_plugins.{rest.partition('.')[0]}")
    elif name in EVALUATORS:
        allowed = ("reid_core", "reid_evaluate")
    else:
        allowed = ("reid_evaluate",)
    wrong = [m for m in ours(name) if not any(m == a or m.startswith(f"{a}.") for a in allowed)]
    assert wrong == [], f"{name} may import {', '.join(allowed)} of ours"


def test_metrics_do_not_import_evaluators():
    metrics = [n for n in FILES if n.startswith("reid_evaluate.") and n not in EVALUATORS]
    assert metrics
    for name in metrics:
        assert not ours(name) & EVALUATORS, name


@pytest.mark.parametrize("name", sorted(FILES))
def test_nothing_packaged_imports_what_is_not(name):
    roots = {module.partition(".")[0] for module in imports_of(name)}
    assert not roots & {"tools", "tests", "examples", "plugins", "evaluate", "train", "evaluator"}


# ---- data is never run ------------------------------------------------------------------


def called(node):
    """Return the dotted name of what is called."""
    return ast.unparse(node.func)


def keyword(node, name):
    """Return the value of a keyword of a call, as source text."""
    return next((ast.unparse(k.value) for k in node.keywords if k.arg == name), None)


def dangers_of(tree):
    """Yield the calls that could run what they read."""
    aliases = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            aliases |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
        elif isinstance(node, ast.Import):
            aliases |= {a.asname: a.name for a in node.names if a.asname}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        head, dot, rest = called(node).partition(".")
        name = f"{aliases.get(head, head)}{dot}{rest}"
        if name in ("eval", "exec", "builtins.eval", "builtins.exec"):
            yield node
        if name.partition(".")[0] in ("pickle", "cPickle", "dill", "joblib", "marshal", "shelve"):
            yield node
        if name in ("torch.load", "torch.hub.load") and keyword(node, "weights_only") != "True":
            yield node
        if keyword(node, "allow_pickle") not in (None, "False"):
            yield node


@pytest.mark.parametrize(
    "source",
    [
        "eval('1')",
        "exec('1')",
        "import pickle\npickle.load(f)",
        "import pickle as p\np.loads(b)",
        "from pickle import loads\nloads(b)",
        "import torch\ntorch.load(f)",
        "import torch\ntorch.load(f, weights_only=False)",
        "from torch import load as read\nread(f)",
        "import numpy as np\nnp.load(f, allow_pickle=True)",
    ],
)
def test_the_search_for_dangers_finds_them(source):
    assert len(list(dangers_of(ast.parse(source)))) == 1


@pytest.mark.parametrize(
    "source",
    [
        "model.eval()",
        "import torch\ntorch.load(f, weights_only=True)",
        "import json\njson.load(f)",
        "import numpy as np\nnp.load(f, allow_pickle=False)",
    ],
)
def test_the_search_for_dangers_leaves_the_harmless_alone(source):
    assert list(dangers_of(ast.parse(source))) == []


@pytest.mark.parametrize(
    "path",
    [*FILES.values(), *SCRIPTS, *(ROOT / "examples").rglob("*.py")],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_no_file_runs_what_it_reads(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert [f"line {node.lineno}: {ast.unparse(node)}" for node in dangers_of(tree)] == []

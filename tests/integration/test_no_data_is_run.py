"""No file of ours runs what it reads: no pickle, no eval, no unrestricted torch.load."""

import ast
from pathlib import Path

import pytest

from import_graph import module_files
from listing import listed

ROOT = Path(__file__).parents[2]


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


def is_there_and_back(node):
    """Return whether a call pickles an object, or reads back what it has pickled itself."""
    if called(node) == "pickle.dumps":
        return True
    source = node.args[0] if called(node) == "pickle.loads" and node.args else None
    return isinstance(source, ast.Call) and called(source) == "pickle.dumps"


def test_only_what_was_pickled_in_the_same_call_may_be_read_back():
    answers = {"loads(pickle.dumps(x))": True, "dumps(x)": True, "loads(x)": False}
    for source, answer in answers.items():
        assert is_there_and_back(ast.parse(f"pickle.{source}").body[0].value) is answer


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


def test_no_file_runs_what_it_reads():
    scripts = [ROOT / "train.py", ROOT / "evaluator.py", *(ROOT / "tools").rglob("*.py")]
    examples = list((ROOT / "examples").rglob("*.py"))
    assert len(scripts) > 2
    assert examples
    wrong = [
        f"{path.relative_to(ROOT)}:{node.lineno}: {ast.unparse(node)}"
        for path in [*module_files().values(), *scripts, *examples]
        for node in dangers_of(ast.parse(path.read_text(encoding="utf-8")))
        if not is_there_and_back(node)
    ]
    assert not wrong, listed(wrong)

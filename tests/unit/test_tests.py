"""Tests of the tests: none passes because its assertions stand where nothing comes by."""

import ast
from pathlib import Path

import pytest

from listing import listed

ROOT = Path(__file__).parents[2]
FOLDERS = ("tests", "examples")


def is_check(node, helpers):
    """Say whether a node is an assertion, or calls something that makes one."""
    if isinstance(node, ast.Assert):
        return True
    if not isinstance(node, ast.Call):
        return False
    name = ast.unparse(node.func).rpartition(".")[2]
    return name in ("raises", "warns", "fail") or "assert" in name or name in helpers


def has_check(nodes, helpers):
    return any(is_check(n, helpers) for node in nodes for n in ast.walk(node))


def is_certain(body, helpers):
    """Say whether statements come to a check whatever their conditions are.

    Loops are taken to run: what they go through cannot be seen here.
    """
    for statement in body:
        if isinstance(statement, ast.If):
            if statement.orelse and all(
                is_certain(part, helpers) for part in (statement.body, statement.orelse)
            ):
                return True
            if any(isinstance(n, ast.Return) for n in ast.walk(statement)):
                return is_certain(statement.body, helpers) and is_certain(
                    body[body.index(statement) + 1 :], helpers
                )
        elif isinstance(statement, ast.For | ast.While | ast.Try):
            if is_certain(statement.body, helpers):
                return True
        elif isinstance(statement, ast.With):
            if has_check(statement.items, helpers) or is_certain(statement.body, helpers):
                return True
        elif isinstance(statement, ast.FunctionDef | ast.ClassDef):
            continue
        elif has_check([statement], helpers):
            return True
    return False


def conditional_tests(source):
    """Return the (line, name) of tests that check something, but only under a condition."""
    tree = ast.parse(source)
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    helpers = {
        f.name for f in functions if not f.name.startswith("test_") and has_check(f.body, ())
    }
    return [
        (f.lineno, f.name)
        for f in functions
        if f.name.startswith("test_")
        and has_check(f.body, helpers)
        and not is_certain(f.body, helpers)
    ]


def test_no_test_checks_only_under_a_condition():
    files = [path for folder in FOLDERS for path in (ROOT / folder).rglob("test_*.py")]
    assert files
    found = [
        f"{path.relative_to(ROOT)}:{line}: {name} checks only under a condition"
        for path in sorted(files)
        for line, name in conditional_tests(path.read_text(encoding="utf-8"))
    ]
    assert not found, listed(found)


@pytest.mark.parametrize(
    "body",
    [
        "if x: assert y",
        "for a in b:\n  if a: assert a",
        "if x:\n  with pytest.raises(E): f()",
        "if not x: return\nassert y",
        "if x: assert y\nelif z: assert z",
        "with a:\n  if x: assert y",
        "def f():\n  assert y\nif x: f()",
    ],
)
def test_a_test_that_checks_only_under_a_condition_is_found(body):
    lines = "\n".join(f"  {line}" for line in body.splitlines())
    assert [name for _, name in conditional_tests(f"def test_it(x):\n{lines}")] == ["test_it"]


@pytest.mark.parametrize(
    "body",
    [
        "assert x",
        "f(x)",
        "for a in b: assert a",
        "if x: assert x\nelse: assert y",
        "if x: f()\nassert y",
        "if x:\n  assert x\n  return\nassert y",
        "with pytest.raises(E): f()",
        "np.testing.assert_allclose(x, y)",
        "if x: assert x\ncheck(x)",
    ],
)
def test_a_test_that_always_checks_something_is_left_alone(body):
    lines = "\n".join(f"  {line}" for line in body.splitlines())
    source = f"def check(x):\n  assert x\ndef test_it(x):\n{lines}"
    assert conditional_tests(source) == []

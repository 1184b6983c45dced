"""Tests of the tests: none passes because it was skipped, or asserts where nothing comes by."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from listing import for_each, listed

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


# ---- rules over many things -----------------------------------------------------------------


def test_a_rule_over_many_things_names_all_that_break_it():
    def things():
        return [1, 2, 3, 4]

    @for_each(things)
    def test_small_and_odd(number):
        """Say so."""
        assert number < 4, "too large"
        if number == 2:
            pytest.fail("even")

    assert (test_small_and_odd.__name__, test_small_and_odd.__doc__) == (
        "test_small_and_odd",
        "Say so.",
    )
    with pytest.raises(AssertionError) as error:
        test_small_and_odd()
    first, *rest = str(error.value).splitlines()
    assert first == ""
    assert rest[0] == "2: Failed: even"
    assert rest[1].startswith("4: AssertionError: too large")
    assert not any(line.startswith(("1:", "3:")) for line in rest)


def test_a_rule_over_nothing_fails():
    with pytest.raises(AssertionError, match="there is nothing to test"):
        for_each(list)(lambda thing: None)()


# ---- skips ----------------------------------------------------------------------------------


def run_pytest(folder, source):
    """Run a test file in a process of its own; return its exit status and output."""
    (folder / "test_it.py").write_text(f"import pytest\n{source}")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "skips", "-p", "no:cacheprovider"]
    path = {"PYTHONPATH": str(ROOT / "tests" / "support")}
    done = subprocess.run(
        [*command, "--rootdir", str(folder), str(folder)],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, **path},
    )
    return done.returncode, done.stdout + done.stderr


RUNS = "def test_one(): pass\n"
WHY = "a small disk can be mounted by root alone"


@pytest.mark.parametrize(
    "source",
    [
        RUNS,
        RUNS + f"def test_it(): pytest.skip({WHY!r})",
        RUNS + f"@pytest.mark.skipif(True, reason={WHY!r})\ndef test_it(): pass",
        RUNS + "@pytest.mark.xfail\ndef test_it(): assert 0",
    ],
)
def test_a_skip_for_an_allowed_reason_is_no_failure(tmp_path, source):
    status, output = run_pytest(tmp_path, source)
    assert status == 0, output
    assert "1 passed" in output


@pytest.mark.parametrize(
    ("source", "place"),
    [
        (RUNS + "def test_it(): pytest.skip('no time')", "test_it.py::test_it: no time"),
        (
            RUNS + "@pytest.mark.skip(reason='no time')\ndef test_it(): pass",
            "test_it.py::test_it: no time",
        ),
        (RUNS + "pytest.importorskip('no_such')", "test_it.py: could not import 'no_such'"),
        ("pytest.skip('no time', allow_module_level=True)", "test_it.py: no time"),
        (
            RUNS + "@pytest.mark.parametrize('x', [])\ndef test_it(x): pass",
            "test_it.py::test_it[NOTSET]: got empty parameter set",
        ),
    ],
)
def test_any_other_skip_fails_the_session_and_is_named(tmp_path, source, place):
    status, output = run_pytest(tmp_path, source)
    assert status == 1, output
    assert "skipped for a reason that tests/support/skips.py lacks" in output
    assert place in output

"""What plugins share is public and found: from the plugin's docstring and from the guide."""

import ast
import importlib
import inspect
from pathlib import Path

import reid_plugins.toolkit

PLUGINS = Path(reid_plugins.toolkit.__file__).parents[1]
GUIDE = Path(__file__).resolve().parents[2] / "docs" / "writing_plugins.md"
MODULES = sorted(
    path.stem for path in (PLUGINS / "toolkit").iterdir() if not path.name.startswith("_")
)


def imports_of(path):
    """Yield (module, name) of every import from a module."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            yield from ((node.module, alias.name) for alias in node.names)


def toolkit_of(path):
    """Return the toolkit modules that a plugin file and its folder's private files stand on."""
    used, folder = set(), f"reid_plugins.{path.parent.name}"
    for module, name in imports_of(path):
        full = f"{module}.{name}"
        if module.startswith("reid_plugins.toolkit."):
            used.add(module.split(".")[2])
        elif full.startswith(f"{folder}._"):
            stem = full.removeprefix(f"{folder}.").partition(".")[0]
            if (path.parent / f"{stem}.py").is_file():
                used |= toolkit_of(path.parent / f"{stem}.py")
    return used


def test_the_guide_says_of_every_module_what_it_offers():
    rows = [line for line in GUIDE.read_text(encoding="utf-8").splitlines() if "| `" in line]
    named = [row.split("`")[1] for row in rows]
    assert MODULES
    assert [name for name in MODULES if named.count(name) != 1] == []


def test_every_module_says_what_it_offers_and_all_of_it_is_documented():
    for name in MODULES:
        module = importlib.import_module(f"reid_plugins.toolkit.{name}")
        assert module.__doc__, name
        for word, member in vars(module).items():
            if not word.startswith("_") and getattr(member, "__module__", "") == module.__name__:
                assert not inspect.isroutine(member) or member.__doc__, f"{name}.{word}"


def test_the_docstring_of_a_loss_a_head_a_sampler_or_a_schedule_names_what_it_stands_on():
    files = [
        path
        for kind in ("loss", "head", "sampler", "schedule")
        for path in sorted((PLUGINS / kind).glob("[a-z]*.py"))
    ]
    assert any(toolkit_of(path) for path in files)
    for path in files:
        docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
        missing = [name for name in toolkit_of(path) if f"`toolkit/{name}.py`" not in docstring]
        assert missing == [], path


def test_nothing_private_is_imported_from_another_file():
    private = [
        (path, module, name)
        for path in sorted(PLUGINS.rglob("*.py"))
        for module, name in imports_of(path)
        if name.startswith("_") and module.partition(".")[0].startswith("reid_")
    ]
    # A module of the own folder may be called so; what is in it may not.
    wrong = [
        (path, name)
        for path, module, name in private
        if not (PLUGINS.parent / Path(*module.split("."), f"{name}.py")).is_file()
    ]
    assert wrong == []

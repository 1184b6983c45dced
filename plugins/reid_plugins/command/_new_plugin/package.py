"""Fill in the templates of a kind, and write a package whole or not at all."""

from __future__ import annotations

import importlib.util
import keyword
import os
import shutil
import tempfile
from importlib.resources import files
from pathlib import Path
from string import Template

from reid_core import ReidError
from reid_core.catalog import Catalog
from reid_core.files import saving
from reid_core.hookspecs import KINDS

SIZES = ("small", "full")


def templates() -> dict[str, str]:
    """Return the text of every template by its file's name."""
    folder = files("reid_plugins.command._new_plugin") / "templates"
    return {
        file.name: file.read_text(encoding="utf-8")
        for file in folder.iterdir()
        if file.name.endswith(".txt")
    }


def kinds_with_templates() -> list[str]:
    """Return the kinds that a package can be written for, in the order of all kinds."""
    found = {name.partition(".")[0] for name in templates()}
    return [kind for kind in KINDS if kind in found]


def check_name(kind: str, name: str, catalog: Catalog) -> None:
    """Refuse a name that cannot be that of a new component and its module.

    Raises:
        ReidError: It is no Python name, or something is called so already.
    """
    if not name.isidentifier() or not name.isascii() or keyword.iskeyword(name):
        raise ReidError(
            f"'{name}' cannot name a module: use letters, digits and '_', no digit first, and no "
            "word of Python"
        )
    for offer in catalog.offers:
        if offer.kind == kind and offer.component.name == name:
            raise ReidError(f"{offer} has this name already; choose another one")
    if importlib.util.find_spec(f"reid_{name}") is not None:
        raise ReidError(f"a module 'reid_{name}' is installed already; choose another name")


def package_files(kind: str, name: str, size: str) -> dict[str, str]:
    """Return the texts of a package by their paths in it.

    Args:
        kind: One of ``kinds_with_templates``.
        name: The component's word, a Python name.
        size: ``"small"``: a few lines to begin with; ``"full"``: with params, the mathematics as
            a function, and what a published package needs.
    """
    known, module = templates(), f"reid_{name}"
    second = f"{kind}.module.txt" if size == "full" and f"{kind}.module.txt" in known else ""
    modules = [module, f"_{module}"] if second else [module]
    words = {
        "kind": kind,
        "name": name,
        "class_name": "".join(part[:1].upper() + part[1:] for part in name.split("_")),
        "module": module,
        "distribution": distribution_of(name),
        "modules": ", ".join(f'"{m}"' for m in modules),
    }
    test = f"test.{kind}.txt" if f"test.{kind}.txt" in known else "test.txt"
    sources = {
        "pyproject.toml": f"pyproject.{size}.txt",
        f"{module}.py": f"{kind}.{size}.txt",
        f"tests/test_{name}.py": test,
    }
    sources |= {f"_{module}.py": second} if second else {}
    sources |= {"README.md": "readme.full.txt"} if size == "full" else {}
    return {path: Template(known[source]).substitute(words) for path, source in sources.items()}


def distribution_of(name: str) -> str:
    """Return the name of the distribution and its folder."""
    return f"reid-{name.replace('_', '-').strip('-').lower()}"


def write_package(folder: Path, texts: dict[str, str]) -> None:
    """Write the files of a package, all of them or none.

    Raises:
        ReidError: Something stands at that place already, or it cannot be written.
    """
    if os.path.lexists(folder):
        raise ReidError(f"{folder}: exists already; choose another place with --out")
    with saving(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        try:
            temporary.chmod(0o755)
            for path, text in texts.items():
                (temporary / path).parent.mkdir(exist_ok=True)
                (temporary / path).write_text(text, encoding="utf-8")
            temporary.rename(folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

"""Renew the generated blocks of README and docs, or check that they are fresh.

python tools/refresh_docs.py            # rewrite them
python tools/refresh_docs.py --check    # status 1 if one is stale

A block stands between a line that says what it shows and a line ``<!-- end -->``:
``<!-- file: PATH -->`` a file of the clone, ``<!-- hooks -->`` the table of hooks,
``<!-- components -->`` the table of built-in components. Other blocks are left alone.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from reid_core import Component
from reid_core.discovery import OUR_DISTRIBUTION, load_catalog
from reid_core.hookspecs import COMPONENT_TYPES, KINDS, hook_words

ROOT = Path(__file__).resolve().parents[1]

BLOCK = re.compile(
    r"^<!-- (?P<key>file: (?P<path>\S+)|hooks|components) -->\n(?P<body>.*?)^<!-- end -->$",
    re.DOTALL | re.MULTILINE,
)

LANGUAGES = {".cfg": "ini", ".json": "json", ".py": "python", ".toml": "toml"}


def documents() -> list[Path]:
    """Return the files that may hold blocks."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def file_block(path: Path) -> str:
    """Return a file's text as a fenced block."""
    text = path.read_text(encoding="utf-8")
    return f"```{LANGUAGES.get(path.suffix, 'text')}\n{text.rstrip()}\n```\n"


def hook_rows() -> Iterator[tuple[str, ...]]:
    """Yield one row per hook: its name, type of component, meaning and form of ``build``."""
    yield "hook", "returns a list of", "what they are", "`build`"
    for kind in KINDS:
        meaning, form = hook_words(kind)
        kind_of_component = COMPONENT_TYPES.get(kind, Component).__name__
        yield f"`reid_{kind}`", f"`{kind_of_component}`", meaning.rstrip("."), f"`{form}`"


def component_rows() -> Iterator[tuple[str, ...]]:
    """Yield one row per built-in component: kind, name, summary and reference."""
    yield "kind", "name", "what", "reference"
    for offer in load_catalog().offers:
        if offer.distribution == OUR_DISTRIBUTION:
            component = offer.component
            summary = component.summary.rstrip(".")
            yield offer.kind, f"`{component.name}`", summary, component.reference


def table(rows: Iterator[tuple[str, ...]]) -> str:
    """Return rows as a Markdown table; the first one is the header."""
    header, *body = ([cell.replace("|", r"\|") for cell in row] for row in rows)
    lines = [header, ["---"] * len(header), *body]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


TABLES: dict[str, Callable[[], Iterator[tuple[str, ...]]]] = {
    "hooks": hook_rows,
    "components": component_rows,
}


def refreshed(text: str) -> str:
    """Return the text of a document with every block renewed."""

    def block(match: re.Match[str]) -> str:
        path = match["path"]
        body = file_block(ROOT / path) if path else table(TABLES[match["key"]]())
        return f"<!-- {match['key']} -->\n{body}<!-- end -->"

    return BLOCK.sub(block, text)


def main() -> int:
    """Rewrite or check every document; return the exit status."""
    parser = argparse.ArgumentParser(description="Renew the generated blocks of README and docs.")
    parser.add_argument("--check", action="store_true", help="only say which files are stale")
    parser.add_argument("files", type=Path, nargs="*", help="default: README.md and docs/*.md")
    args = parser.parse_args()
    stale = 0
    for path in args.files or documents():
        text = path.read_text(encoding="utf-8")
        fresh = refreshed(text)
        if fresh == text:
            continue
        stale += 1
        if args.check:
            command = "python tools/refresh_docs.py"
            print(f"{os.path.relpath(path)}: a generated block is stale; run: {command}")
        else:
            path.write_text(fresh, encoding="utf-8")
            print(f"{os.path.relpath(path)}: refreshed")
    return 1 if args.check and stale else 0


if __name__ == "__main__":
    sys.exit(main())

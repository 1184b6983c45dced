"""Print how large each package is, and its longest functions, so that they can be kept small.

python tools/code_size.py
"""

from __future__ import annotations

import ast
import statistics
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("reid_core", "plugins/reid_plugins", "evaluate/reid_evaluate")


def functions(path: Path) -> list[tuple[int, str]]:
    """Return (lines, file:name) of every function of a file, its decorators left out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [
        (int(node.end_lineno or 0) - node.lineno + 1, f"{path.relative_to(ROOT)}:{node.name}")
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]


def main() -> None:
    """Print one line per package and its three longest functions."""
    for package in PACKAGES:
        files = sorted((ROOT / package).rglob("*.py"))
        lines = [len(path.read_text(encoding="utf-8").splitlines()) for path in files]
        sizes = sorted((f for path in files for f in functions(path)), reverse=True)
        print(
            f"{package}: {len(files)} files, {sum(lines)} lines "
            f"(median {statistics.median(lines):.0f}, longest {max(lines)}); "
            f"functions: median {statistics.median(s for s, _ in sizes):.0f}"
        )
        for size, name in sizes[:3]:
            print(f"  {size:>4} lines  {name}")


if __name__ == "__main__":
    main()

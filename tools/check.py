"""Run everything that must be right before a change is merged: format, lint, types, tests.

python tools/check.py            # all of it
python tools/check.py -k store   # further arguments go to pytest
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

BY_FILE = ["--dist=loadfile"]
"""What the tests of a file share is made once."""

STEPS: dict[str, list[str]] = {
    "format": ["ruff", "format", "--check", "--quiet", "."],
    "lint": ["ruff", "check", "--quiet", "."],
    "types": ["mypy"],
    "docs": ["tools/refresh_docs.py", "--check"],
    "tests": ["pytest", "--durations=10", "--numprocesses=auto", "--maxprocesses=8", *BY_FILE],
}
"""Name of each step and its command; the tests come last, so that their summary ends the output."""


def main() -> int:
    """Run every step, also after a failure, and return 1 if one failed."""
    failed = []
    for name, (program, *arguments) in STEPS.items():
        start = time.monotonic()
        command = [program] if program.endswith(".py") else ["-m", program]
        extra = sys.argv[1:] if name == "tests" else []
        if name == "tests" and failed:
            print(f"failed so far: {', '.join(failed)}", flush=True)
        # The processes of the tests share the cores; each would else take all of them for itself.
        environment = {"OMP_NUM_THREADS": "1", **os.environ}
        status = subprocess.run(
            [sys.executable, *command, *arguments, *extra], cwd=ROOT, env=environment
        ).returncode
        print(
            f"{name}: {'ok' if status == 0 else 'FAILED'} in {time.monotonic() - start:.0f} s",
            flush=True,
        )
        if status:
            failed.append(name)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

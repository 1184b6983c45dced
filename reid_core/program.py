"""The program ``reid``: the command line, and an end in one line when it is interrupted.

It imports next to nothing, so that Ctrl-C while everything else is imported is met here.
"""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command line with the arguments of the process.

    Returns:
        The exit status; see ``cli.main``.
    """
    return _run(list(sys.argv[1:]))


def run_as(command: str, script: str) -> int:
    """Run the program as if it were one subcommand, for scripts such as ``train.py``."""
    return _run([command, *sys.argv[1:]], script)


def _run(arguments: list[str], script: str | None = None) -> int:
    try:
        try:
            from reid_core import cli
        except ModuleNotFoundError as error:
            print(f"error: {error.name} is not installed; run: pip install -e .", file=sys.stderr)
            return 1
        return cli.main(arguments, prog=script)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130

"""Warnings of libraries: one line each, once, among the lines of the program."""

import os
import subprocess
import sys
import warnings

from reid_core.library_warnings import libraries_warn_as_we_do


def test_a_warning_is_one_line_and_said_once(capsys):
    before = warnings.showwarning
    with libraries_warn_as_we_do():
        warnings.simplefilter("always")
        for _ in range(3):
            warnings.warn("of two\n lines", UserWarning, stacklevel=1)
        warnings.warn("another", RuntimeWarning, stacklevel=1)
    said = capsys.readouterr()
    one, other = said.out.splitlines()
    assert one.startswith("warning: of two lines (UserWarning of test_library_warnings.py:")
    assert other.startswith("warning: another (RuntimeWarning of ")
    assert said.err == ""
    assert warnings.showwarning is before


PROGRAM = """
import sys, warnings
from reid_core import cli

def run(catalog, arguments, prog):
    warnings.warn("an old name is used", UserWarning)
    return 0

cli._run = run
sys.exit(cli.main(["check"]))
"""


def test_a_command_says_so_too():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONWARNINGS": "default"},
    )
    assert done.stdout == "warning: an old name is used (UserWarning of <string>:6)\n"
    assert (done.returncode, done.stderr) == (0, "")

"""The notebook: valid, without outputs; its cells run as a script where reid-core is installed."""

import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

PATH = Path(__file__).parents[2] / "examples" / "quickstart.ipynb"

WITHOUT_PIP = """
import subprocess
run = subprocess.run
def checked(command, *arguments, **options):
    assert "pip" not in command
    return run(command, *arguments, **options)
subprocess.run = checked
"""


@pytest.fixture(scope="module")
def notebook():
    return nbformat.read(PATH, as_version=nbformat.NO_CONVERT)


def cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_it_is_valid_and_holds_no_results(notebook):
    nbformat.validate(notebook)
    assert [(cell.outputs, cell.execution_count) for cell in cells(notebook)] == [
        ([], None) for _ in cells(notebook)
    ]


def test_its_cells_run_as_a_script(notebook, tmp_path):
    """The cell that installs finds that there is nothing to do: pip is not called."""
    script = tmp_path / "quickstart.py"
    script.write_text("\n\n".join([WITHOUT_PIP, *(cell.source for cell in cells(notebook))]))
    done = subprocess.run(
        [sys.executable, "-W", "error", script.name], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.partition(":")[0] for line in lines[-3:]] == [
        "same person",
        "mAP of 20 queries",
        "nearest to the first",
    ]
    pictures = {path.name for path in (tmp_path / "runs" / "notebook" / "pictures").iterdir()}
    assert pictures == {"curves.png", "ranked-market_evaluate-synthetic_market.png"}

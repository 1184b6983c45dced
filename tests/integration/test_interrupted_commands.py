"""Ctrl-C outside of training steps: one line, status 130, nothing half done."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from reid_plugins.command import _pictures

INTERRUPTED_IMPORT = """
import os, signal, sys

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "{module}":
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Finder())
from reid_core.program import main
sys.argv = ["reid", "plugins"]
sys.exit(main())
"""


@pytest.mark.parametrize("module", ["reid_core.cli", "pydantic", "reid_plugins.loss.softmax"])
def test_ctrl_c_while_everything_is_imported(module):
    code = INTERRUPTED_IMPORT.format(module=module)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr, done.stdout) == (130, "interrupted\n", "")


def test_the_program_imports_next_to_nothing_before_it_can_be_interrupted():
    code = "import sys, reid_core.program; print([m for m in sys.modules if 'pydantic' in m])"
    words = [sys.executable, "-c", code]
    assert subprocess.run(words, capture_output=True, text=True, check=True).stdout == "[]\n"


def interrupt(*args, **kwargs):
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(5)  # where the handler runs


@pytest.mark.usefixtures("one_thread")
def test_ctrl_c_while_pictures_are_drawn(answer, params_file, tiny_params, monkeypatch):
    monkeypatch.setattr(_pictures, "draw_curves", interrupt)
    words = ["--set", "train.epochs=1", "--sub_working_dir", "run"]
    status, _, err = answer("train", params_file, *words)
    assert (status, err) == (130, "interrupted\n")
    run = Path(tiny_params["working_dir"], "run")
    assert (run / "weights" / "best.safetensors").is_file()
    monkeypatch.setattr(_pictures, "draw_ranked_lists", interrupt)
    status, _, err = answer("train", "--operation", "evaluate", "--sub_working_dir", run)
    assert (status, err) == (130, "interrupted\n")
    assert list((run / "evaluations").glob("scores-*.json"))

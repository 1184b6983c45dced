"""The benches run, in small, and what they compare gives the same result."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from reid_core.params.validation import check_run_params
from reid_core.training.assembly import check_on_meta

ROOT = Path(__file__).resolve().parents[2]


def load(name):
    """Import a tool by its path."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def rows(tool, *options):
    """Run a bench; return the cells of its table by the row's label."""
    command = [sys.executable, str(ROOT / "tools" / f"{tool}.py"), *options]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    lines = [line.strip("| ").split(" | ") for line in done.stdout.splitlines() if "|" in line]
    return {cells[0]: cells[1:] for cells in lines[2:]}


def test_every_loss_gives_the_value_of_its_peer():
    found = rows(
        "bench_losses", *["--batch", "16", "--dim", "8", "--classes", "20", "--repeat", "1"]
    )
    assert len(found) == 19
    values = {label: cells[3] for label, cells in found.items() if label != "center"}
    assert set(values.values()) == {"equal"}, values


def test_every_way_to_rank_gives_the_same_scores():
    size = ["--queries", "64", "--gallery", "400", "--dim", "16", "--repeat", "1", "--no-memory"]
    found = rows("bench_evaluation", *size, "--only", "product", "ours", "tables", "naive")
    scores = [cells[3:] for label, cells in found.items() if "product" not in label]
    assert len(scores) == 3
    assert re.fullmatch(r"0\.\d{6}", scores[0][0])
    assert scores[0] == scores[1] == scores[2]
    assert len(rows("bench_evaluation", *size, "--rerank", "--only", "product", "ours")) == 2


def test_the_boundary_around_plugins_costs_less_than_a_hundredth_of_a_step():
    found = rows("bench_boundary", *["--calls", "200", "--steps", "3", "--people", "20"])
    parts = ("backbone", "head", "loss softmax", "loss triplet", "objective", "sampler", "schedule")
    assert {*parts, "augmentation normalize", "augmentation flip", "all"} <= found.keys()
    costs = [float(cells[-1]) for cells in found.values() if cells[0] != "–"]
    assert sum(costs) == pytest.approx(float(found["all"][-1]), abs=len(costs))
    assert 0 < float(found["share of it"][-1].removesuffix(" %")) < 1


@pytest.mark.parametrize("name", load("loss_study").STUDIES)
def test_the_losses_of_the_study_are_right_params(name, catalog):
    quickstart = json.loads((ROOT / "params" / "quickstart.json").read_text(encoding="utf-8"))
    raw = {**quickstart, **sys.modules["loss_study"].STUDIES[name]}
    check_on_meta(check_run_params(raw, catalog, "study"), catalog)

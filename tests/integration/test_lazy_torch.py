"""Listing, checking and help never wait for torch: declaring a plugin imports nothing heavy."""

import json
import os
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "torchvision", "scipy", "matplotlib")
PLUGINS = sorted(e.value for e in distribution("reid-core").entry_points.select(group="reid_core"))
LIGHT_HALF = sorted(
    {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for folder in ("reid_core", "reid_core/params")
        for path in (ROOT / folder).glob("*.py")
    }
)
"""The kernel, which plugins import, and the checking of params."""

AFTER = f"""
import sys
heavy = [name for name in {HEAVY} if name in sys.modules]
assert not heavy, f"imported: {{heavy}}"
"""

ONE_BY_ONE = """
import importlib, sys
for module in sys.argv[1:]:
    importlib.import_module(module)
    heavy = [name for name in {heavy} if name in sys.modules]
    if heavy:
        print(module, "imports", *heavy)
        for name in heavy:  # so that the next one is found too
            for loaded in [m for m in sys.modules if m == name or m.startswith(name + ".")]:
                del sys.modules[loaded]
"""


def run(code, *arguments):
    """Run code in a fresh interpreter; return its output."""
    # Other packages' plugins are their own affair.
    environment = {**os.environ, "REID_CORE_NO_THIRD_PARTY": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        env=environment,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_no_built_in_plugin_and_no_light_module_imports_anything_heavy():
    modules = [*PLUGINS, *LIGHT_HALF]
    assert {"reid_core.contracts", "reid_core.params.load"} < set(modules)
    assert run(ONE_BY_ONE.format(heavy=HEAVY), *modules) == ""


def test_the_check_for_heavy_imports_would_find_one(tmp_path, monkeypatch):
    (tmp_path / "torch.py").write_text("")
    (tmp_path / "a_heavy_plugin.py").write_text("import torch")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    found = run(ONE_BY_ONE.format(heavy=HEAVY), "a_heavy_plugin")
    assert found == "a_heavy_plugin imports torch\n"


def test_loading_and_checking_import_nothing_heavy(tiny_params):
    code = """
import json, sys
from reid_core.discovery import load_catalog
from reid_core.params.validation import check_run_params
catalog = load_catalog()
assert not catalog.faults, catalog.faults
check_run_params(json.loads(sys.argv[1]), catalog, "p")
for offer in catalog.offers:
    offer.component.params.model_json_schema()
"""
    run(code + AFTER, json.dumps(tiny_params))


@pytest.mark.parametrize(
    "arguments",
    [
        ["plugins"],
        ["plugins", "--errors"],
        ["plugins", "triplet"],
        ["new-plugin", "--help"],
        ["new-plugin", "loss", "short", "--out", "FOLDER"],
        ["schema"],
        ["schema", "--eval"],
        ["check", "PARAMS"],
        ["--help"],
        ["train", "--help"],
        ["evaluate", "--help"],
        ["pack", "--help"],
        ["report", "--help"],
        ["compare-runs", "--help"],
        ["tune-rerank", "--help"],
        ["train", "--config_path", "PARAMS", "--set", "train.epochs=0"],
    ],
    ids=" ".join,
)
def test_light_commands_import_nothing_heavy(arguments, tmp_path, tiny_params):
    params = tmp_path / "p.json"
    params.write_text(json.dumps(tiny_params))
    code = """
import sys
from reid_core.cli import main
try:
    main(sys.argv[1:])
except SystemExit:
    pass
"""
    places = {"PARAMS": params, "FOLDER": tmp_path / "reid-short"}
    run(code + AFTER, *(places.get(word, word) for word in arguments))


@pytest.mark.parametrize("script", ["train.py", "evaluator.py"])
def test_the_help_of_the_scripts_imports_nothing_heavy(script):
    code = """
import runpy, sys
script = sys.argv.pop(1)
try:
    runpy.run_path(script, run_name="__main__")
except SystemExit as stop:
    assert stop.code in (0, None), stop.code
"""
    assert run(code + AFTER, script, "--help").startswith(f"usage: {script}")

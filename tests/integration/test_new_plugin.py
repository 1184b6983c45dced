"""``reid new-plugin``: every package that it writes keeps its contract as it is."""

import importlib.util
import json
import os
import subprocess
import sys

import pytest

from reid_core.cli import main
from reid_core.discovery import isolated_catalog
from reid_core.hookspecs import KINDS
from reid_core.params.validation import check_run_params
from reid_plugins.command._new_plugin.package import (
    kinds_with_templates,
    package_files,
    write_package,
)


@pytest.fixture
def written(tmp_path, monkeypatch):
    """A function that writes a package and lets its modules be imported."""
    modules = []

    def write(kind, size, name="my_own"):
        folder = tmp_path / f"{kind}-{size}"
        texts = package_files(kind, name, size)
        write_package(folder, texts)
        modules.extend(path.removesuffix(".py") for path in texts if path.count("/") == 0)
        monkeypatch.syspath_prepend(folder)
        return folder

    yield write
    for module in modules:
        sys.modules.pop(module, None)


def test_there_are_templates_for_every_kind_that_is_not_of_the_program_itself():
    assert set(kinds_with_templates()) == set(KINDS) - {"command", "translator"}


@pytest.mark.parametrize("size", ["small", "full"])
@pytest.mark.parametrize("kind", kinds_with_templates())
def test_the_package_passes_its_own_test(kind, size, written, tmp_path):
    folder = written(kind, size)
    test = folder / "tests" / "test_my_own.py"
    spec = importlib.util.spec_from_file_location(f"test_{kind}_{size}", test)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    needs_folder = "tmp_path" in module.test_it_keeps_its_contract.__code__.co_varnames
    module.test_it_keeps_its_contract(*([tmp_path / "images"] if needs_folder else []))
    assert isolated_catalog(sys.modules["reid_my_own"]).names(kind) == ["my_own"]


@pytest.mark.parametrize("size", ["small", "full"])
@pytest.mark.parametrize("kind", kinds_with_templates())
def test_nothing_of_the_template_is_left_open(kind, size):
    assert "$" not in "".join(package_files(kind, "my_own", size).values())


def test_a_small_loss_is_six_lines_of_python_and_five_of_pyproject():
    texts = package_files("loss", "short", "small")

    def lines(path):
        return [line for line in texts[path].splitlines() if line.strip()]

    assert (len(lines("reid_short.py")), len(lines("pyproject.toml"))) == (6, 5)


def test_what_is_written_is_installed_by_pip_and_found(tmp_path, tiny_params):
    folder, site = tmp_path / "reid-short", tmp_path / "site"
    assert main(["new-plugin", "loss", "short", "--out", str(folder)]) == 0
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation"]
    done = subprocess.run(
        [*pip, "--target", site, folder], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    params = tmp_path / "params.json"
    params.write_text(json.dumps({**tiny_params, "loss": [{"name": "softmax"}, {"name": "short"}]}))
    environment = {**os.environ, "PYTHONPATH": str(site)}
    command = "import sys; from reid_core.cli import main; sys.exit(main(sys.argv[1:]))"
    for arguments in (["plugins", "short"], ["check", str(params)]):
        done = subprocess.run(
            [sys.executable, "-c", command, *arguments],
            capture_output=True,
            text=True,
            env=environment,
        )
        assert done.returncode == 0, done.stderr
        assert "reid-short 0.1.0" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["loss", "triplet"], "loss 'triplet' of reid-core 0.1.0 has this name already"),
        (["loss", "my-loss"], "'my-loss' cannot name a module"),
        (["loss", "class"], "'class' cannot name a module"),
        (["loss", "core"], "a module 'reid_core' is installed already"),
    ],
)
def test_a_name_that_cannot_be_is_refused_and_nothing_is_written(
    arguments, message, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    assert main(["new-plugin", *arguments]) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_is_left_alone(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "reid-mine").mkdir()
    (tmp_path / "reid-mine" / "notes").write_text("kept")
    assert main(["new-plugin", "loss", "mine"]) == 2
    assert "reid-mine: exists already; choose another place with --out" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "reid-mine").iterdir()] == ["notes"]


def test_nothing_half_written_is_left(tmp_path):
    with pytest.raises(TypeError):
        write_package(tmp_path / "reid-mine", {"a.py": "x = 1\n", "b.py": None})
    assert list(tmp_path.iterdir()) == []


def test_a_written_loss_can_be_named_in_params(written, tiny_params, catalog_with):
    written("loss", "full")
    catalog = catalog_with(importlib.import_module("reid_my_own"))
    raw = {**tiny_params, "loss": [{"name": "my_own", "params": {"target": 0.1}}]}
    assert check_run_params(raw, catalog, "test").loss[0].params.target == 0.1

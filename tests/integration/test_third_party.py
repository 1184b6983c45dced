"""Wheels of the core, of the example plugins and of a broken one, in an environment of their own.

Nothing here sees the clone: the commands run in a fresh virtual environment, from a folder
outside the clone, with the wheels alone. The environment reaches the packages that reid-core
depends on through links, so that nothing is downloaded.
"""

import configparser
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from safetensors import safe_open

from reid_core.testing import checks_of
from reid_plugins.command._new_plugin.package import package_files

CLONE = Path(__file__).resolve().parents[2]
EXAMPLES = {
    "reid-supcon-loss": ("loss supcon",),
    "reid-visible-parts": (
        "head visible_parts",
        "loss part_masks",
        "distance visible_parts",
    ),
    "reid-camera-embedding": ("backbone camera_vit",),
    "reid-cluster-contrast": ("callback cluster_labels", "loss cluster_memory"),
    "reid-cross-modality": ("evaluator cross_modality", "distance modality_cosine"),
    "reid-file-logger": ("logger csv",),
    "reid-pair-list": ("evaluator pair_list",),
}
"""The example packages, each with the components that it offers."""
MOVED = "early_stopping"
"""A built-in callback that the package `other` offers as well, by a copy of its file."""
OURS = (
    "reid_core",
    "reid_plugins",
    "reid_evaluate",
    "reid_broken",
    "reid_short",
    *(name.replace("-", "_") for name in EXAMPLES),
)

BROKEN_SETUP = """\
[metadata]
name = reid-broken
version = 0.0.7
[options]
py_modules = reid_broken
[options.entry_points]
reid_core =
    reid-broken = reid_broken
"""
BROKEN_MODULE = "raise OSError('libmagic.so is missing')\n"

OTHER_SETUP = f"""\
[metadata]
name = other
version = 0.3
[options]
py_modules = other_{MOVED}
[options.entry_points]
reid_core =
    other = other_{MOVED}
"""


def example(name):
    return CLONE / "examples" / name


def written(folder, files):
    """Write a package's files by their paths in it; return its folder."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def smallest(folder):
    """Write the package of the guide's first page: six lines of Python, five of toml."""
    files = package_files("loss", "short", "small")
    assert len([line for line in files["reid_short.py"].splitlines() if line]) == 6
    return written(folder, files)


def moved(folder):
    """Write the package ``other``: a built-in's file as it is, under another name."""
    source = (CLONE / "plugins" / "reid_plugins" / "callback" / f"{MOVED}.py").read_text()
    return written(folder, {"setup.cfg": OTHER_SETUP, f"other_{MOVED}.py": source})


@dataclass(frozen=True)
class Environment:
    """A virtual environment with the wheels."""

    path: Path
    wheels: dict[str, Path]
    sdists: dict[str, Path]

    def run(self, *command, cwd, **variables):
        """Run a program of the environment; return the finished process."""
        program = self.path / "bin" / command[0]
        return run(program, *command[1:], cwd=cwd, **variables)


def run(*command, cwd, **variables):
    # What the caller's environment says about imports and plugins must not reach in.
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "PYTEST", "REID"))}
    return subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env={**kept, "OMP_NUM_THREADS": "1", **variables},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def succeeded(process):
    assert process.returncode == 0, f"{process.args}\n{process.stdout}\n{process.stderr}"
    return process.stdout


def copied(source, target):
    """Copy sources without what tools have left there, so that only sources make the wheel."""
    anywhere = shutil.ignore_patterns(".*", "*.egg-info", "__pycache__")
    at_the_top = {"build", "dist", "runs"}  # a room of the core is called runs, too

    def left(folder, names):
        return anywhere(folder, names) | (at_the_top if Path(folder) == Path(source) else set())

    shutil.copytree(source, target, ignore=left)
    return target


def built(source, out):
    """Build the sdist, and from it the wheel; return both."""
    command = ("-m", "build", "--no-isolation", "--outdir", out, source)
    succeeded(run(sys.executable, *command, cwd=source))
    return next(out.glob("*.tar.gz")), next(out.glob("*.whl"))


def link_dependencies(folder):
    """Link all installed packages but ours into a folder."""
    folder.mkdir()
    packages = [Path(p) for p in sys.path if Path(p).name in ("site-packages", "dist-packages")]
    for entry in (entry for package in packages if package.is_dir() for entry in package.iterdir()):
        # Also "__editable___reid_core_0_1_0_finder.py", which leads back to the clone.
        name = entry.name.replace("-", "_").removeprefix("__editable__").lstrip("_.")
        if not name.startswith(OURS) and not (folder / entry.name).exists():
            (folder / entry.name).symlink_to(entry)
    return folder


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    root = tmp_path_factory.mktemp("third_party")
    broken = {"setup.cfg": BROKEN_SETUP, "reid_broken.py": BROKEN_MODULE}
    sources = {
        "reid-core": copied(CLONE, root / "core"),
        **{name: copied(example(name), root / name) for name in EXAMPLES},
        "reid-short": smallest(root / "short"),
        "other": moved(root / "other"),
        "reid-broken": written(root / "broken", broken),
    }
    for name in ("other", "reid-broken"):
        shutil.copy(example("reid-supcon-loss") / "pyproject.toml", sources[name])
    files = {name: built(source, root / "dist" / name) for name, source in sources.items()}
    wheels = {name: wheel for name, (_, wheel) in files.items()}

    path = root / "venv"
    venv.create(path, with_pip=False)
    python = path / "bin" / "python"
    offline = ("--no-index", "--no-deps", "--no-compile", "--disable-pip-version-check")
    # Before the dependencies can be seen: pip must not find anything that it could replace.
    pip = ("-m", "pip", "--python", python, "install", *offline, *wheels.values())
    succeeded(run(sys.executable, *pip, cwd=root))
    (site,) = path.glob("lib/python*/site-packages")
    links = link_dependencies(root / "dependencies")
    (site / "dependencies.pth").write_text(f"import site; site.addsitedir({str(links)!r})\n")
    return Environment(path, wheels, {name: sdist for name, (sdist, _) in files.items()})


@pytest.fixture
def supcon_params(tiny_params, tmp_path):
    """The path of a params.json for one epoch with the loss of the example plugin."""
    supcon = {"name": "supcon", "weight": 0.1, "params": {"temperature": 0.2}}
    train = {**tiny_params["train"], "epochs": 1, "log_every": 1}
    path = tmp_path / "params.json"
    losses = [{"name": "softmax"}, supcon]
    path.write_text(json.dumps({**tiny_params, "loss": losses, "train": train}))
    return path


def listed_packages():
    config = configparser.ConfigParser()
    config.read(CLONE / "setup.cfg")
    return config["options"]["packages"].split()


# ---- the distributions ------------------------------------------------------------------


def test_the_wheel_holds_the_listed_packages_and_nothing_else(environment):
    with zipfile.ZipFile(environment.wheels["reid-core"]) as wheel:
        names = wheel.namelist()
    modules = [n for n in names if ".dist-info/" not in n]
    packages = {Path(name).parent.as_posix().replace("/", ".") for name in modules}
    assert set(listed_packages()) <= packages
    assert {name.split("/")[0] for name in modules} == {
        "reid_core",
        "reid_plugins",
        "reid_evaluate",
    }


def test_the_wheel_holds_every_module_of_the_clone(environment):
    roots = {"reid_core": CLONE, "reid_plugins": CLONE / "plugins"}
    roots |= {"reid_evaluate": CLONE / "evaluate"}
    clone = {
        path.relative_to(root).as_posix()
        for package, root in roots.items()
        for path in (root / package).rglob("*.py")
    }
    with zipfile.ZipFile(environment.wheels["reid-core"]) as wheel:
        assert clone == {name for name in wheel.namelist() if name.endswith(".py")}


@pytest.mark.parametrize("name", ["reid-core", *EXAMPLES])
def test_the_sdist_holds_what_the_wheel_is_built_from(environment, name):
    with tarfile.open(environment.sdists[name]) as sdist:
        files = {member.name.partition("/")[2] for member in sdist.getmembers()}
    assert {"setup.cfg", "pyproject.toml", "README.md", "LICENSE"} <= files


def test_every_package_can_be_imported_from_the_wheel(environment, tmp_path):
    code = (
        "import importlib, sys\n"
        "for name in sys.argv[1:]: print(importlib.import_module(name).__file__)"
    )
    packages = listed_packages()
    files = succeeded(environment.run("python", "-c", code, *packages, cwd=tmp_path)).split()
    assert len(files) == len(packages)
    assert all(Path(file).is_relative_to(environment.path) for file in files), files


def test_the_wheel_writes_new_plugins_and_checks_them(environment, tmp_path):
    succeeded(environment.run("reid", "new-plugin", "head", "mine", "--size", "full", cwd=tmp_path))
    code = (
        "import reid_mine\n"
        "from reid_core.discovery import isolated_catalog\n"
        "from reid_core.testing import check_component\n"
        "check_component('head', 'mine', isolated_catalog(reid_mine))"
    )
    folder = tmp_path / "reid-mine"
    succeeded(environment.run("python", "-c", code, cwd=folder, PYTHONPATH=str(folder)))


def test_the_environment_knows_one_reid_core_alone(environment, tmp_path):
    code = (
        "from importlib.metadata import distributions\n"
        "print(*sorted(d.name for d in distributions() if d.name.startswith('reid')))"
    )
    output = succeeded(environment.run("python", "-c", code, cwd=tmp_path))
    assert output.split() == sorted(["reid-broken", "reid-core", "reid-short", *EXAMPLES])


# ---- the third-party plugin -------------------------------------------------------------


def test_a_training_with_the_third_party_loss_succeeds_and_records_its_origin(
    environment, supcon_params, tiny_params, tmp_path
):
    command = ("train", "--config_path", supcon_params, "--sub_working_dir", "run")
    succeeded(environment.run("reid", *command, cwd=tmp_path))
    directory = Path(tiny_params["working_dir"]) / "run"
    lines = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
    steps = [line for line in lines if line["kind"] == "train"]
    assert steps
    assert all(step["losses"]["supcon"] > 0 for step in steps)
    assert "supcon.positive_cosine" in steps[0]["monitors"]
    assert [line["kind"] for line in lines][-1] == "evaluation"

    resolved = json.loads((directory / "params.json").read_text())
    assert resolved["plugins"] == {"reid-supcon-loss": "0.1.0", "reid-core": "0.1.0"}
    assert resolved["loss"][1]["params"] == {"temperature": 0.2}
    assert (directory / "weights" / "best.safetensors").is_file()


def test_the_params_are_right_without_torch_being_imported(environment, supcon_params, tmp_path):
    code = (
        "import sys\nfrom reid_core.cli import main\n"
        "status = main(['check', sys.argv[1]])\nassert 'torch' not in sys.modules\nsys.exit(status)"
    )
    output = succeeded(environment.run("python", "-c", code, supcon_params, cwd=tmp_path))
    assert "0.1 supcon" in output
    assert "reid-supcon-loss 0.1.0" in output


def test_the_distribution_can_be_named_with_the_loss(environment, supcon_params, tmp_path):
    override = ("--set", "loss.1.name=reid-supcon-loss:supcon")
    succeeded(environment.run("reid", "check", supcon_params, *override, cwd=tmp_path))


def test_the_list_of_plugins_names_the_distribution_with_its_loss(environment, tmp_path):
    lines = succeeded(environment.run("reid", "plugins", cwd=tmp_path)).splitlines()
    at = lines.index("reid-supcon-loss 0.1.0")
    assert lines[at + 1].split()[:2] == ["loss", "supcon"]
    assert "reid-core 0.1.0" in lines
    assert "failed to load" in lines[-1]
    assert lines[-1].endswith("see: reid plugins --errors")


def test_the_schema_of_the_params_knows_the_loss(environment, tmp_path):
    schema = succeeded(environment.run("reid", "schema", cwd=tmp_path))
    assert '"supcon"' in schema
    assert "Divisor of the cosines in (0, 10]" in schema


def test_switched_off_third_party_plugins_are_unknown(environment, supcon_params, tmp_path):
    process = environment.run(
        "reid", "check", supcon_params, cwd=tmp_path, REID_CORE_NO_THIRD_PARTY="1"
    )
    assert process.returncode == 2
    assert "loss.1.name: unknown loss 'supcon'" in process.stderr
    assert "failed" not in process.stderr


def test_the_examples_are_the_packages_that_are_installed_here():
    folders = [path.name for path in (CLONE / "examples").iterdir() if path.is_dir()]
    assert sorted(folders) == sorted(EXAMPLES)


def test_the_tests_of_the_example_packages_pass_with_the_wheels(environment, tmp_path):
    for name in EXAMPLES:
        shutil.copytree(example(name) / "tests", tmp_path / name)
    options = ("-q", "--import-mode=importlib", "-p", "no:cacheprovider", "-W", "error")
    output = succeeded(environment.run("python", "-m", "pytest", *options, *EXAMPLES, cwd=tmp_path))
    assert " passed" in output
    assert "skipped" not in output


def test_the_components_of_the_example_packages_are_listed(environment, tmp_path):
    output = succeeded(environment.run("reid", "plugins", cwd=tmp_path))
    for word in (word for words in EXAMPLES.values() for word in words):
        kind, name = word.split()
        assert re.search(rf"^\s*{kind}\s+{name}\b", output, re.MULTILINE), word


@pytest.mark.parametrize(("kind", "component"), [("loss", "supcon"), ("backbone", "camera_vit")])
def test_a_third_party_component_passes_the_contract_tests_of_its_kind(
    environment, tmp_path, kind, component
):
    for name in ("conftest.py", "contract", "support"):
        copy = shutil.copytree if (CLONE / "tests" / name).is_dir() else shutil.copy
        copy(CLONE / "tests" / name, tmp_path / name)
    options = ("-q", "--import-mode=importlib", "-p", "no:cacheprovider", "-k", component)
    options += ("-o", f"pythonpath={tmp_path / 'support'}")
    output = succeeded(
        environment.run("python", "-m", "pytest", *options, "contract", cwd=tmp_path)
    )
    assert int(re.search(r"(\d+) passed", output)[1]) >= len(checks_of(kind))


# ---- the third-party backbone -----------------------------------------------------------


@pytest.fixture
def camera_params(tiny_params, tmp_path):
    """The path of a params.json for one epoch with the backbone of the example plugin."""
    transformer = {"name": "camera_vit", "params": {"dim": 16, "blocks": 2, "patch": 8}}
    path = tmp_path / "params.json"
    changes = {
        "backbone": transformer,
        "head": [{"name": "global", "params": {"pooling": "token"}}],
        "train": {**tiny_params["train"], "epochs": 1},
    }
    path.write_text(json.dumps({**tiny_params, **changes}))
    return path


def test_a_training_with_the_third_party_backbone_keeps_its_cameras_with_the_weights(
    environment, camera_params, tiny_params, tmp_path
):
    assert "camera_vit" in succeeded(
        environment.run("reid", "check", camera_params, "--model", cwd=tmp_path)
    )
    command = ("train", "--config_path", camera_params, "--sub_working_dir", "run")
    output = succeeded(environment.run("reid", *command, cwd=tmp_path))
    assert "looks at 'camid', which is unknown to it in 0 of " in output
    run = Path(tiny_params["working_dir"]) / "run"
    with safe_open(run / "weights" / "last.safetensors", framework="np") as file:
        metadata = json.loads(file.metadata()["reid_core"])
        names = set(file.keys())
    assert metadata["side"] == {"camid": [["synthetic_market", 1], ["synthetic_market", 2]]}
    assert "backbone.tokens.cameras.weight" in names
    again = tmp_path / "eval_params.json"
    again.write_text(json.dumps({"run": str(run)}))
    output = succeeded(environment.run("reid", "evaluate", again, cwd=tmp_path))
    assert "looks at 'camid', which is unknown to it in 0 of " in output


def test_what_the_third_party_backbone_cannot_take_is_found_on_shapes(
    environment, camera_params, tmp_path
):
    override = ("--set", "backbone.params.patch=5", "--model")
    process = environment.run("reid", "check", camera_params, *override, cwd=tmp_path)
    assert process.returncode == 2
    assert "patches of 5 pixels do not fill images of 32 x 16 pixels" in process.stderr
    assert "Traceback" not in process.stderr


# ---- the smallest plugin, and a built-in outside the core --------------------------------


def test_the_six_lines_of_the_guide_are_trained_with(environment, tiny_params, tmp_path):
    short = {"name": "short", "weight": 0.01}
    train = {**tiny_params["train"], "epochs": 1, "log_every": 1}
    params = {**tiny_params, "loss": [{"name": "softmax"}, short], "train": train}
    (tmp_path / "params.json").write_text(json.dumps(params))
    command = ("train", "--config_path", "params.json", "--sub_working_dir", "run")
    succeeded(environment.run("reid", *command, cwd=tmp_path))
    directory = Path(tiny_params["working_dir"]) / "run"
    steps = lines_of(directory, "train")
    assert all(step["losses"]["short"] > 0 for step in steps)
    for step in steps:
        expected = step["losses"]["softmax"] + 0.01 * step["losses"]["short"]
        assert step["total"] == pytest.approx(expected, rel=1e-4)
    resolved = json.loads((directory / "params.json").read_text())
    assert resolved["plugins"] == {"reid-short": "0.1.0", "reid-core": "0.1.0"}


def lines_of(directory, kind):
    lines = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
    return [
        {k: v for k, v in line.items() if k != "time"} for line in lines if line["kind"] == kind
    ]


@pytest.fixture
def stopped_runs(environment, tiny_params, tmp_path):
    """The runs that the callback ends, as the built-in and as the package `other` offers it."""
    found = {}
    for owner in ("reid-core", "other"):
        stopping = {"name": f"{owner}:{MOVED}", "params": {"patience": 1, "min_delta": 0.9}}
        train = {**tiny_params["train"], "epochs": 9, "evaluate_every": 1}
        (tmp_path / f"{owner}.json").write_text(
            json.dumps({**tiny_params, "callback": [stopping], "train": train})
        )
        command = ("train", "--config_path", f"{owner}.json", "--sub_working_dir", owner)
        output = succeeded(environment.run("reid", *command, cwd=tmp_path))
        assert f"callback '{MOVED}' ends the training after epoch 2" in output
        found[owner] = Path(tiny_params["working_dir"]) / owner
    return found


def test_a_built_in_does_the_same_outside_the_core_unchanged(stopped_runs):
    built_in, other = stopped_runs.values()
    evaluations = [lines_of(run, "evaluation") for run in (built_in, other)]
    assert [line["epoch"] for line in evaluations[1]] == [1, 2]
    assert evaluations[0] == evaluations[1]
    resolved = json.loads((other / "params.json").read_text())
    assert resolved["plugins"] == {"other": "0.3", "reid-core": "0.1.0"}
    assert resolved["callback"][0]["name"] == f"other:{MOVED}"


def test_a_name_that_both_offer_must_say_whose_it_is(environment, tiny_params, tmp_path):
    params = {**tiny_params, "callback": [{"name": MOVED}]}
    (tmp_path / "params.json").write_text(json.dumps(params))
    process = environment.run("reid", "check", "params.json", cwd=tmp_path)
    assert process.returncode == 2
    assert f"write 'other:{MOVED}' or 'reid-core:{MOVED}'" in process.stderr


# ---- the broken plugin ------------------------------------------------------------------


def test_a_plugin_that_cannot_be_imported_is_reported_by_distribution_version_and_cause(
    environment, tmp_path
):
    process = environment.run("reid", "plugins", "--errors", cwd=tmp_path)
    assert process.returncode == 1
    assert process.stdout.splitlines() == [
        "plugin 'reid-broken' of reid-broken 0.0.7: "
        "cannot be imported: OSError: libmagic.so is missing"
    ]


@pytest.mark.parametrize("name", ["magic", "reid-broken:magic"])
def test_params_that_need_the_broken_plugin_name_its_distribution(
    environment, supcon_params, tmp_path, name
):
    command = ("train", "--config_path", supcon_params, "--set", f"loss.1.name={name}")
    process = environment.run("reid", *command, cwd=tmp_path)
    assert process.returncode == 2
    assert f"loss.1.name: unknown loss '{name}'" in process.stderr
    assert (
        "failed to load: reid-broken 0.0.7 (cannot be imported: OSError: libmagic.so is"
        in process.stderr
    )
    assert "Traceback" not in process.stderr
    assert not (tmp_path / "runs").exists()

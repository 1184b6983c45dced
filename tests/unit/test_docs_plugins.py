"""The plugin guide shows the example package's own files and the hooks as they are."""

import ast
import dataclasses
import importlib.util
import inspect
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from reid_core import contracts
from reid_core.discovery import isolated_catalog
from reid_core.hookspecs import KINDS, build_keywords, contract_of, hook_words
from reid_core.testing import Case
from reid_evaluate.distances import comparison
from reid_plugins.command._new_plugin.package import kinds_with_templates, package_files

CLONE = Path(__file__).resolve().parents[2]
GUIDE = CLONE / "docs" / "writing_plugins.md"
EXAMPLE = CLONE / "examples" / "reid-supcon-loss"
REFRESH = "run: python tools/refresh_docs.py"


def load(path):
    """Import a file by its path, under a name that nothing else has."""
    spec = importlib.util.spec_from_file_location(f"loaded_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def refresh_docs():
    return load(CLONE / "tools" / "refresh_docs.py")


BUILT = {
    ("api/commands.py", "offer"): ["command"],
    ("api/components.py", "offer"): [],  # any kind, with the keywords that its caller gives
    ("network/model.py", "params.backbone"): ["backbone"],
    ("network/model.py", "entry"): ["head"],
    ("training/weighted_losses.py", "entry"): ["loss"],
    ("data/epoch_batches.py", "entry"): ["sampler"],
    ("training/assembly.py", "params.schedule"): ["schedule"],
    ("training/build_module.py", "entry"): ["objective"],
    ("training/small_batches.py", "entry"): ["sampler"],
    ("training/trials.py", "params.schedule"): ["schedule"],
    ("runs/resume_rules.py", "entry"): ["schedule"],
    ("runs/resume_rules.py", "after.schedule"): ["schedule"],
    ("data/transforms.py", "entry"): ["augmentation"],
    ("storage/dataset_stores.py", "entry"): ["dataset"],
    ("evaluation/build_evaluator.py", "entry"): ["evaluator"],
    ("runs/callbacks.py", "entry"): ["callback"],
    ("runs/loggers.py", "entry"): ["logger"],
    ("cli.py", "offer"): ["command"],
    ("params/recognition.py", "offer"): ["translator"],
    ("evaluation/build_evaluator.py", "distance"): ["distance"],
    ("evaluation/build_evaluator.py", "step"): ["postprocess"],
}
"""Kinds of what the core builds, by file and receiver of ``build``."""


def passed_keywords():
    """The keywords that the core's own calls hand to ``build``, by kind."""
    core, passed, places = CLONE / "reid_core", {kind: set() for kind in KINDS}, set()
    for path in core.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            keywords = {keyword.arg for keyword in node.keywords if keyword.arg}
            if isinstance(node.func, ast.Attribute) and node.func.attr == "build":
                place = (path.relative_to(core).as_posix(), ast.unparse(node.func.value))
                if place[0] not in ("component.py", "params/entries.py") and not place[
                    0
                ].startswith("testing/"):
                    places.add(place)
                    for kind in BUILT[place]:
                        passed[kind] |= keywords
    assert places == BUILT.keys()
    return passed


@pytest.mark.parametrize("name", ["setup.cfg", "pyproject.toml", "reid_supcon_loss.py"])
def test_the_guide_shows_the_file_of_the_example_package(name):
    path = (EXAMPLE / name).relative_to(CLONE).as_posix()
    block = rf"<!-- file: {re.escape(path)} -->\n```\w+\n(.*?)```\n<!-- end -->"
    shown = re.search(block, GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    assert shown, f"the guide has no block for {path}"
    assert shown[1] == (EXAMPLE / name).read_text(encoding="utf-8"), REFRESH


def test_the_guide_opens_with_what_new_plugin_writes():
    texts = package_files("loss", "short", "small")
    shown = re.search(
        r"<!-- new-plugin: loss short -->\n(.*?)<!-- end -->", GUIDE.read_text(), re.S
    )
    python, toml = re.findall(r"```\w+\n(.*?)```", shown[1], re.DOTALL)
    assert (python, toml) == (texts["reid_short.py"], texts["pyproject.toml"])
    assert f"```python\n{python}```" in (CLONE / "README.md").read_text(encoding="utf-8")


def test_the_guide_names_every_field_of_a_case_and_every_kind_that_can_be_written():
    text = GUIDE.read_text(encoding="utf-8")
    fields = [field.name for field in dataclasses.fields(Case)]
    assert re.findall(r"^\| `(\w+)` \| ", text.partition("| field | what |")[2], re.M) == fields
    listed = text.partition("does the same for every kind: ")[2].partition(". With")[0]
    assert set(re.findall(r"`(\w+)`", listed)) == set(kinds_with_templates())


def test_every_generated_block_of_the_guide_is_fresh(refresh_docs):
    text = GUIDE.read_text(encoding="utf-8")
    assert refresh_docs.refreshed(text) == text, REFRESH


@pytest.mark.parametrize("kind", KINDS)
def test_the_guide_lists_the_hook_with_its_build(kind):
    (row,) = [
        line
        for line in GUIDE.read_text(encoding="utf-8").splitlines()
        if line.startswith(f"| `reid_{kind}` |")
    ]
    assert hook_words(kind)[1] in row


@pytest.mark.parametrize("kind", KINDS)
def test_the_docstring_of_the_hook_names_exactly_what_the_core_passes(kind):
    assert build_keywords(kind) == passed_keywords()[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_what_build_returns_is_named_and_documented_in_the_contracts(kind):
    name = contract_of(kind)
    contract = getattr(comparison if name in ("Distance", "Postprocess") else contracts, name)
    members = [vars(contract)[m] for m in vars(contract) if m == "__call__" or m[0] != "_"]
    # The step of post-processing is a plain type of functions.
    assert name == "Postprocess" or (members and contract.__doc__)
    documented = [m for m in members if inspect.isroutine(m) or isinstance(m, property)]
    assert all(inspect.getdoc(member) for member in documented)


def test_the_evaluator_in_the_guide_scores_what_it_says():
    import numpy as np

    from parts import cosine
    from reid_core.contracts import Features

    blocks = re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    (example,) = [block for block in blocks if "vectors(" in block]
    names = {}
    exec(compile(example, str(GUIDE), "exec"), names)
    flags, pids = np.zeros(4, dtype=bool), np.array(["a", "b", "a", "b"])
    rows = {"embedding": np.eye(4, 2, dtype=np.float32)[[0, 1, 0, 0]]}
    both = {
        split: Features(rows, pids, np.arange(4), np.array(list("1234")), flags, flags)
        for split in ("query", "gallery")
    }
    scores = names["build"](None, distance=cosine(), device="cpu")(both)
    assert scores.metrics == {"nearest": 0.75}
    assert scores.protocol["distance"] == "cosine"

    gallery = both["gallery"]
    further = {  # of the first direction: junk, a distractor, somebody unknown
        "values": {"embedding": np.eye(4, 2, dtype=np.float32)[[0, 1, 1, 0]]},
        "junk": np.array([True, False, False, False]),
        "distractor": np.array([False, True, False, False]),
        "pids": np.array(["b", "b", "a", ""]),
    }
    both["gallery"] = replace(gallery, **further)
    scores = names["build"](None, distance=cosine(), device="cpu")(both)
    # "b" has no match left; all "a" find the unknown image first.
    assert scores.metrics == {"nearest": 0.0}
    assert scores.protocol["sizes"] == {"query": 4, "gallery": 3, "scored": 2}


def test_the_sampler_in_the_guide_keeps_its_contract():
    from reid_core import SamplerComponent, hookimpl
    from reid_core.discovery import isolated_catalog
    from reid_core.testing import check_component

    blocks = re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    (example,) = [block for block in blocks if "DrawnBatches(" in block]
    names = {}
    exec(compile(example, str(GUIDE), "exec"), names)

    class Plugin:
        @hookimpl
        def reid_sampler(self):
            given = {"build": names["build"], "columns": ("clothes",)}
            return [SamplerComponent(name="dressed", summary="People by clothes", **given)]

    check_component("sampler", "dressed", isolated_catalog(Plugin()))


def test_the_example_in_the_guide_builds_the_loss_of_an_isolated_catalog(monkeypatch):
    blocks = re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    (example,) = [block for block in blocks if "isolated_catalog(" in block]
    monkeypatch.setitem(sys.modules, "reid_supcon_loss", load(EXAMPLE / "reid_supcon_loss.py"))
    names = {}
    exec(compile(example, str(GUIDE), "exec"), names)
    assert callable(names["loss"])
    assert names["catalog"].names("loss") == ["supcon"]


def test_the_example_plugin_has_the_six_parts_in_order():
    body = ast.parse((EXAMPLE / "reid_supcon_loss.py").read_text(encoding="utf-8")).body
    functions = [node.name for node in body if isinstance(node, ast.FunctionDef)]
    kinds = [type(node).__name__ for node in body]
    assert "Reference:" in ast.get_docstring(ast.Module(body, []))
    assert kinds.index("ImportFrom") < kinds.index("ClassDef") < kinds.index("FunctionDef")
    assert functions[-2:] == ["build", "reid_loss"]


def test_the_example_plugin_offers_its_loss_without_a_fault():
    catalog = isolated_catalog(load(EXAMPLE / "reid_supcon_loss.py"))
    assert catalog.faults == []
    assert catalog.names("loss") == ["supcon"]


# ---- the tool ---------------------------------------------------------------------------


def test_a_stale_block_is_reported_by_check_and_then_renewed(
    refresh_docs, tmp_path, monkeypatch, capsys
):
    document = tmp_path / "guide.md"
    stale = "before\n<!-- hooks -->\nold\n<!-- end -->\nafter\n"
    document.write_text(stale)

    monkeypatch.setattr(sys, "argv", ["refresh_docs.py", "--check", str(document)])
    assert refresh_docs.main() == 1
    assert "guide.md: a generated block is stale; " + REFRESH in capsys.readouterr().out
    assert document.read_text() == stale

    monkeypatch.setattr(sys, "argv", ["refresh_docs.py", str(document)])
    assert refresh_docs.main() == 0
    assert document.read_text().startswith("before\n<!-- hooks -->\n| hook |")
    assert document.read_text().endswith("<!-- end -->\nafter\n")

    monkeypatch.setattr(sys, "argv", ["refresh_docs.py", "--check", str(document)])
    assert refresh_docs.main() == 0


def test_blocks_that_are_not_generated_are_left_alone(refresh_docs):
    text = "<!-- test command -->\nanything\n<!-- end -->\n"
    assert refresh_docs.refreshed(text) == text


def test_the_table_of_components_names_every_built_in_one(refresh_docs, catalog):
    text = refresh_docs.refreshed("<!-- components -->\n<!-- end -->\n")
    built_in = [offer for offer in catalog.offers if offer.distribution == "reid-core"]
    assert {offer.kind for offer in built_in} == set(KINDS)
    for offer in built_in:
        assert f"| {offer.kind} | `{offer.component.name}` |" in text

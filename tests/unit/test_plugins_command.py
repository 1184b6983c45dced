"""``reid plugins NAME``: a page about each component, with an example that is right."""

import json

import pytest
from pydantic import Field

from cases import installed_cases
from reid_core import Component, LossComponent, Params, hookimpl
from reid_core.cli import main
from reid_core.discovery import isolated_catalog
from reid_core.errors import ParamsError
from reid_core.params.validation import check_run_params
from reid_plugins.command._component_page import SECTIONS, example_section, page, schema_of
from reid_plugins.command._params_table import params_lines, type_words


def cases():
    return [pytest.param(case, id=str(case)) for case in installed_cases()]


@pytest.mark.parametrize("case", cases())
def test_the_page_names_all_that_can_be_said_of_a_component(case):
    text = " ".join("\n".join(page(case.offer)).split())
    component = case.component
    for word in (case.kind, component.name, component.summary, component.reference, "reid-core"):
        assert word in text
    schema = schema_of(component)
    for name, field in schema.get("properties", {}).items():
        assert f"{name}: {type_words(field)}" in text
        assert " ".join(field["description"].split()) in text


def examples():
    return [case for case in cases() if case.values[0].kind in SECTIONS]


@pytest.mark.parametrize("case", examples())
def test_the_example_is_accepted_in_its_section(case, catalog, tiny_params):
    section = json.loads(json.dumps(example_section(case.offer, schema_of(case.component))))
    rest = dict(tiny_params)
    if case.kind == "augmentation":  # something must give the pictures their size
        order = ("pil", "tensor", "batch")
        both = [*tiny_params["augmentation"], *section["augmentation"]]
        stage = {e["name"]: catalog.component("augmentation", e["name"]).stage for e in both}
        section["augmentation"] = sorted(both, key=lambda e: order.index(stage[e["name"]]))
    try:
        problems = []
        check_run_params({**rest, **section}, catalog, "test")
    except ParamsError as error:
        problems = error.problems
    about = tuple(f"{key}." for key in section)
    assert [problem for problem in problems if problem.startswith(about)] == []


def test_two_components_of_one_name_are_both_described_and_a_kind_chooses(capsys):
    assert main(["plugins", "cosine"]) == 0
    both = capsys.readouterr().out
    assert "distance 'cosine' of reid-core" in both
    assert "schedule 'cosine' of reid-core" in both
    assert main(["plugins", "reid-core:cosine", "--kind", "schedule"]) == 0
    assert "distance 'cosine'" not in capsys.readouterr().out


def test_an_unknown_name_is_answered_by_the_nearest(capsys):
    assert main(["plugins", "tripelt"]) == 2
    assert "no component is called 'tripelt'; did you mean 'triplet'?" in capsys.readouterr().err


class Inner(Params):
    size: int = Field(description="Images of a group (>= 2).", ge=2)


class Outer(Params):
    rate: float = Field(default=0.5, gt=0, lt=1, description="Rate between 0 and 1.")
    inner: Inner = Field(description="A group of images.")
    names: list[str] = Field(default=[], description="Names of images.")


class Plugin:
    @hookimpl
    def reid_loss(self):
        return [
            LossComponent(
                name="mine",
                params=Outer,
                build=lambda params, *, dim: None,
                summary="Something of my own",
                role="metric",
                columns=lambda params: ("clothes",),
                needs=frozenset({"pairs"}),
            )
        ]

    @hookimpl
    def reid_dataset(self):
        return [Component(name="there", build=lambda params: None, summary="Images")]


def test_a_third_partys_component_is_described_in_whole():
    offer = isolated_catalog(Plugin()).offer("loss", "mine")
    assert "\n".join(page(offer)) == EXPECTED


EXPECTED = """\
loss 'mine' of local 0
  Something of my own

params:
  rate: number, > 0, < 1; default 0.5
      Rate between 0 and 1.
  inner: object; required
      A group of images.
      Inner:
        size: whole number, >= 2; required
            Images of a group (>= 2).
  names: list of text; default []
      Names of images.

build(params, *, branch, dim, num_pids), as far as it asks for them
  returns: Loss (reid_core.contracts)
declares:
  role: metric
  on: feature
  normalize: false
  needs: pairs
  reads: nothing
  columns: depends on its params
  extras: nothing

in params.json:
  {"loss": [{"name": "mine", "params": {"rate": 0.5, "inner": {"size": 2}, "names": []}}]}"""


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        (bool, "true or false"),
        (int | None, "whole number, or null"),
        (list[float], "list of number"),
        (dict[str, int], "object of whole number by name"),
        (tuple[int, str], "list of whole number and text"),
    ],
)
def test_types_are_said_in_words(annotation, words):
    model = type("Model", (Params,), {"__annotations__": {"x": annotation}})
    (line,) = params_lines(model.model_json_schema())
    assert line == f"  x: {words}; required"

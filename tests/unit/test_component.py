"""Components are frozen records, and ``build`` is handed only what it asks for."""

import dataclasses
import json

import pytest
from pydantic import Field, ValidationError

from reid_core import Component, LossComponent, Params, PathText, ReidError, hookimpl
from reid_core.component import call_build, is_path
from reid_core.discovery import isolated_catalog
from reid_core.params.messages import read_params
from reid_core.params.schema import HeadEntry, LossEntry


def component(build, **changes):
    return Component(name="thing", build=build, summary="", **changes)


def received(build, **context):
    return call_build(component(build), Params(), **context)


def test_build_receives_only_the_keywords_it_names():
    assert received(lambda params, *, a: ("a", a), a=1, b=2) == ("a", 1)
    assert received(lambda params: "nothing", a=1) == "nothing"
    assert received(lambda params, b, *, a: (a, b), a=1, b=2) == (1, 2)


def test_build_receives_everything_where_it_takes_any_keyword():
    assert received(lambda params, **rest: rest, a=1, b=2) == {"a": 1, "b": 2}
    assert received(lambda params, *, a, **rest: (a, rest), a=1, b=2) == (1, {"b": 2})


def test_build_receives_its_params_first():
    params = Params()
    assert call_build(component(lambda own, *, a: (own, a)), params, a=1) == (params, 1)


def test_a_keyword_with_a_default_may_be_one_that_the_kind_does_not_have_yet():
    assert received(lambda params, *, a, later=None: (a, later), a=1) == (1, None)
    assert received(lambda params, *, a, later=None: (a, later), a=1, later=2) == (1, 2)


def test_a_class_can_be_built():
    class Thing:
        def __init__(self, params, *, dim):
            self.dim = dim

    assert received(Thing, dim=3, num_pids=9).dim == 3


@pytest.mark.parametrize("name", ["owner", "component", "params", "self"])
def test_a_context_keyword_may_have_any_name(name):
    assert received(lambda own, **rest: rest, **{name: 1}) == {name: 1}


@pytest.mark.parametrize(
    "build",
    [
        lambda params, *, depth: None,
        lambda params, depth: None,
        lambda params, depth, /: None,
        lambda params, *, depth, **rest: None,
    ],
)
def test_a_keyword_that_is_not_given_is_a_clear_error(build):
    with pytest.raises(ReidError) as caught:
        received(build, num_pids=1, dim=2)
    assert str(caught.value) == (
        "'thing' cannot be built: it asks for depth, and gets dim, num_pids"
    )


def test_a_keyword_that_the_kind_offers_is_missed_by_the_caller_and_any_other_is_the_plugins():
    def message(offered):
        with pytest.raises(ReidError) as caught:
            call_build(component(lambda params, *, dim: dim), Params(), "loss 'x'", offered)
        return str(caught.value)

    assert message({"dim", "num_pids"}) == "loss 'x' cannot be built without dim; give dim=..."
    assert message({"num_pids"}) == (
        "loss 'x' cannot be built: it asks for dim; its kind offers num_pids; its plugin must be "
        "corrected or updated"
    )


def test_the_error_of_a_plugin_names_kind_component_and_distribution():
    class Plugin:
        @hookimpl
        def reid_loss(self):
            return [
                LossComponent(
                    name="greedy",
                    build=lambda params, *, dim, depth, width: None,
                    summary="",
                    role="id",
                ),
                LossComponent(
                    name="modest", build=lambda params, *, dim: dim, summary="", role="id"
                ),
            ]

    catalog = isolated_catalog(Plugin())
    with pytest.raises(ReidError) as caught:
        read_params(LossEntry, {"name": "greedy"}, catalog).build(dim=4)
    assert str(caught.value) == (
        "loss 'greedy' of local 0 cannot be built: it asks for depth, width; its kind offers "
        "branch, dim, num_pids; its plugin must be corrected or updated"
    )
    assert read_params(LossEntry, {"name": "modest"}, catalog).build(dim=4) == 4


def test_an_error_inside_build_passes_through():
    def broken(params, *, a):
        raise KeyError("inside")

    with pytest.raises(KeyError, match="inside"):
        received(broken, a=1)


def test_build_reads_params_as_json_has_them():
    class SizeParams(Params):
        size: tuple[int, int] = (2, 1)

    class Plugin:
        @hookimpl
        def reid_head(self):
            return [component(lambda params: params.size, params=SizeParams)]

    catalog = isolated_catalog(Plugin())

    def built(params):
        return read_params(HeadEntry, {"name": "thing", "params": params}, catalog).build()

    assert built({"size": [4, 3]}) == (4, 3)
    resolved = json.loads(json.dumps({"size": SizeParams().model_dump(mode="json")["size"]}))
    assert built(resolved) == (2, 1)


def test_a_component_cannot_be_changed():
    thing = component(lambda params: None)
    with pytest.raises(dataclasses.FrozenInstanceError):
        thing.name = "other"


class Example(Params):
    rate: float = Field(default=0.5, ge=0)


@pytest.mark.parametrize(
    "given", [{"rat": 1.0}, {"rate": "1"}, {"rate": True}, {"rate": float("nan")}, {"rate": None}]
)
def test_params_refuse_unknown_keys_and_loose_types(given):
    with pytest.raises(ValidationError):
        Example.model_validate(given)


def test_params_take_whole_numbers_for_real_ones_and_cannot_be_changed():
    params = Example(rate=2)
    assert params.rate == 2.0
    with pytest.raises(ValidationError):
        params.rate = 1.0


# ---- paths ------------------------------------------------------------------------------


class Places(Params):
    file: PathText = Field(description="-")
    bare: PathText = "x"
    optional: PathText | None = Field(default=None, description="-")
    several: list[PathText] = Field(default=[], description="-")
    by_name: dict[str, PathText | None] = Field(default={}, description="-")
    told_more: PathText = Field(default="x", json_schema_extra={"note": "-"})
    by_hand: str = Field(default="x", json_schema_extra={"format": "path"})


class Words(Params):
    word: str = "x"
    optional: str | None = None
    several: list[str] = Field(default=[], description="-")
    moment: str = Field(default="x", json_schema_extra={"format": "date"})
    listed: dict[str, float] = Field(default={}, description="-")


def test_a_path_is_told_from_other_text_by_its_type():
    assert [name for name, field in Places.model_fields.items() if not is_path(field)] == []
    assert [name for name, field in Words.model_fields.items() if is_path(field)] == []


@pytest.mark.parametrize(
    "given", [{"file": ""}, {"file": "x", "optional": ""}, {"file": "x", "several": [""]}]
)
def test_a_path_is_not_empty(given):
    with pytest.raises(ValidationError):
        Places.model_validate(given)


def test_the_schema_says_what_is_a_path():
    properties = Places.model_json_schema()["properties"]
    assert properties["file"]["format"] == properties["told_more"]["format"] == "path"
    assert properties["told_more"]["note"] == "-"
    assert properties["optional"]["anyOf"][0]["format"] == "path"
    assert properties["several"]["items"]["format"] == "path"

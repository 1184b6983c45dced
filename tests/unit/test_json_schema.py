"""The JSON Schema accepts what the check accepts and refuses the obvious."""

import json
from pathlib import Path

import jsonschema
import pytest

from reid_core import LossComponent, Params, hookimpl
from reid_core.discovery import isolated_catalog, load_catalog
from reid_core.params.json_file import read_json
from reid_core.params.overrides import apply_overrides
from reid_core.params.validation import check_eval_params, check_run_params
from reid_plugins.command._json_schema import DRAFT, eval_params_schema, run_params_schema

PARAMS = sorted((Path(__file__).parents[2] / "params").glob("*.json"))
EVAL_KEYS = {"run", "weights", "features"}
EVALUATION = [{"name": "market_evaluate", "params": {"ap": "trapezoid"}}]
TARGETS = {"mine": {"name": "synthetic_market", "params": {"cameras": 2}}}


def validator_of(schema):
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.fixture(scope="module")
def run_schema(catalog):
    """A validator of params.json."""
    return validator_of(run_params_schema(catalog))


@pytest.fixture(scope="module")
def eval_schema(catalog):
    """A validator of eval_params.json."""
    return validator_of(eval_params_schema(catalog))


def references(node):
    """Yield every reference in a schema."""
    if isinstance(node, dict):
        if "$ref" in node:
            yield node["$ref"]
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


@pytest.mark.parametrize(
    ("make", "title"),
    [(run_params_schema, "params.json"), (eval_params_schema, "eval_params.json")],
)
def test_the_schema_stands_alone(catalog, make, title):
    schema = make(catalog)
    assert schema["$schema"] == DRAFT
    assert schema["title"] == title
    assert list(references(schema)) == []
    assert "$defs" not in schema
    assert json.loads(json.dumps(schema)) == schema


def test_making_a_schema_twice_gives_the_same(catalog):
    assert run_params_schema(catalog) == run_params_schema(catalog)
    assert eval_params_schema(catalog) == eval_params_schema(catalog)


@pytest.mark.parametrize("path", PARAMS, ids=lambda path: path.name)
def test_every_shipped_file_is_right_before_and_after_defaults(
    catalog, run_schema, eval_schema, path
):
    raw = read_json(path)
    is_eval = bool(EVAL_KEYS & raw.keys())
    schema, check = (eval_schema, check_eval_params) if is_eval else (run_schema, check_run_params)
    schema.validate(raw)
    schema.validate(json.loads(check(raw, catalog, path.name).model_dump_json()))


def test_there_are_shipped_files():
    assert PARAMS


def test_right_run_params_are_accepted_before_and_after_defaults(catalog, tiny_params, run_schema):
    run_schema.validate(tiny_params)
    run_schema.validate(json.loads(check_run_params(tiny_params, catalog, "p").model_dump_json()))


@pytest.mark.parametrize(
    "override",
    [
        "head.0.name=reid-core:global",
        "loss.1.params.margin=soft",
        'loss.0.branches=["global", "b*"]',
        'loss.0.reduce={"name": "random_keep", "draws": 2}',
        "optimizer.name=sgd",
        'optimizer.params={"amsgrad": true}',
        'optimizer.groups=[{"match": "*", "lr_scale": 0.1}]',
        'data.targets={"mine": {"name": "manifest", "params": {"file": "x.csv"}}}',
        'augmentation.1={"name": "pad_crop", "params": {"padding": [1, 2]}}',
        "schedule.name=cosine",
        'objective=[{"name": "supervised"}]',
        'plugins={"reid-core": "0.1.0"}',
        "train.pretrain_snapshot=null",
    ],
)
def test_the_schema_accepts_what_the_check_accepts(catalog, tiny_params, run_schema, override):
    raw = apply_overrides(tiny_params, [override], "p")
    run_schema.validate(raw)
    run_schema.validate(json.loads(check_run_params(raw, catalog, "p").model_dump_json()))


@pytest.mark.parametrize(
    "override",
    [
        "losss=1",
        "backbone.name=resnet19",
        "backbone=resnet18",
        "head={}",
        "head=[]",
        "loss.0.branches=[]",
        "data.train=[]",
        "loss.1.params.margn=1",
        "loss.1.params.margin=-1",
        "loss.1.params.margin=hard",
        "loss.0.params.margin=0.3",
        "loss.0.reduce=avg",
        'loss.0.reduce={"name": "random_keep"}',
        "train.epochs=0",
        "train.epochs=2.5",
        'train.epochs="2"',
        "optimizer.name=adm",
        'optimizer.params={"momentum": 0.9}',
        'data.train.0={"name": "manifest"}',
        'data.train.0={"name": "manifest", "params": {}}',
        'data.targets={"mine": {"name": "triplet"}}',
        "evaluation.0.params.ap=x",
        "schedule=null",
    ],
)
def test_the_schema_refuses_the_obvious(tiny_params, run_schema, override):
    assert not run_schema.is_valid(apply_overrides(tiny_params, [override], "p"))


@pytest.mark.parametrize("section", ["data", "backbone", "head", "loss", "sampler", "train"])
def test_a_missing_section_is_refused(tiny_params, run_schema, section):
    del tiny_params[section]
    assert not run_schema.is_valid(tiny_params)


@pytest.mark.parametrize(
    "raw",
    [
        {"run": "runs/a"},
        {"run": "runs/a", "evaluation": EVALUATION, "output_dir": "out"},
        {"weights": "w", "targets": TARGETS},
        {"features": {"query": "q", "gallery": "g"}, "evaluation": EVALUATION},
    ],
)
def test_right_eval_params_are_accepted_before_and_after_defaults(catalog, eval_schema, raw):
    eval_schema.validate(raw)
    eval_schema.validate(json.loads(check_eval_params(raw, catalog, "e").model_dump_json()))


@pytest.mark.parametrize(
    "raw",
    [
        {"run": 5},
        {"run": "a", "batchsize": 1},
        {"run": "a", "batch_size": 0},
        {"run": "a", "targets": {"mine": {"name": "nobody"}}},
        {"run": "a", "targets": {"mine": {"name": "synthetic_market", "params": {"cameras": 1}}}},
        {"run": "a", "evaluation": [{"name": "market_evaluate", "params": {"ap": "x"}}]},
        {"run": "a", "evaluation": {}},
    ],
)
def test_wrong_eval_params_are_refused(eval_schema, raw):
    assert not eval_schema.is_valid(raw)


def test_every_component_that_params_can_name_is_in_the_schema_with_its_summary(catalog):
    text = json.dumps(run_params_schema(catalog))
    offers = [offer for offer in catalog.offers if offer.kind not in ("command", "translator")]
    assert offers
    for offer in offers:
        assert json.dumps(offer.component.summary) in text
        assert f'"{offer.distribution}:{offer.component.name}"' in text


# ---- plugins ----------------------------------------------------------------------------

SUPCON = """
from reid_core import LossComponent, Params, hookimpl

class SupConParams(Params):
    {field}: float = 0.25

@hookimpl
def reid_loss():
    return [LossComponent(name="supcon", params=SupConParams, build=print, summary="", role="id")]
"""


def test_two_components_of_one_name_are_each_described_with_their_own_params(
    install_plugin, tiny_params
):
    for word in ("a", "b"):
        install_plugin(
            f"reid-{word}", {f"reid_{word}_supcon": SUPCON.format(field=f"temperature_{word}")}
        )
    schema = validator_of(run_params_schema(load_catalog()))

    def valid(name, **params):
        return schema.is_valid({**tiny_params, "loss": [{"name": name, "params": params}]})

    assert valid("reid-a:supcon", temperature_a=1)
    assert valid("reid-b:supcon", temperature_b=1)
    assert not valid("reid-a:supcon", temperature_b=1)
    assert not valid("supcon")


class Tree(Params):
    branches: "list[Tree]" = []  # noqa: RUF012


class Broken(Params):
    what: "NowhereDefined"  # noqa: F821


class Pair(Params):
    pair: tuple[int, int] = (1, 2)


@pytest.mark.parametrize("model", [Tree, Broken])
def test_params_without_a_schema_of_their_own_do_not_spoil_the_others(tiny_params, model):
    class Plugin:
        @hookimpl
        def reid_loss(self):
            return [
                LossComponent(name="odd", params=model, build=print, summary="", role="id"),
                LossComponent(name="pair", params=Pair, build=print, summary="", role="id"),
            ]

    schema = run_params_schema(isolated_catalog(Plugin()))
    odd, pair = schema["properties"]["loss"]["items"]["oneOf"]
    assert odd["properties"]["params"] == {"type": "object"}
    assert validator_of(pair).is_valid({"name": "pair", "params": {"pair": [1, 2]}})
    assert not validator_of(pair).is_valid({"name": "pair", "params": {"pair": [1, "x"]}})

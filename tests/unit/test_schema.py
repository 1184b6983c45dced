"""Limits of the params' sections that keep files where they belong and numbers sensible."""

import pytest

from reid_core.errors import ParamsError
from reid_core.params.schema import RunParams
from reid_core.params.validation import check_eval_params, check_run_params

DATASET = {"name": "synthetic_market"}
STRANGE = ("../../esc", "a/b", "a\\b", "", ".", "..", ".hidden", "a b", "ä", "a\n", "a:b")
RULE = "the name becomes part of file names: use letters, digits, '_', '-' and '.', not '.' first"


def problems(check, *arguments):
    with pytest.raises(ParamsError) as caught:
        check(*arguments, "p")
    return caught.value.problems


@pytest.mark.parametrize("name", STRANGE)
def test_names_that_lead_to_other_folders_are_refused(catalog, tiny_params, name):
    tiny_params["data"]["targets"] = {name: DATASET}
    tiny_params["data"]["train"][0]["alias"] = name
    place = name.replace("\n", " ")
    assert problems(check_run_params, tiny_params, catalog) == [
        f"data.train.0.alias: {RULE}",
        f"data.targets.{place}: {RULE}",
    ]
    raw = {"weights": "w", "targets": {name: DATASET}}
    assert problems(check_eval_params, raw, catalog) == [f"targets.{place}: {RULE}"]


@pytest.mark.parametrize("name", ["market", "Market-1501", "v15.09.15", "_x", "-x", "5"])
def test_other_names_are_accepted(catalog, tiny_params, name):
    tiny_params["data"]["targets"] = {name: DATASET}
    tiny_params["data"]["train"][0]["alias"] = name
    params = check_run_params(tiny_params, catalog, "p")
    assert list(params.data.targets) == [params.data.train[0].label] == [name]


@pytest.mark.parametrize("name", ["../x", "a.b", "a b", ""])
def test_the_alias_of_a_head_names_modules(catalog, tiny_params, name):
    """torch has no module whose name holds a dot, so a head's alias has a stricter rule."""
    tiny_params["head"][0]["alias"] = name
    (problem,) = problems(check_run_params, tiny_params, catalog)
    assert problem.startswith("head.0.alias: must match ^[A-Za-z0-9_]+$")


def test_paths_are_not_empty(catalog, tiny_params):
    tiny_params["working_dir"] = ""
    tiny_params["train"]["pretrain_snapshot"] = ""
    tiny_params["data"]["train"][0]["store"] = ""
    found = problems(check_run_params, tiny_params, catalog)
    assert sorted(problem.partition(":")[0] for problem in found) == [
        "data.train.0.store",
        "train.pretrain_snapshot",
        "working_dir",
    ]
    for raw in (
        {"run": ""},
        {"weights": "", "targets": {"x": DATASET}},
        {"features": {"query": ""}, "evaluation": [{"name": "market_evaluate"}]},
        {"run": "x", "output_dir": ""},
        {"run": "x", "working_dir": ""},
    ):
        (problem,) = problems(check_eval_params, raw, catalog)
        assert 'at least 1 character, got ""' in problem


def test_epochs_have_a_limit(catalog, tiny_params):
    tiny_params["train"]["epochs"] = 1_000_000
    assert check_run_params(tiny_params, catalog, "p").train.epochs == 1_000_000
    tiny_params["train"]["epochs"] += 1
    assert problems(check_run_params, tiny_params, catalog) == [
        "train.epochs: must be <= 1000000, got 1000001"
    ]


def test_descriptions_say_what_happens():
    definitions = RunParams.model_json_schema()["$defs"]
    rule = definitions["GroupRule"]["properties"]["match"]["description"]
    assert "Later rules win; lr_scale multiplies the rate that earlier rules have set" in rule
    snapshot = definitions["TrainParams"]["properties"]["pretrain_snapshot"]["description"]
    assert "classifiers are used only if" in snapshot

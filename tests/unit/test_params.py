"""Params files: every mistake is found, all in one run, each with its path and what to do."""

import copy
import enum
import json
import random
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field, field_validator, model_serializer

from reid_core import BackboneComponent, LossComponent, Params, PathText, ReidError, hookimpl
from reid_core.discovery import isolated_catalog, load_catalog
from reid_core.errors import ParamsError
from reid_core.params.field_facts import kept_in_weights
from reid_core.params.json_file import read_json
from reid_core.params.load import load_eval_params, load_run_params
from reid_core.params.overrides import apply_overrides
from reid_core.params.schema import RunParams
from reid_core.params.validation import (
    check_dataset_entry,
    check_eval_params,
    check_model_params,
    check_run_params,
)

SYNTHETIC = {"name": "synthetic_market"}
MARKET = {"name": "market_evaluate"}


@pytest.fixture
def problems(catalog, tiny_params):
    """A function: the problems of the tiny params with some ``path=value`` overrides."""

    def find(*overrides, without=()):
        raw = apply_overrides(tiny_params, overrides, "p.json")
        for path in without:
            *parents, last = path.split(".")
            node = raw
            for key in parents:
                node = node[int(key) if isinstance(node, list) else key]
            del node[last]
        with pytest.raises(ParamsError) as caught:
            check_run_params(raw, catalog, "p.json")
        lines = str(caught.value).splitlines()
        assert lines == [f"p.json: {problem}" for problem in caught.value.problems]
        return caught.value.problems

    return find


@pytest.fixture
def file(tmp_path):
    """A function: a file with the given text or bytes."""

    def write(content, name="p.json"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def as_json(entry):
    """Return an entry's params as JSON has them."""
    return entry.params.model_dump(mode="json")


def refusal(path):
    with pytest.raises(ReidError) as caught:
        read_json(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    return text.removeprefix(f"{path}: ")


# ---- the text ---------------------------------------------------------------------------


def test_a_missing_file_is_named(tmp_path):
    assert refusal(tmp_path / "nobody.json") == "no such file"


def test_a_folder_cannot_be_read(tmp_path):
    assert refusal(tmp_path) == "a folder, and a params file is expected"


def test_other_encodings_cannot_be_read(file):
    assert refusal(file(b'{"a": "\xff"}')) == (
        "cannot be read as text, and a params file is JSON in UTF-8"
    )


def test_text_that_is_not_json_is_reported_with_line_and_column(file):
    text = '{\n  "data": 1,\n  "head": oops\n}'
    assert refusal(file(text)) == "not valid JSON: Expecting value (line 3, column 11)"


@pytest.mark.parametrize("text", ["", "{", '{"a": 1,}', "{'a': 1}", "// no comments\n{}"])
def test_broken_json_is_reported(file, text):
    assert refusal(file(text)).startswith("not valid JSON: ")


@pytest.mark.parametrize(
    ("text", "got"),
    [
        ("[]", "a list"),
        ('"x"', "a string"),
        ("5", "a number"),
        ("1.5", "a number"),
        ("null", "null"),
        ("true", "true"),
        ("NaN", "NaN"),
    ],
)
def test_anything_but_an_object_is_refused(file, text, got):
    assert refusal(file(text)) == f"expected a JSON object {{...}}, got {got}"


def test_keys_given_twice_are_all_reported_with_their_paths(file):
    text = '{"a": 1, "a": 2, "loss": [{}, {"params": {"margin": 1, "x": 2, "margin": 1}}]}'
    assert refusal(path := file(text)) == (
        f"a: given twice; keep one\n{path}: loss.1.params.margin: given twice; keep one"
    )


def test_a_key_given_three_times_is_one_problem(file):
    assert refusal(file('{"a": {"b": 1, "b": 2, "b": 3}}')) == "a.b: given twice; keep one"


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity"])
def test_numbers_that_json_does_not_have_are_reported_with_their_paths(file, word):
    text = f'{{"optimizer": {{"lr": {word}}}, "list": [0, {word}]}}'
    assert refusal(path := file(text)) == (
        f"optimizer.lr: {word} is not a JSON number; write a finite number\n"
        f"{path}: list.1: {word} is not a JSON number; write a finite number"
    )


@pytest.mark.parametrize("number", ["1e999", "-1e400"])
def test_numbers_that_become_infinite_are_reported(file, number):
    assert refusal(file(f'{{"lr": {number}}}')) == (
        "lr: a number as large as this is not a JSON number; write a finite number"
    )


def test_a_string_that_reads_like_a_number_is_a_string(file):
    assert read_json(file('{"a": "NaN", "b": 1.5}')) == {"a": "NaN", "b": 1.5}


def test_hopeless_nesting_is_an_error_and_no_traceback(file):
    assert refusal(file('{"a": ' + "[" * 100_000)) == "lists or objects are nested too deep"


def test_whole_numbers_of_thousands_of_digits_are_refused(file):
    assert refusal(file('{"a": ' + "1" * 5000 + "}")).startswith(
        "cannot be read: Exceeds the limit"
    )


@pytest.mark.parametrize("depth", [100, 250, 700, 900, 990])
def test_deep_nesting_is_never_a_traceback(file, catalog, tiny_params, depth):
    tiny_params["train"]["device"] = "@"
    text = json.dumps(tiny_params).replace('"@"', "[" * depth + "]" * depth)
    with pytest.raises(ReidError, match=r"nested too deep|train\.device: expected a string"):
        load_run_params(file(text), catalog)


# ---- overrides --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("override", "path", "value"),
    [
        ("train.epochs=7", ("train", "epochs"), 7),
        ("optimizer.lr=1e-2", ("optimizer", "lr"), 0.01),
        ("loss.1.params.margin=0.2", ("loss", 1, "params", "margin"), 0.2),
        ('loss.2={"name": "softmax"}', ("loss", 2, "name"), "softmax"),
        ('loss.0.branches=["global*", "b"]', ("loss", 0, "branches", 1), "b"),
        ("schedule.name=cosine", ("schedule", "name"), "cosine"),
        (
            "data.targets.market.name=market1501",
            ("data", "targets", "market", "name"),
            "market1501",
        ),
        ("train.deterministic=true", ("train", "deterministic"), True),
        ("train.pretrain_snapshot=null", ("train", "pretrain_snapshot"), None),
        ("working_dir=my runs", ("working_dir",), "my runs"),
        ('working_dir="5"', ("working_dir",), "5"),
        ("working_dir=", ("working_dir",), ""),
        ("working_dir=a=b", ("working_dir",), "a=b"),
    ],
)
def test_an_override_sets_one_value(tiny_params, override, path, value):
    before = copy.deepcopy(tiny_params)
    node = apply_overrides(tiny_params, [override], "p.json")
    for key in path:
        node = node[key]
    assert node == value
    assert type(node) is type(value)
    assert tiny_params == before


def test_later_overrides_win_and_see_earlier_ones(tiny_params):
    overrides = ["a.b=1", "a.c=2", "a.b=3"]
    assert apply_overrides(tiny_params, overrides, "p.json")["a"] == {"b": 3, "c": 2}


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("train.epochs", "expected path=value"),
        ("=5", "expected path=value"),
        ("loss.3.name=x", "'3' is no position in a list of 2"),
        ("loss.-1=1", "'-1' is no position in a list of 2"),
        ("loss.first.weight=1", "'first' is no position in a list of 2"),
        ("loss.²=1", "'²' is no position in a list of 2"),
        ("train.epochs.x=1", "'train.epochs' is not an object or a list"),
        ("head.0.name.x.y=1", "'head.0.name' is not an object or a list"),
        ('loss.0={"name": "softmax", "name": 1}', "key 'name' is given twice; keep one"),
        ('head=[{"params": {"a": 1, "b": 2, "a": 3}}]', "key 'a' is given twice; keep one"),
    ],
)
def test_an_override_that_does_not_fit_is_refused(tiny_params, override, problem):
    with pytest.raises(ParamsError) as caught:
        apply_overrides(tiny_params, [override], "p.json")
    assert str(caught.value) == f"p.json: --set {override}: {problem}"


def test_all_overrides_that_do_not_fit_are_listed(tiny_params):
    with pytest.raises(ParamsError) as caught:
        apply_overrides(tiny_params, ["x", "train.epochs=3", "loss.9=1"], "p.json")
    assert caught.value.problems == [
        "--set x: expected path=value",
        "--set loss.9=1: '9' is no position in a list of 2",
    ]


@pytest.mark.parametrize("text", ["[" * 100_000, "1" * 5000])
def test_hopeless_values_of_overrides_are_refused_and_shortened(tiny_params, text):
    with pytest.raises(ParamsError, match=r"nested too deep|Exceeds the limit") as caught:
        apply_overrides(tiny_params, [f"a={text}"], "p.json")
    assert len(str(caught.value)) < 300


def test_a_mistake_in_an_override_is_found_by_the_check(problems):
    assert problems("train.epoch=3") == ["train.epoch: unknown key; did you mean 'epochs'?"]
    assert problems("loss.0.weight=NaN") == ["loss.0.weight: expected a finite number, got NaN"]


# ---- one mistake ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        # unknown keys
        ("losss=1", "losss: unknown key; did you mean 'loss'?"),
        ("zzz=1", "zzz: unknown key"),
        ("loss.1.params.margn=1", "loss.1.params.margn: unknown key; did you mean 'margin'?"),
        ("sampler.params.p=3", "sampler.params.p: unknown key; did you mean 'P'?"),
        ("loss.0.factor=1", "loss.0.factor: unknown key"),
        ("backbone.weight=1", "backbone.weight: unknown key"),
        ("data.train.0.aliass=x", "data.train.0.aliass: unknown key; did you mean 'alias'?"),
        ("optimizer.params.beta=1", "optimizer.params.beta: unknown key; did you mean 'beta2'?"),
        # wrong types
        ("train.epochs=2.0", "train.epochs: expected a whole number, got 2.0"),
        ("train.epochs=2.5", "train.epochs: expected a whole number, got 2.5"),
        ("train.epochs=true", "train.epochs: expected a whole number, got true"),
        ('train.epochs="2"', 'train.epochs: expected a whole number, got "2"'),
        ("train.epochs=null", "train.epochs: expected a whole number, got null"),
        ("train.deterministic=1", "train.deterministic: expected true or false, got 1"),
        ("train.device=1", "train.device: expected a string, got 1"),
        ("optimizer.lr=fast", 'optimizer.lr: expected a number, got "fast"'),
        ("backbone=resnet18", 'backbone: expected an object, got "resnet18"'),
        ("backbone=[]", "backbone: expected an object, got []"),
        ("backbone.params=5", "backbone.params: expected an object, got 5"),
        ("backbone.name=5", "backbone.name: expected a string, got 5"),
        ("schedule=null", "schedule: expected an object, got null"),
        ("head={}", "head: expected a list, got {}"),
        ("head.0=global", 'head.0: expected an object, got "global"'),
        ("data.targets=[]", "data.targets: expected an object, got []"),
        ("data.train.0=5", "data.train.0: expected an object, got 5"),
        ('plugins={"x": 1}', "plugins.x: expected a string, got 1"),
        (
            'augmentation.1.params={"std": [1, 1, "a"]}',
            'augmentation.1.params.std.2: expected a number, got "a"',
        ),
        # out of range
        ("train.epochs=0", "train.epochs: must be >= 1, got 0"),
        (
            "train.seed=9223372036854775808",
            "train.seed: must be < 9223372036854775808, got 9223372036854775808",
        ),
        ("head.0.scale=0", "head.0.scale: must be > 0.0, got 0"),
        ("optimizer.params.beta1=1", "optimizer.params.beta1: must be < 1.0, got 1"),
        ("data.train.0.params.cameras=99", "data.train.0.params.cameras: must be <= 9, got 99"),
        ("evaluation.0.params.ranks=[0]", "evaluation.0.params.ranks.0: must be >= 1, got 0"),
        ("head=[]", "head: needs 1 or more, got []"),
        ("data.train=[]", "data.train: needs 1 or more, got []"),
        (
            'augmentation.1.params={"mean": [0, 0]}',
            "augmentation.1.params.mean: needs 3 or more, got [0, 0]",
        ),
        (
            'augmentation.1.params={"mean": [0, 0, 0, 0]}',
            "augmentation.1.params.mean: takes 3 or fewer, got [0, 0, 0, 0]",
        ),
        ('head.0.alias="a b"', 'head.0.alias: must match ^[A-Za-z0-9_]+$, got "a b"'),
        # one of several words
        (
            "backbone.params.pretrained=imagnet",
            "backbone.params.pretrained: expected 'imagenet' or 'none', got \"imagnet\"; "
            "did you mean 'imagenet'?",
        ),
        ("backbone.params.last_stride=3", "backbone.params.last_stride: expected 1 or 2, got 3"),
        (
            "optimizer.name=adm",
            "optimizer.name: expected 'sgd', 'adam' or 'adamw', got \"adm\"; did you mean 'adam'?",
        ),
        # unions
        (
            "loss.1.params.margin=hard",
            "loss.1.params.margin: expected a number or 'soft', got \"hard\"",
        ),
        ("loss.1.params.margin=-1", "loss.1.params.margin: must be >= 0.0 or 'soft', got -1"),
        ("loss.0.branches=5", "loss.0.branches: expected a string or a list, got 5"),
        ('loss.0.branches=["a", 5]', "loss.0.branches.1: expected a string, got 5"),
        (
            "loss.0.branches=[]",
            "loss.0.branches: names no branch; name one, or leave 'branches' out",
        ),
        (
            "loss.0.reduce=avg",
            "loss.0.reduce: expected 'mean', 'sum' or 'max' or an object, got \"avg\"",
        ),
        (
            'loss.0.reduce={"name": "random_keep"}',
            'loss.0.reduce.draws: required, but missing; such as "draws": 1',
        ),
        (
            'loss.0.reduce={"name": "random_keep", "draws": 0}',
            "loss.0.reduce.draws: must be >= 1, got 0",
        ),
        (
            'loss.0.reduce={"name": "random_keep", "draws": 1, "draw": 1}',
            "loss.0.reduce.draw: unknown key; did you mean 'draws'?",
        ),
        # rules of a whole object
        (
            'optimizer.groups=[{"match": "a", "lr": 1, "lr_scale": 2}]',
            "optimizer.groups.0: give either 'lr' or 'lr_scale'",
        ),
        (
            'optimizer.groups=[{"lr": 1}]',
            "optimizer.groups.0.match: required, but missing; such as "
            '"match": "model.backbone.layer4.*"',
        ),
    ],
)
def test_one_mistake_is_one_line_with_path_expectation_and_value(problems, override, problem):
    assert problems(override) == [problem]


@pytest.mark.parametrize(
    "path",
    [
        *("backbone", "head", "loss", "sampler", "augmentation", "optimizer", "train", "data"),
        *("loss.0.name", "optimizer.lr", "train.epochs", "data.train"),
    ],
)
def test_a_missing_section_or_key_is_reported_with_an_example_that_is_right(
    problems, tiny_params, catalog, path
):
    (problem,) = problems(without=[path])
    start, _, example = problem.partition("; such as ")
    assert start == f"{path}: required, but missing"
    (key,) = given = json.loads(f"{{{example}}}")
    assert key == path.rpartition(".")[2]
    changed = apply_overrides(tiny_params, [f"{path}={json.dumps(given[key])}"], "x")
    assert check_run_params(changed, catalog, "x")


@pytest.mark.parametrize(
    ("override", "path", "kind", "word", "meant"),
    [
        ("backbone.name=resnet19", "backbone.name", "backbone", "resnet19", "resnet18"),
        ("head.0.name=golbal", "head.0.name", "head", "golbal", "global"),
        ("loss.0.name=sofmax", "loss.0.name", "loss", "sofmax", "softmax"),
        ("sampler.name=randm", "sampler.name", "sampler", "randm", "random"),
        ("schedule.name=cosin", "schedule.name", "schedule", "cosin", "cosine"),
        ("augmentation.2.name=flop", "augmentation.2.name", "augmentation", "flop", "flip"),
        (
            'objective=[{"name": "superwised"}]',
            "objective.0.name",
            "objective",
            "superwised",
            "supervised",
        ),
        ("evaluation.0.name=market", "evaluation.0.name", "evaluator", "market", "market_evaluate"),
        ("data.train.0.name=market151", "data.train.0.name", "dataset", "market151", "market1501"),
        ("data.targets.t.name=manifst", "data.targets.t.name", "dataset", "manifst", "manifest"),
    ],
)
def test_an_unknown_component_is_reported_where_it_stands(
    problems, catalog, override, path, kind, word, meant
):
    (problem,) = problems(override)
    hint = f"; did you mean '{meant}'?" if word != "market" else ""
    assert problem.startswith(f"{path}: unknown {kind} '{word}'{hint} (known: ")
    assert ", ".join(catalog.names(kind)) in problem


def test_params_that_are_no_object_are_reported_beside_a_wrong_name(problems):
    found = problems("backbone.name=resnet19", "backbone.params=5", "optimizer.name=adm")
    assert [problem.partition(":")[0] for problem in found] == [
        "backbone.name",
        "backbone.params",
        "optimizer.name",
    ]
    assert found[1] == "backbone.params: expected an object, got 5"


def test_long_wrong_values_are_shortened(problems):
    (problem,) = problems(f"train.epochs={'x' * 5000}")
    assert problem.startswith('train.epochs: expected a whole number, got "xxx')
    assert len(problem) < 200
    assert problem.endswith("...")


def test_a_problem_is_one_line_whatever_the_user_wrote(problems):
    assert problems('train={"epochs": 1, "a\\nb": 2}') == ["train.a b: unknown key"]


# ---- several mistakes -------------------------------------------------------------------


def test_all_mistakes_of_a_file_are_found_in_one_run(problems):
    found = problems(
        "backbone.name=resnet19",
        "loss.0.wieght=1",
        "loss.1.params.margin=-1",
        "loss.1.params.distanz=cosine",
        "train.epochs=0",
        "augmentation.0.params.height=0",
        "data.train.0.params.cameras=1",
        "optimizer.params.beta1=2",
        "evaluation.0.target=nobody",
        without=["sampler"],
    )
    paths = [problem.partition(":")[0] for problem in found]
    assert sorted(paths) == sorted(
        [
            "backbone.name",
            "loss.0.wieght",
            "loss.1.params.margin",
            "loss.1.params.distanz",
            "train.epochs",
            "augmentation.0.params.height",
            "data.train.0.params.cameras",
            "optimizer.params.beta1",
            "sampler",
            "evaluation.0.target",
        ]
    )


MISTAKES_BETWEEN = {
    "evaluation.0.target": ["evaluation.0.target=nobody"],
    "data.train": ['data.train.1={"name": "synthetic_market"}'],
    "augmentation.3.name": ['augmentation.3={"name": "resize"}'],
}


@pytest.mark.parametrize("elsewhere", ["train.epochs=0", "optimizer.lr=x", "losss=1", "head=[]"])
def test_mistakes_between_sections_are_found_beside_those_of_other_sections(problems, elsewhere):
    overrides = [override for given in MISTAKES_BETWEEN.values() for override in given]
    paths = {problem.partition(":")[0] for problem in problems(*overrides, elsewhere)}
    assert paths == {*MISTAKES_BETWEEN, elsewhere.partition("=")[0]}


@pytest.mark.parametrize(
    ("broken", "section"), [("data.workers=-1", "data"), ('evaluation.1={"nam": 1}', "evaluation")]
)
def test_a_section_that_is_wrong_itself_is_not_compared_with_others(problems, broken, section):
    found = problems("evaluation.0.target=nobody", broken)
    assert found
    assert all(problem.startswith(f"{section}.") for problem in found)
    assert not any("nobody" in problem for problem in found)


def test_targets_of_eval_params_are_compared_beside_other_mistakes(catalog):
    raw = {
        "weights": "w",
        "targets": {"mine": SYNTHETIC},
        "evaluation": [{**MARKET, "target": "minee"}],
        "batch_size": 0,
    }
    with pytest.raises(ParamsError) as caught:
        check_eval_params(raw, catalog, "e")
    assert [problem.partition(":")[0] for problem in caught.value.problems] == [
        "batch_size",
        "evaluation.0.target",
    ]


def problems_of_loading(load, path, catalog, overrides=()):
    with pytest.raises(ParamsError) as caught:
        load(path, catalog, overrides)
    assert str(caught.value).splitlines() == [f"{path}: {p}" for p in caught.value.problems]
    return caught.value.problems


def test_the_text_the_overrides_and_the_values_are_reported_together(file, catalog, tiny_params):
    text = json.dumps({**tiny_params, "x": 1, "train": {"epochs": "@"}})
    text = text.replace('"@"', 'NaN, "seed": -1, "seed": -2, "device": 1e999')
    assert problems_of_loading(load_run_params, file(text), catalog, ["loss.9=1", "y=1"]) == [
        "train.seed: given twice; keep one",
        "train.epochs: NaN is not a JSON number; write a finite number",
        "train.device: a number as large as this is not a JSON number; write a finite number",
        "--set loss.9=1: '9' is no position in a list of 2",
        "x: unknown key",
        "y: unknown key",
    ]


def test_a_problem_of_the_text_alone_is_enough(file, catalog, tiny_params):
    text = json.dumps(tiny_params).replace('"seed": 0', '"seed": 0, "seed": 0')
    assert problems_of_loading(load_run_params, file(text), catalog) == [
        "train.seed: given twice; keep one"
    ]
    assert problems_of_loading(
        load_run_params, file(json.dumps(tiny_params)), catalog, ["train.epochs"]
    ) == ["--set train.epochs: expected path=value"]


def test_problems_of_eval_params_are_reported_together(file, catalog):
    path = file('{"run": "a", "run": "b", "batch_size": 0, "workers": Infinity}')
    assert problems_of_loading(load_eval_params, path, catalog, ["nothing"]) == [
        "run: given twice; keep one",
        "workers: Infinity is not a JSON number; write a finite number",
        "--set nothing: expected path=value",
        "batch_size: must be >= 1, got 0",
    ]


def test_problems_of_an_older_file_are_reported_together(file, catalog):
    old = json.loads((Path(__file__).parent / "reid_lite_params.json").read_text())
    text = json.dumps({**old, "optimizer": "rmsprop", "weight_decay": "@"})
    path = file(text.replace('"@"', 'NaN, "img_h": 384'))
    assert problems_of_loading(load_run_params, path, catalog) == [
        "img_h: given twice; keep one",
        "weight_decay: NaN is not a JSON number; write a finite number",
        'optimizer: expected "sgd" or "nesterov" or "adam" or "amsgrad", got "rmsprop"; rmsprop is '
        "not in reid-core, and any other word meant sgd",
    ]


def test_mistakes_between_sections_are_listed_beside_those_of_components(problems):
    found = problems("evaluation.0.target=nobody", "backbone.name=resnet19", "head.0.params.x=1")
    assert [problem.partition(":")[0] for problem in found] == [
        "backbone.name",
        "head.0.params.x",
        "evaluation.0.target",
    ]


# ---- between sections -------------------------------------------------------------------


@pytest.mark.parametrize(
    "steps", [("spectral_refine", "k_reciprocal"), ("k_reciprocal", "graph_rerank")]
)
def test_steps_that_start_from_the_vectors_follow_none_that_changes_distances(problems, steps):
    given = json.dumps([{"name": name} for name in steps])
    assert problems(f"evaluation.0.postprocess={given}") == [
        f"evaluation.0.postprocess.1.name: '{steps[1]}' starts from the vectors and cannot follow "
        f"'{steps[0]}', which changes distances; put it first, or leave one of the two out"
    ]


def test_a_target_that_nothing_scores_is_reported_unless_a_callback_may_look_at_it(
    problems, tiny_params, catalog
):
    targets = [f'data.targets.{name}={{"name": "synthetic_market"}}' for name in ("one", "two")]
    assert problems(*targets) == [
        'data.targets.two: no evaluation scores it; add one with "target": "two", or leave it out'
    ]
    tiny_params["callback"] = [{"name": "early_stopping"}]
    assert check_run_params(apply_overrides(tiny_params, targets, "x"), catalog, "x")


def test_wishes_about_scores_need_an_evaluation(problems):
    assert problems("evaluation=[]", "train.evaluate_every=2", "train.baselines=true") == [
        "train.evaluate_every: there is no 'evaluation' to score by; add one, or leave it out",
        "train.baselines: there is no 'evaluation' to score by; add one, or leave it out",
    ]


def test_an_unknown_target_is_reported_with_those_there_are(problems):
    assert problems("evaluation.0.target=synthetic") == [
        "evaluation.0.target: no target 'synthetic'; did you mean 'synthetic_market'? "
        "(targets: synthetic_market)"
    ]
    targets = [f'data.targets.{name}={{"name": "synthetic_market"}}' for name in ("mine", "old")]
    assert problems(*targets, "evaluation.0.target=synthetic_market") == [
        "evaluation.0.target: no target 'synthetic_market' (targets: mine, old)"
    ]


def test_targets_are_the_train_datasets_by_their_alias_unless_given(catalog, tiny_params):
    tiny_params["data"]["train"][0]["alias"] = "mine"
    tiny_params["evaluation"][0]["target"] = "mine"
    assert check_run_params(tiny_params, catalog, "p").evaluation[0].target == "mine"


def test_two_datasets_of_one_name_need_an_alias(problems, catalog, tiny_params):
    assert problems('data.train.1={"name": "synthetic_market"}') == [
        "data.train: two datasets are called 'synthetic_market'; give each its own 'alias'"
    ]
    tiny_params["data"]["train"].append({**SYNTHETIC, "alias": "other"})
    params = check_run_params(tiny_params, catalog, "p")
    assert [entry.label for entry in params.data.train] == ["synthetic_market", "other"]


def test_the_label_of_a_dataset_has_no_distribution(catalog):
    entry = check_dataset_entry({"name": "reid-core:synthetic_market"}, catalog, "pack")
    assert entry.label == "synthetic_market"


UNREAD = "data.streams.more: no objective reads it; add one that does, or leave it out"

STAGES = [("resize", "pictures"), ("normalize", "tensors"), ("flip", "batches")]


@pytest.mark.parametrize("first", [1, 2])
@pytest.mark.parametrize("place", ["augmentation", "data.streams.more.augmentation"])
def test_operations_on_pictures_come_before_those_on_tensors_and_on_batches(problems, place, first):
    (name, stage), earlier = STAGES[first], STAGES[:first]
    entries = [{"name": name}, *({"name": other} for other, _ in earlier), {"name": name}]
    stream = {"sources": [{"name": "synthetic_market"}], "sampler": {"name": "random"}}
    found = problems(f"data.streams.more={json.dumps(stream)}", f"{place}={json.dumps(entries)}")
    assert found == [
        *(
            f"{place}.{i}.name: '{other}' works on {what} and must come before '{name}', which "
            f"works on {stage}"
            for i, (other, what) in enumerate(earlier, 1)
        ),
        UNREAD,
    ]


def test_the_datasets_of_a_stream_have_names_of_their_own(problems):
    stream = {"sources": [{"name": "synthetic_market"}] * 2, "sampler": {"name": "random"}}
    assert problems(f"data.streams.more={json.dumps(stream)}") == [
        "data.streams.more.sources: two datasets are called 'synthetic_market'; give each its own "
        "'alias'",
        UNREAD,
    ]


# ---- the result -------------------------------------------------------------------------


def test_right_params_come_back_with_every_default_filled_in(catalog, tiny_params):
    params = check_run_params(tiny_params, catalog, "p")
    assert params.train.log_every == 10
    assert as_json(params.loss[1]) == {
        "margin": 0.3,
        "distance": "euclidean",
        "mining": "hard",
        "hard_factor": 0.0,
    }
    assert as_json(params.optimizer) == {"beta1": 0.9, "beta2": 0.999, "amsgrad": False}
    assert params.data.train[0].params.train_identities == 6
    assert params.data.train[0].params.train_images >= 1


def test_components_named_by_default_are_filled_in_and_checked_too(catalog, tiny_params):
    params = check_run_params(tiny_params, catalog, "p")
    constant = catalog.component("schedule", "constant").params()
    assert params.schedule.name == "constant"
    assert params.schedule.params == constant
    assert as_json(params.schedule) != {}
    assert [entry.name for entry in params.objective] == ["supervised"]


def test_the_input_is_never_changed(catalog, tiny_params):
    before = copy.deepcopy(tiny_params)
    check_run_params(tiny_params, catalog, "p")
    assert tiny_params == before
    tiny_params["train"]["epochs"] = 0
    before = copy.deepcopy(tiny_params)
    with pytest.raises(ParamsError):
        check_run_params(tiny_params, catalog, "p")
    assert tiny_params == before


def test_resolved_params_checked_again_give_the_same(catalog, tiny_params):
    once = check_run_params(tiny_params, catalog, "p")
    again = check_run_params(json.loads(once.model_dump_json()), catalog, "p")
    assert again == once
    assert again.model_dump_json() == once.model_dump_json()


def test_plugin_versions_are_recorded(tiny_params, install_plugin):
    source = """
from reid_core import LossComponent, hookimpl

@hookimpl
def reid_loss():
    return [LossComponent(name="supcon", build=print, summary="", role="metric")]
"""
    install_plugin("reid-recorded", {"reid_recorded_plugin": source}, version="4.2")
    catalog = load_catalog()
    tiny_params["loss"][1] = {"name": "reid-recorded:supcon"}
    params = check_run_params(tiny_params, catalog, "p")
    ours = catalog.offer("head", "global").version
    assert params.plugins == {"reid-core": ours, "reid-recorded": "4.2"}
    tiny_params["loss"] = [{"name": "softmax"}]
    tiny_params["plugins"] = {"reid-recorded": "4.2"}
    assert check_run_params(tiny_params, catalog, "p").plugins == {"reid-core": ours}


def test_a_file_written_with_another_version_is_loaded_and_said(file, catalog, tiny_params, capsys):
    tiny_params["plugins"] = {"reid-core": "0.0.1", "reid-gone": "1"}
    path = file(json.dumps(tiny_params))
    installed = load_run_params(path, catalog).params.plugins["reid-core"]
    assert capsys.readouterr().out == (
        f"{path}: written with reid-core 0.0.1, {installed} is installed\n"
    )


def test_every_entry_is_checked_params_that_build_accepts(catalog, tiny_params):
    params = check_run_params(tiny_params, catalog, "p")
    flip = params.augmentation[2].build()
    assert callable(flip)


def test_loading_reads_overrides_and_checks(file, catalog, tiny_params):
    loaded = load_run_params(file(json.dumps(tiny_params)), catalog, ["train.epochs=5"])
    assert loaded.params.train.epochs == 5
    assert loaded.translation is None
    with pytest.raises(ReidError, match=r"p\.json: train\.epochs: must be >= 1, got 0"):
        load_run_params(file(json.dumps(tiny_params)), catalog, ["train.epochs=0"])


# ---- parts of a file --------------------------------------------------------------------


def test_the_model_sections_of_a_run_can_be_checked_alone(catalog, tiny_params):
    whole = check_run_params(tiny_params, catalog, "p")
    raw = {**tiny_params, "train": "broken", "unknown": 1}
    part = check_model_params(raw, catalog, "weights")
    assert part.backbone == whole.backbone
    assert part.augmentation == whole.augmentation
    tiny_params["backbone"]["name"] = "resnet19"
    with pytest.raises(ParamsError, match=r"weights: backbone\.name: unknown backbone 'resnet19'"):
        check_model_params(tiny_params, catalog, "weights")


def test_a_dataset_entry_can_be_checked_alone(catalog):
    entry = check_dataset_entry({**SYNTHETIC, "store": "s"}, catalog, "pack")
    assert entry.store == "s"
    assert entry.params.cameras == 6
    with pytest.raises(ParamsError) as caught:
        check_dataset_entry({**SYNTHETIC, "stor": "s", "params": {"cameras": 1}}, catalog, "pack")
    assert caught.value.problems == [
        "params.cameras: must be >= 2, got 1",
        "stor: unknown key; did you mean 'store'?",
    ]
    with pytest.raises(ParamsError, match="pack: name: unknown dataset 'market'"):
        check_dataset_entry({"name": "market"}, catalog, "pack")


# ---- eval_params.json -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        ({}, "give exactly one of 'run', 'weights' and 'features' (0 given)"),
        (
            {"run": "a", "weights": "b"},
            "give exactly one of 'run', 'weights' and 'features' (2 given)",
        ),
        ({"weights": "b"}, "'weights' needs 'targets': the datasets to score on"),
        ({"weights": "b", "targets": {}}, "'weights' needs 'targets': the datasets to score on"),
        ({"features": {"query": "q"}}, "'features' needs 'evaluation': the evaluators to run"),
        (
            {"features": {"query": "q"}, "evaluation": []},
            "evaluation: no evaluator is named; add one, or leave 'evaluation' out",
        ),
        (
            {
                "run": "a",
                "targets": {"mine": SYNTHETIC},
                "evaluation": [{**MARKET, "target": "min"}],
            },
            "evaluation.0.target: no target 'min'; did you mean 'mine'? (targets: mine)",
        ),
        (
            {"run": "a", "targets": {"mine": {**SYNTHETIC, "params": {"cameras": 1}}}},
            "targets.mine.params.cameras: must be >= 2, got 1",
        ),
        (
            {"run": "a", "evaluation": [{**MARKET, "params": {"ap": "x"}}]},
            "evaluation.0.params.ap: expected 'standard' or 'trapezoid', got \"x\"",
        ),
        (
            {"features": {"query": "q"}, "evaluation": [MARKET], "workers": 2, "batch_size": 1},
            "'features' are extracted already: 'batch_size', 'workers' would have no effect; "
            "leave it out",
        ),
        (
            {"features": {"query": "q"}, "evaluation": [MARKET], "targets": {"a": SYNTHETIC}},
            "'features' are extracted already: 'targets' would have no effect; leave it out",
        ),
        (
            {"run": "a", "features_format": "safetensors"},
            "'features_format' needs 'output_dir', where features are written",
        ),
        (
            {
                "run": "a",
                "targets": {"one": SYNTHETIC, "two": SYNTHETIC},
                "evaluation": [MARKET],
            },
            'targets.two: no evaluation scores it; add one with "target": "two", or leave it out',
        ),
        ({"run": 5}, "run: expected a string, got 5"),
        (
            {"run": "a", "evaluation": [{}]},
            'evaluation.0.name: required, but missing; such as "name": "classification_evaluate"',
        ),
        (
            {"run": "a", "evaluation": [{**MARKET, "params": {"junk_ruel": "x"}}]},
            "evaluation.0.params.junk_ruel: unknown key; did you mean 'junk_rule'?",
        ),
        (
            {"run": "a", "evaluation": [{**MARKET, "distanse": {"name": "cosine"}}]},
            "evaluation.0.distanse: unknown key; did you mean 'distance'?",
        ),
        ({"run": "a", "trgets": {}}, "trgets: unknown key; did you mean 'targets'?"),
        ({"run": "a", "features": {"query": 5}}, "features.query: expected a string, got 5"),
    ],
)
def test_mistakes_of_eval_params_are_reported(catalog, raw, problem):
    before = copy.deepcopy(raw)
    with pytest.raises(ParamsError) as caught:
        check_eval_params(raw, catalog, "e.json")
    assert str(caught.value) == f"e.json: {problem}"
    assert raw == before


@pytest.mark.parametrize(
    "raw",
    [
        {"run": "runs/a"},
        {"run": "runs/a", "evaluation": [{**MARKET, "target": "one of the run's"}]},
        {"weights": "w", "targets": {"mine": SYNTHETIC}},
        {
            "weights": "w",
            "targets": {"mine": SYNTHETIC},
            "evaluation": [{**MARKET, "target": "mine"}],
        },
        {"features": {"query": "q", "gallery": "g"}, "evaluation": [MARKET]},
    ],
)
def test_right_eval_params_are_filled_in_and_stay_the_same(catalog, raw):
    params = check_eval_params(raw, catalog, "e")
    assert check_eval_params(json.loads(params.model_dump_json()), catalog, "e") == params
    for entry in params.evaluation or []:
        assert entry.params.output == "embedding"


def test_loading_eval_params_applies_overrides(file, catalog):
    path = file('{"targets": {"mine": {"name": "synthetic_market"}}}')
    params = load_eval_params(path, catalog, ["weights=best.safetensors", "batch_size=4"])
    assert (params.weights, params.batch_size) == ("best.safetensors", 4)


# ---- params of plugins ------------------------------------------------------------------


class Part(Params):
    size: int = Field(ge=1)
    share: float = 0.5


class RichParams(Params):
    parts: list[Part] = Field(default=[Part(size=1)])
    named: dict[str, Part] = Field(default={})
    pair: tuple[int, int] = (1, 2)
    words: set[str] = Field(default={"a"})
    even: int = 0

    @field_validator("even")
    @classmethod
    def _is_even(cls, value):
        if value % 2:
            raise ValueError(f"must be even, got {value}")
        return value


class BrokenParams(Params):
    what: "NowhereDefined"  # noqa: F821


class Rich:
    @hookimpl
    def reid_loss(self):
        return [
            LossComponent(name="rich", params=RichParams, build=lambda p: p, summary="", role="id"),
            LossComponent(
                name="broken", params=BrokenParams, build=lambda p: p, summary="", role="id"
            ),
        ]


@pytest.fixture
def rich(tiny_params):
    """A function: the tiny run with one loss, 'rich' or another, checked."""
    catalog = load_catalog([Rich()])

    def check(params, name="rich"):
        tiny_params["loss"] = [{"name": name, "params": params}]
        return check_run_params(tiny_params, catalog, "p")

    return check


def test_nested_params_of_plugins_are_filled_in(rich):
    params = rich({"parts": [{"size": 3}], "named": {"x": {"size": 2, "share": 1}}})
    assert as_json(params.loss[0]) == {
        "parts": [{"size": 3, "share": 0.5}],
        "named": {"x": {"size": 2, "share": 1.0}},
        "pair": [1, 2],
        "words": ["a"],
        "even": 0,
    }
    built = params.loss[0].build()
    assert built.parts[0].size == 3
    assert built.pair == (1, 2)
    assert built.words == {"a"}


def test_lists_of_json_become_tuples_and_sets_of_plugins(rich):
    params = rich({"pair": [5, 6], "words": ["b"]})
    built = params.loss[0].build()
    assert (built.pair, built.words) == ((5, 6), {"b"})
    assert rich(as_json(params.loss[0])) == params


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"parts": [{"size": 0}]}, ["parts.0.size: must be >= 1, got 0"]),
        ({"parts": [{}]}, ['parts.0.size: required, but missing; such as "size": 1']),
        (
            {"named": {"x": {"size": 1, "shar": 1}, "y": 5}},
            [
                "named.x.shar: unknown key; did you mean 'share'?",
                "named.y: expected an object, got 5",
            ],
        ),
        ({"pair": [1]}, ["pair: too few items, got [1]"]),
        ({"pair": []}, ["pair: too few items, got []"]),
        ({"pair": [1, 2, 3]}, ["pair: takes 2 or fewer, got [1, 2, 3]"]),
        ({"pair": [1, "x"]}, ['pair.1: expected a whole number, got "x"']),
        ({"pair": 1}, ["pair: expected a list, got 1"]),
        ({"words": 1}, ["words: expected a list, got 1"]),
        ({"even": 3}, ["even: must be even, got 3"]),
    ],
)
def test_mistakes_in_nested_params_of_plugins_have_their_path(rich, given, expected):
    with pytest.raises(ParamsError) as caught:
        rich(given)
    assert caught.value.problems == [f"loss.0.params.{line}" for line in expected]


def test_a_plugin_whose_params_model_is_broken_is_named(rich):
    with pytest.raises(ParamsError) as caught:
        rich({}, name="broken")
    (problem,) = caught.value.problems
    assert problem.startswith("loss.0.params: loss 'broken' of local 0 declares params that cannot")
    assert "`BrokenParams` is not fully defined" in problem
    assert rich({})


def test_a_required_param_of_a_plugin_is_asked_for(problems):
    assert problems('data.train.0={"name": "manifest"}') == [
        'data.train.0.params.file: required, but missing; such as "file": "path/to/it"'
    ]


class Size(enum.Enum):
    SMALL = "small"


class ManyParams(Params):
    sizes: list[Size] = Field(default=[Size.SMALL])
    numbers: tuple[Decimal, ...] = (Decimal("0.5"),)
    by_size: dict[Size, Part] = Field(default={Size.SMALL: Part(size=1)})
    files: list[PathText] = Field(default=["here"])


def test_a_weights_file_keeps_params_of_any_type_as_json_has_them():
    kept = kept_in_weights(ManyParams(files=["elsewhere"]))
    assert kept == {
        "sizes": ["small"],
        "numbers": ["0.5"],
        "by_size": {"small": {"size": 1, "share": 0.5}},
        "files": ["here"],
    }
    assert json.dumps(kept)


class Pair(Params):
    """Written as a list of its own."""

    low: int = 1
    high: int = 2

    @model_serializer
    def _as_list(self):
        return [self.low, self.high]


class OwnFormParams(Params):
    pair: Pair = Pair()
    pairs: list[Pair] = Field(default=[Pair(low=0)])
    unwritten: int = Field(default=3, exclude=True)
    file: PathText = "here"


def test_a_weights_file_keeps_params_that_write_themselves_in_a_form_of_their_own():
    kept = kept_in_weights(OwnFormParams(file="elsewhere"))
    assert kept == {"pair": [1, 2], "pairs": [[0, 2]], "file": "here"}


# ---- anything ---------------------------------------------------------------------------

BASE = {
    "data": {
        "train": [{"name": "synthetic_market", "params": {"cameras": 2}}],
        "targets": {"mine": {"name": "image_folder", "params": {"root": "x"}}},
    },
    "backbone": {"name": "resnet18", "params": {"pretrained": "none"}},
    "head": [{"name": "global", "params": {}, "alias": "a"}],
    "loss": [
        {"name": "softmax", "reduce": {"name": "random_keep", "draws": 2}},
        {"name": "triplet", "params": {"margin": "soft"}, "branches": ["a", "b"]},
    ],
    "sampler": {"name": "class_balanced", "params": {"P": 3, "K": 2}},
    "augmentation": [
        {"name": "resize", "params": {"height": 32, "width": 16}},
        {"name": "pad_crop", "params": {"padding": [1, 2]}},
        {"name": "normalize", "params": {"mean": [0, 0, 0]}},
    ],
    "optimizer": {"name": "adam", "lr": 0.001, "groups": [{"match": "*", "lr": 1}]},
    "schedule": {"name": "multi_step", "params": {"milestones": [1]}},
    "objective": [{"name": "supervised"}],
    "train": {"epochs": 2},
    "evaluation": [{"name": "market_evaluate", "params": {"ranks": [1]}, "target": "mine"}],
    "plugins": {"reid-core": "0"},
}
EVAL_BASE = {
    "run": "a",
    "targets": {"mine": {"name": "synthetic_market", "params": {"cameras": 2}}},
    "evaluation": [{"name": "market_evaluate", "params": {"ranks": [1]}, "target": "mine"}],
    "features": None,
}

WORDS = st.sampled_from(
    ["name", "params", "weight", "targets", "train", "triplet", "random_keep", "a:b", "soft", ""]
)
TEXT = WORDS | st.text(st.characters(codec=None, exclude_categories=()), max_size=3)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | TEXT
VALUES = st.recursive(
    SCALARS, lambda v: st.lists(v, max_size=3) | st.dictionaries(TEXT, v, max_size=3), max_leaves=6
)


def containers(node):
    """Yield every object and list of a JSON value."""
    if isinstance(node, dict | list):
        yield node
        for value in node.values() if isinstance(node, dict) else node:
            yield from containers(value)


def mutated(base, data):
    """Return a copy with up to three random changes: values replaced, added and removed."""
    raw = copy.deepcopy(base)
    for _ in range(data.draw(st.integers(1, 3))):
        node = data.draw(st.sampled_from(list(containers(raw))))
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        action = data.draw(st.sampled_from(["replace", "replace", "add", "remove"]))
        if action == "add" or not keys:
            value = data.draw(VALUES)
            if isinstance(node, dict):
                node[data.draw(TEXT)] = value
            else:
                node.append(value)
        elif action == "replace":
            node[data.draw(st.sampled_from(keys))] = data.draw(VALUES)
        else:
            del node[data.draw(st.sampled_from(keys))]
    return raw


@pytest.mark.parametrize(
    ("check", "base"), [(check_run_params, BASE), (check_eval_params, EVAL_BASE)]
)
def test_the_bases_of_the_random_tests_are_right(catalog, check, base):
    assert check(base, catalog, "p")


def result_or_error(function, *args):
    """Return (what the function returns, None) or (None, the ReidError that it raises)."""
    try:
        return function(*args), None
    except ReidError as error:
        return None, error


@settings(max_examples=200, deadline=None)
@given(data=st.data())
@pytest.mark.parametrize(
    ("check", "base"), [(check_run_params, BASE), (check_eval_params, EVAL_BASE)]
)
def test_random_params_are_right_or_refused_and_never_a_traceback(catalog, check, base, data):
    raw = mutated(base, data)
    before = repr(raw)
    params, error = result_or_error(check, raw, catalog, "p")
    assert repr(raw) == before
    if error is not None:
        assert error.problems
        assert all(line and "\n" not in line for line in error.problems)
    else:
        assert check(json.loads(params.model_dump_json()), catalog, "p") == params


@settings(max_examples=150, deadline=None)
@given(text=st.text() | VALUES.map(json.dumps))
def test_random_files_are_read_or_refused_and_never_a_traceback(tmp_path_factory, text):
    path = tmp_path_factory.getbasetemp() / f"random-{random.getrandbits(64)}.json"
    path.write_text(text, encoding="utf-8", errors="replace")
    raw, error = result_or_error(read_json, path)
    path.unlink()
    assert isinstance(raw, dict) if error is None else str(error).startswith(f"{path}: ")


PATHS = ["loss", "0", "loss.0", "loss.2.name", "data.targets.x.y", "", ".", "train.epochs.", "a b"]


@settings(max_examples=150, deadline=None)
@given(
    overrides=st.lists(
        st.tuples(st.sampled_from(PATHS) | TEXT, VALUES.map(json.dumps) | TEXT), max_size=3
    )
)
def test_random_overrides_fit_or_are_refused_and_never_a_traceback(overrides):
    words = [f"{path}={value}" for path, value in overrides]
    raw, error = result_or_error(apply_overrides, BASE, words, "p")
    assert isinstance(raw, dict) if error is None else error.problems


def test_run_params_cannot_be_changed(catalog, tiny_params):
    params = check_run_params(tiny_params, catalog, "p")
    assert isinstance(params, RunParams)
    with pytest.raises(ValueError, match="frozen"):
        params.working_dir = "elsewhere"


def test_what_is_named_by_default_is_ours_and_an_isolated_catalog_must_be_given_another(
    tiny_params,
):
    class Alone:
        @hookimpl
        def reid_backbone(self):
            return [BackboneComponent(name="resnet18", build=print, summary="")]

    with pytest.raises(ParamsError) as caught:
        check_run_params(tiny_params, isolated_catalog(Alone()), "p")
    assert (
        "schedule.name: schedule 'constant' is of the package 'reid-core', which is not installed "
        "here; install it, or choose another schedule"
    ) in caught.value.problems


# ---- distances and steps of an evaluation -----------------------------------------------


def evaluation_problems(catalog, tiny_params, **entry):
    raw = {**tiny_params, "evaluation": [{**MARKET, **entry}]}
    with pytest.raises(ParamsError) as caught:
        check_run_params(raw, catalog, "p")
    return caught.value.problems


def test_distance_and_steps_are_checked_and_filled_in(catalog, tiny_params):
    entry = {
        **MARKET,
        "distance": {"name": "euclidean"},
        "postprocess": [{"name": "query_expansion"}, {"name": "k_reciprocal"}],
    }
    params = check_run_params({**tiny_params, "evaluation": [entry]}, catalog, "p")
    assert params.evaluation[0].distance.name == "euclidean"
    assert as_json(params.evaluation[0].distance) == {}
    assert params.evaluation[0].postprocess[1].params.k1 == 20


def test_unknown_distances_and_wrong_steps_are_all_reported(catalog, tiny_params):
    problems = evaluation_problems(
        catalog,
        tiny_params,
        distance={"name": "cosin"},
        postprocess=[{"name": "k_reciprocal", "params": {"k1": 0}}, {"name": "k_reciprocl"}],
    )
    assert [problem.partition(": ")[0] for problem in problems] == [
        "evaluation.0.distance.name",
        "evaluation.0.postprocess.0.params.k1",
        "evaluation.0.postprocess.1.name",
    ]
    assert "did you mean 'cosine'?" in problems[0]
    assert "did you mean 'k_reciprocal'?" in problems[2]


def test_steps_on_features_come_before_steps_on_distances(catalog, tiny_params):
    steps = [{"name": "k_reciprocal"}, {"name": "query_expansion"}]
    assert evaluation_problems(catalog, tiny_params, postprocess=steps) == [
        "evaluation.0.postprocess.1.name: 'query_expansion' changes features and must come "
        "before 'k_reciprocal', which changes distances"
    ]


def test_an_evaluator_that_takes_no_distance_is_given_none(catalog, tiny_params):
    entry = {"name": "classification_evaluate", "distance": {"name": "cosine"}}
    assert evaluation_problems(catalog, tiny_params, **entry) == [
        "evaluation.0.distance: 'classification_evaluate' takes no distance; leave it out"
    ]
    entry = {"name": "classification_evaluate", "postprocess": [{"name": "k_reciprocal"}]}
    assert evaluation_problems(catalog, tiny_params, **entry) == [
        "evaluation.0.postprocess: 'classification_evaluate' takes no postprocess; leave it out"
    ]

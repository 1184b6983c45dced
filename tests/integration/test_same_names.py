"""A package that is installed later, with the names of ours, changes nothing of a finished run."""

import json

import pytest

from reid_core import LossComponent, ReidError, hookimpl
from reid_core.catalog import Catalog, Offer
from reid_core.evaluation.evaluate_command import run_evaluation
from reid_core.params.json_file import read_json
from reid_core.params.validation import check_eval_params, check_run_params
from reid_core.runs.start_and_resume import resume_train, start_train

pytestmark = pytest.mark.usefixtures("one_thread")


def refuse(params, **context):
    raise AssertionError("another package's component was built")


def with_impostor(catalog):
    """Return a catalog in which another package offers every name of reid-core once more."""
    others = []
    for offer in catalog.offers:
        fields = {**vars(offer.component), "build": refuse}
        others.append(Offer(offer.kind, type(offer.component)(**fields), "impostor", "6.6"))
    return Catalog([*catalog.offers, *others], catalog.faults)


@pytest.fixture
def finished(tiny_params, catalog):
    raw = {**tiny_params, "loss": [{"name": "softmax"}]}
    return start_train(check_run_params(raw, catalog, "params.json"), catalog, "run")


def test_the_resolved_params_name_the_package_of_every_component(finished):
    params = read_json(finished.params)
    assert params["backbone"]["name"] == "reid-core:resnet18"
    assert params["loss"][0]["name"] == "reid-core:softmax"
    assert params["evaluation"][0]["name"] == "reid-core:market_evaluate"
    assert params["evaluation"][0]["distance"]["name"] == "reid-core:cosine"
    assert params["data"]["train"][0]["name"] == "reid-core:synthetic_market"


def test_a_finished_run_is_scored_and_continued_as_before(finished, catalog):
    crowded = with_impostor(catalog)
    evaluation = check_eval_params({"run": str(finished.path)}, crowded, "eval_params.json")
    (scores,) = run_evaluation(evaluation, crowded)
    saved = json.loads(
        (finished.evaluations / "last-market_evaluate-synthetic_market.json").read_text()
    )
    assert scores.scores.metrics == pytest.approx(saved["metrics"])
    params = read_json(finished.params)
    params["train"]["epochs"] += 1
    longer = check_run_params(params, crowded, "params.json")
    assert resume_train(finished.path, crowded, longer).last_weights.is_file()


def test_a_bare_name_in_new_params_must_be_made_clear(tiny_params, catalog):
    with pytest.raises(ReidError, match="write 'impostor:resnet18' or 'reid-core:resnet18'"):
        check_run_params(tiny_params, with_impostor(catalog), "params.json")


def test_names_that_nobody_has_written_are_clear_by_themselves(tiny_params, catalog):
    crowded = with_impostor(catalog)

    def qualified(value):
        if isinstance(value, dict):
            found = {k: qualified(v) for k, v in value.items()}
            if "name" in found and value is not tiny_params["optimizer"]:
                found["name"] = f"reid-core:{found['name']}"
            return found
        return [qualified(v) for v in value] if isinstance(value, list) else value

    params = check_run_params(qualified(tiny_params), crowded, "params.json")
    filled = params.model_dump(mode="json")
    assert filled["schedule"]["name"] == "reid-core:constant"
    assert filled["objective"][0]["name"] == "reid-core:supervised"
    assert filled["logger"][0]["name"] == "reid-core:tensorboard"
    assert filled["evaluation"][0]["distance"]["name"] == "reid-core:cosine"


def test_a_run_whose_package_is_gone_names_the_package(tiny_params, catalog_with, catalog):
    class Plugin:
        @hookimpl
        def reid_loss(self):
            def build(params):
                from reid_core.contracts import LossOutput

                return lambda x: LossOutput(x.features.mean())

            return [LossComponent(name="spread", role="metric", build=build, summary="-")]

    there = catalog_with(Plugin())
    raw = {**tiny_params, "loss": [{"name": "spread"}]}
    run = start_train(check_run_params(raw, there, "params.json"), there, "run")
    with pytest.raises(ReidError, match="loss 'spread' is of the package 'local', which is not"):
        check_run_params(read_json(run.params), catalog, str(run.params))

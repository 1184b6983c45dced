"""What a run is scored on: what is rehearsed, whose images count, and what is printed."""

import numpy as np
import pytest

from reid_core import EvaluatorComponent, ReidError, hookimpl
from reid_core.contracts import Scores
from reid_core.data.training_images import TrainingImages
from reid_core.evaluation.during_training import Scorer
from reid_core.evaluation.rehearsal import REHEARSED, check_targets
from reid_core.evaluation.run_evaluators import Evaluated, print_scores
from reid_core.evaluation.targets import Targets, target_entries
from reid_core.files import user_path
from reid_core.params.validation import check_run_params
from reid_core.storage.dataset_stores import Stores
from reid_core.training.assembly import build_training


class LogitsPlugin:
    """Offers ``classes``, which reads the logits of the queries and counts them."""

    def __init__(self):
        self.rehearsed = []

    @hookimpl
    def reid_evaluator(self):
        def evaluate(splits):
            query = splits["query"]
            self.rehearsed.append((len(query), query.values["logits"].shape[1], query.classes))
            return Scores(metrics={"count": 1.0}, primary="count", protocol={"split": "query"})

        return [
            EvaluatorComponent(
                name="classes",
                build=lambda params: evaluate,
                summary="-",
                splits=("query",),
                outputs=("logits",),
            )
        ]


@pytest.fixture
def plugin():
    return LogitsPlugin()


@pytest.fixture
def params_of(catalog_with, plugin, tiny_params):
    """A function from changes to checked params of a run that ``classes`` may score."""
    there = catalog_with(plugin)

    def make(**changes):
        raw = {**tiny_params, "backbone": {"name": "tiny"}, **changes}
        return check_run_params(raw, there, "test"), there

    return make


def test_an_evaluator_of_logits_needs_a_classifier_and_is_rehearsed_with_one(params_of, plugin):
    params, _ = params_of(evaluation=[{"name": "classes"}])
    targets = Targets(target_entries(params), Stores(user_path(params.working_dir)))
    classes = (("synthetic_market", "0001"), ("synthetic_market", "0002"))

    def blank(outputs):
        assert list(outputs) == ["logits"]
        return {"logits": np.zeros((1, 2), np.float32)}

    with pytest.raises(ReidError, match=r"^evaluation\.0: 'classes' needs logits, and this model"):
        check_targets(params.evaluation, targets, classes, blank, has_classifier=False)
    assert plugin.rehearsed == []
    check_targets(params.evaluation, targets, classes, blank, has_classifier=True)
    queries = len(targets.store("synthetic_market").index.positions("query"))
    assert queries <= REHEARSED
    assert plugin.rehearsed == [(queries, 2, ("0001", "0002"))]


def test_the_record_names_the_data_that_are_trained_and_scored_and_no_other(params_of, tiny_params):
    import torch

    (people,) = tiny_params["data"]["train"]
    other = {**people, "params": {**people["params"], "seed": 1}}
    data = {"train": [people], "targets": {"scored": other}}
    params, there = params_of(data=data, evaluation=[{"name": "classes", "target": "scored"}])
    params.data.targets["unused"] = params.data.train[0]
    stores = Stores(user_path(params.working_dir))
    images = TrainingImages.of([(entry.label, stores.open(entry)) for entry in params.data.train])
    training = build_training(params, there, images, None, torch.device("cpu"))
    assert Scorer(training, stores).data_hashes() == {
        "synthetic_market": stores.open(params.data.train[0]).content_hash,
        "scored": stores.open(params.data.targets["scored"]).content_hash,
    }


def test_a_metric_is_printed_with_its_interval_where_it_has_one(capsys):
    scores = Scores(
        metrics={"mAP": 0.5, "rank1": 0.25},
        primary="mAP",
        protocol={"rule": "none"},
        per_query={"ap": np.array([0.5])},
        intervals={"mAP": (0.25, 0.75)},
    )
    print_scores(Evaluated("market", "people", scores))
    assert capsys.readouterr().out.splitlines() == [
        "market on people",
        "  mAP 0.5000  [0.2500, 0.7500]",
        "  rank1 0.2500",
        "    rule: none",
    ]

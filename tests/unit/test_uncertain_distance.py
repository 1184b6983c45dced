"""The distance `uncertain`: its formula, its errors, and a whole run that is scored by it."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from reid_core import ReidError
from reid_core.evaluation.evaluate_command import run_evaluation
from reid_core.network.weights import load_model, read_weights
from reid_core.params.validation import check_eval_params, check_run_params
from reid_core.runs.start_and_resume import resume_train, start_train
from reid_evaluate.distances.comparison import DistanceKeys, Vectors
from reid_evaluate.distances.distance_matrix import Cosine
from reid_evaluate.distances.uncertain_distance import UncertainAngle
from reid_plugins.distance import uncertain


def images(rows, uc):
    count = len(rows)
    return Vectors(
        features=torch.as_tensor(rows, dtype=torch.float32),
        pids=np.array(["a"] * count),
        camids=np.zeros(count, dtype=np.int64),
        aux={} if uc is None else {"uc": torch.as_tensor(uc, dtype=torch.float32)},
    )


def random_images(count, seed, dim=6):
    rng = np.random.default_rng(seed)
    return images(rng.standard_normal((count, dim)), 0.2 * rng.standard_normal(count))


def keys_of(distance, query, gallery):
    out = torch.full((len(query), len(gallery)), torch.nan)
    DistanceKeys(distance, query, gallery).fill(0, len(query), out)
    return out


def distances_of(distance, query, gallery):
    return distance.values(keys_of(distance, query, gallery))


# ---- the formula ------------------------------------------------------------------------


@pytest.mark.parametrize("factor", [-2.0, -0.1, 0.0, 1.0])
def test_it_equals_the_loop(factor):
    query, gallery = random_images(5, 0), random_images(9, 1)
    found = distances_of(UncertainAngle(factor), query, gallery)
    for i, a in enumerate(query.features.double()):
        for j, b in enumerate(gallery.features.double()):
            chord = (a / a.norm() - b / b.norm()).norm().item()
            expected = 2 * math.asin(chord / 2) - factor * gallery.aux["uc"][j].item()
            assert found[i, j].item() == pytest.approx(expected, abs=2e-6)


def test_the_factor_0_is_the_cosine_bit_by_bit():
    query, gallery = random_images(20, 0), random_images(3000, 1)
    assert torch.equal(keys_of(UncertainAngle(), query, gallery), keys_of(Cosine(), query, gallery))
    assert UncertainAngle().symmetric
    assert not UncertainAngle(0.1).symmetric
    (component,) = uncertain.reid_distance()
    assert component.build(component.params()).factor == 0


def test_the_uncertainty_of_the_gallery_image_alone_counts():
    gallery = images([[1.0, 1], [2, 2], [1, 1]], [0.1, -0.1, 0.0])
    for uc in (-3.0, 3.0):
        query = images([[1.0, 0]], [uc])
        behind = keys_of(UncertainAngle(-1.0), query, gallery)[0].argsort().tolist()
        front = keys_of(UncertainAngle(1.0), query, gallery)[0].argsort().tolist()
        assert behind == [1, 2, 0]
        assert front == [0, 2, 1]


def test_equal_images_with_different_uncertainties_do_not_tie():
    gallery = images([[1.0, 2]] * 3, [0.1, 0.1, 0.2])
    keys = keys_of(UncertainAngle(1.0), images([[1.0, 0]], [0.0]), gallery)[0]
    assert keys[0] == keys[1]
    assert keys[2].item() == pytest.approx(keys[0].item() - 0.1, abs=1e-6)


@pytest.mark.parametrize("factor", [0.0, 1.0])
def test_the_ends_of_the_sphere_have_angles(factor):
    rows = np.random.default_rng(0).standard_normal((40, 17)) * 37
    one, other = images(rows, np.zeros(40)), images(-rows, np.zeros(40))
    distance = UncertainAngle(factor)
    # An angle next to 0 or pi is as exact as the root of float32.
    same = distances_of(distance, one, one).diagonal().tolist()
    assert same == pytest.approx([0] * 40, abs=1e-3)
    opposite = distances_of(distance, one, other).diagonal().tolist()
    assert opposite == pytest.approx([math.pi] * 40, abs=1e-3)
    zero = images(np.zeros((1, 17)), [0.0])
    assert distances_of(distance, zero, one)[0].tolist() == pytest.approx([math.pi / 2] * 40)


# ---- errors -----------------------------------------------------------------------------


@pytest.mark.parametrize("factor", [0.0, 1.0])
@pytest.mark.parametrize(
    ("aux", "problem"),
    [
        (
            {},
            "the distance 'uncertain' needs the value 'uc' of each image, which the head "
            "'uncertain' gives; there is none",
        ),
        ({"b_uc": torch.zeros(3), "a": torch.zeros(3)}, "there is a, b_uc"),
        ({"uc": torch.zeros(3, 2)}, r"needs one 'uc' for each of 3 images, got the shape \(3, 2\)"),
        ({"uc": torch.zeros(4)}, r"needs one 'uc' for each of 3 images, got the shape \(4,\)"),
        (
            {"uc": torch.tensor([0.0, math.nan, math.inf])},
            "needs finite values 'uc'; 2 of 3 are NaN or infinite",
        ),
    ],
)
def test_images_without_their_uncertainties_are_refused(factor, aux, problem):
    vectors = replace(random_images(3, 0), aux=aux)
    with pytest.raises(ValueError, match=problem):
        UncertainAngle(factor).prepare(vectors)


# ---- a whole run ------------------------------------------------------------------------

DISTANCE = {"name": "uncertain", "params": {"factor": -1.0}}


@pytest.fixture
def raw(tiny_params):
    """Params of a training whose uncertainties are learned, fast."""
    return {
        **tiny_params,
        "backbone": {"name": "tiny"},
        "head": [{"name": "uncertain", "params": {"terms": 8}}],
        "loss": [
            {"name": "softmax"},
            {"name": "uncertain_pair"},
            {
                "name": "norm_regularizer",
                "weight": 0.1,
                "params": {"lower_norm": 0.5, "upper_norm": 5.0},
            },
        ],
        "optimizer": {
            "name": "adam",
            "lr": 0.001,
            "groups": [{"match": "*.uncertainty.weight", "weight_decay": 0.1, "lr_scale": 100.0}],
        },
        "train": {**tiny_params["train"], "log_every": 1},
        "evaluation": [{"name": "market_evaluate", "distance": DISTANCE}],
    }


def start(raw, catalog, name="run"):
    return start_train(check_run_params(raw, catalog, "test"), catalog, name)


def evaluation_of(run, raw, catalog):
    """Return the params that score a run's weights as the params of a run say."""
    asked = {
        "weights": str(run.best_weights),
        "targets": {"synthetic_market": raw["data"]["train"][0]},
        **{key: raw[key] for key in ("evaluation", "working_dir")},
        "device": "cpu",
    }
    return check_eval_params(asked, catalog, "test")


def scores_of(run):
    (path,) = run.evaluations.glob("best-*.json")
    return json.loads(path.read_text())


def test_a_run_learns_uncertainties_and_is_scored_by_them(tiny_catalog, raw):
    run = start(raw, tiny_catalog)
    lines = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    steps = [line for line in lines if line["kind"] == "train"]
    spread = [
        s["monitors"]["uncertain_pair.uncertainty_max"]
        - s["monitors"]["uncertain_pair.uncertainty_min"]
        for s in steps
    ]
    assert spread[0] < 1e-3  # none at the start
    assert spread[-1] > 10 * spread[0]
    assert set(steps[0]["losses"]) == {"softmax", "uncertain_pair", "norm_regularizer"}
    scores = scores_of(run)
    assert "uncertain" in json.dumps(scores["card"]["distance"])
    assert "-1.0" in json.dumps(scores["card"]["distance"])
    assert 0 < scores["metrics"]["mAP"] <= 1


def test_the_weights_alone_give_the_same_uncertainties_and_scores(tiny_catalog, raw, tmp_path):
    run = start(raw, tiny_catalog)
    model, _ = load_model(read_weights(run.best_weights), tiny_catalog)
    head = model.heads[0].uncertainty
    assert head.standardize.num_batches_tracked > 0
    assert head.mean.abs() > 0
    uc = model(torch.randn(4, 3, 32, 16, generator=torch.Generator().manual_seed(0))).aux["uc"]
    assert uc.unique().numel() > 1
    distances = [DISTANCE, {"name": "uncertain"}, {"name": "cosine"}]
    entries = [{"name": "market_evaluate", "distance": distance} for distance in distances]
    asked = evaluation_of(run, {**raw, "evaluation": entries}, tiny_catalog)
    again, without, cosine = (e.scores.metrics for e in run_evaluation(asked, tiny_catalog))
    assert dict(again) == pytest.approx(scores_of(run)["metrics"])
    assert dict(without) == dict(cosine)


def test_an_interrupted_run_goes_on_to_the_same_weights(tiny_catalog, raw):
    raw = {**raw, "evaluation": []}
    whole = start(raw, tiny_catalog, "whole")
    short = start({**raw, "train": {**raw["train"], "epochs": 1}}, tiny_catalog, "short")
    longer = json.loads(short.params.read_text())
    longer["train"]["epochs"] = 2
    resume_train(short.path, tiny_catalog, check_run_params(longer, tiny_catalog, "test"))
    assert short.last_weights.read_bytes() == whole.last_weights.read_bytes()


def test_a_model_without_uncertainties_cannot_be_scored_by_them(tiny_catalog, raw):
    changes = {"head": [{"name": "global"}], "loss": [{"name": "softmax"}], "evaluation": []}
    run = start({**raw, **changes, "optimizer": {"name": "adam", "lr": 0.001}}, tiny_catalog)
    with pytest.raises(
        ReidError, match=r"^evaluation\.0: 'market_evaluate': .* the value 'uc' of a head; .* none$"
    ):
        run_evaluation(evaluation_of(run, raw, tiny_catalog), tiny_catalog)

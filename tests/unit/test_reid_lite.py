"""The predecessor's vocabulary: what becomes of every key, and what is refused and how."""

import copy
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from reid_core.contracts import BranchSpec, Features, LossInput, Progress
from reid_core.discovery import load_catalog
from reid_core.errors import ParamsError
from reid_core.evaluation.run_evaluators import evaluate, features_from_files
from reid_core.params.overrides import apply_overrides
from reid_core.params.validation import check_eval_params, check_run_params
from reid_core.training.assembly import check_on_meta
from reid_plugins.translator._reid_lite.eval_params import is_eval, translate_eval
from reid_plugins.translator._reid_lite.keys import EVAL_KEYS, EVAL_ONLY, RUN_KEYS, RUN_ONLY
from reid_plugins.translator._reid_lite.reading import ANYTHING, FLAG, OBJECT, REQUIRED, TEXT
from reid_plugins.translator._reid_lite.run_params import is_run, translate_run

SHIPPED = json.loads((Path(__file__).parent / "reid_lite_params.json").read_text())
SHIPPED_EVAL = json.loads((Path(__file__).parent / "reid_lite_eval_params.json").read_text())
NOT_SHIPPED = {
    "data_augmentation.colour_jiterring",
    "gan_params.train_loop",
    "gan_params.only_train",
}

TARGETS = {"market": {"name": "market1501", "params": {"root": "/data/Market-1501"}}}
SINGLE = {"model_params.pcb_n_parts": 0, "model_params.feature_dim": 256}
TRIPLET = {"tri_loss_params.margin": 0.16}
MARGIN = {"asoftmax_params.margin": [0.3], "model_params.random_drop_branchs": 0}
RANDOM = {"batch_sampling_params.class_balanced": False}
MISSING = object()


def as_json(entry):
    """Return an entry's params as JSON has them."""
    return entry.params.model_dump(mode="json")


def changed(changes, base=SHIPPED):
    """Return the shipped file with some dotted keys set, or removed where MISSING."""
    raw = copy.deepcopy(base)
    for name, value in changes.items():
        *sections, word = name.split(".")
        node = raw
        for section in sections:
            node = node[section]
        if value is MISSING:
            del node[word]
        else:
            node[word] = value
    return raw


def run(**changes):
    return translate_run(changed(changes), "old.json")


def evaluation(**changes):
    return translate_eval(changed({"targets": TARGETS} | changes, SHIPPED_EVAL), "old.json")


def problems_of(translate, **changes):
    with pytest.raises(ParamsError) as caught:
        translate(**changes)
    assert str(caught.value).startswith("old.json: ")
    return caught.value.problems


def notes_on(translation, name):
    return [note for note in translation.notes if note.startswith(f"{name}: ")]


def flat(raw, prefix=""):
    for word, value in raw.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{word}.")
        else:
            yield prefix + word


def other_value(key, value):
    """Return another value of the key's kind."""
    if key.kind is FLAG:
        return not value
    if isinstance(value, dict):
        return {**value, "more": 1}
    if isinstance(value, list):
        return [*value, 7]
    if isinstance(value, str) or key.kind is TEXT:
        return f"{value}/other"
    return 3 if value is None else value + 1


# ---- the shipped file -------------------------------------------------------------------


def test_the_shipped_file_is_a_run_of_ours():
    catalog = load_catalog()

    params = check_run_params(run().params, catalog, "x")

    assert params.sampler.params.P == 4
    assert params.sampler.params.K == 2
    assert params.sampler.params.epoch == "identities"
    assert (params.optimizer.lr, params.optimizer.lr_backbone) == (0.1, 0.01)
    assert params.optimizer.weight_decay == 0.0005
    assert params.train.evaluate_every == 100
    assert params.classifier.bias


def test_the_shipped_network():
    params = run().params

    assert params["backbone"] == {
        "name": "resnet50",
        "params": {"last_stride": 1, "pretrained": "imagenet"},
    }
    assert params["head"] == [
        {
            "name": "pcb",
            "params": {
                "parts": 6,
                "part_dim": 256,
                "pooling": "max",
                "dropout": 0.5,
                "global_dim": 256,
            },
        }
    ]
    assert params["loss"] == [
        {
            "name": "softmax",
            "weight": 1,
            "on": "embedding",
            "reduce": {"name": "random_keep", "draws": 6},
            "params": {"label_smoothing": 0.0},
        }
    ]


def test_the_shipped_schedule_counts_epochs_five_times_and_after_warm_up():
    params = run().params

    assert params["schedule"]["params"]["milestones"] == [100 + 200, 100 + 400]
    assert params["schedule"]["params"]["milestones_from"] == "start"
    assert params["schedule"]["params"]["warmup_epochs"] == 100 - 1
    assert params["train"]["epochs"] == 5 * (4000 + 20)
    assert params["train"]["evaluate_every"] == 100


def test_the_learning_rate_is_the_predecessors():
    catalog = load_catalog()
    schedule = check_run_params(run().params, catalog, "x").schedule.build()

    def factor(epoch):
        progress = Progress(epoch=epoch, epochs=20100, step=epoch * 10, steps_per_epoch=10)
        return schedule(progress, [])

    expected = {0: 0.01, 1: 0.02, 99: 1, 299: 1, 300: 0.1, 499: 0.1, 500: 0.01}
    assert {epoch: factor(epoch) for epoch in expected} == pytest.approx(expected)


@pytest.mark.parametrize("warmup", [0, 1])
def test_no_warm_up(warmup):
    schedule = run(**RANDOM, **{"lr.warmup_epoch": warmup}).params["schedule"]["params"]

    assert schedule["warmup_epochs"] == 0
    assert schedule["milestones"] == [warmup + 40, warmup + 80]


def test_the_shipped_data_lie_beside_each_other():
    (entry,) = run().params["data"]["train"]

    assert entry["name"] == "image_folder"
    assert entry["params"] == {
        "root": "/cluster/data/market",
        "train": "train",
        "query": "query",
        "gallery": "gallery",
        "camera_pattern": "_c([0-9]+)",
        "junk": ["-1"],
    }


def test_the_shipped_pictures():
    operations = {entry["name"]: entry["params"] for entry in run().params["augmentation"]}

    assert list(operations) == ["resize", "pad_crop", "random_erasing", "normalize", "flip"]
    assert operations == {
        "resize": {"height": 384, "width": 128, "interpolation": "bilinear"},
        "pad_crop": {"padding": 10},
        "random_erasing": {"p": 0.6, "area": [0.02, 0.1], "aspect": [0.3, 3.33], "fill": "zero"},
        "normalize": {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]},
        "flip": {"p": 0.5},
    }


def test_translation_can_be_stored_and_leaves_the_input_alone():
    raw = copy.deepcopy(SHIPPED)
    translation = translate_run(raw, "old.json")
    old_eval = changed({"targets": TARGETS}, SHIPPED_EVAL)
    before = copy.deepcopy(old_eval)
    translated = translate_eval(old_eval, "old.json").params

    assert json.loads(json.dumps(translation.params)) == translation.params
    assert raw == SHIPPED
    translated["targets"]["market"]["name"] = "other"
    assert old_eval == before


# ---- every key --------------------------------------------------------------------------


def test_the_table_has_every_key():
    assert set(flat(SHIPPED)) == RUN_KEYS.keys() - NOT_SHIPPED
    assert SHIPPED_EVAL.keys() == EVAL_KEYS.keys() - {"data_augmentation", "num_labels", "targets"}


def outcome(translate, **changes):
    """Return the translation, or the problems of a file that has none."""
    try:
        return translate(**changes)
    except ParamsError as error:
        return error.problems


@pytest.mark.parametrize("name", RUN_KEYS)
def test_no_key_is_without_effect(name):
    value = SHIPPED
    for word in name.split("."):
        value = value.get(word) if isinstance(value, dict) else None

    assert outcome(run, **{name: other_value(RUN_KEYS[name], value)}) != run()


@pytest.mark.parametrize("name", EVAL_KEYS)
def test_no_key_of_the_evaluation_is_without_effect(name):
    base = {**SHIPPED_EVAL, "targets": TARGETS, "num_labels": 751}
    value = other_value(EVAL_KEYS[name], base.get(name, {}))

    assert outcome(evaluation, **{name: value}) != evaluation()


@pytest.mark.parametrize("name", RUN_KEYS)
def test_a_wrong_type_is_one_problem(name):
    (problem,) = problems_of(run, **{name: {"a": 1}})

    assert problem == f'{name}: expected {RUN_KEYS[name].kind.text}, got {{"a": 1}}'


@pytest.mark.parametrize("name", [n for n in EVAL_KEYS if EVAL_KEYS[n].kind is not ANYTHING])
def test_a_wrong_type_is_one_problem_of_the_evaluation(name):
    wrong = 1.5 if EVAL_KEYS[name].kind is OBJECT else {"a": 1}
    (problem,) = problems_of(evaluation, **{name: wrong})

    assert problem == f"{name}: expected {EVAL_KEYS[name].kind.text}, got {json.dumps(wrong)}"


@pytest.mark.parametrize("name", [n for n in RUN_KEYS if n not in NOT_SHIPPED])
def test_a_missing_key_is_a_problem_where_the_predecessor_needed_it(name):
    key = RUN_KEYS[name]
    if key.default is REQUIRED:
        (problem,) = problems_of(run, **{name: MISSING})
        assert problem == f"{name}: required, but missing; expected {key.kind.text}"
    elif name in ("batch_sampling_params.P", "batch_sampling_params.K"):
        (problem,) = problems_of(run, **{name: MISSING})
        assert problem == f"{name}: required with class_balanced, but missing"
    else:
        noise = name == "data_augmentation.gaussian_noise"
        assert noise or not notes_on(run(**{name: MISSING}), name) or not key.dead


def test_booleans_are_no_numbers():
    (problem,) = problems_of(run, **{"lr.fc_lr": True})

    assert problem == "lr.fc_lr: expected a number >= 0, got true"


def test_a_section_that_is_no_object_is_one_problem():
    assert problems_of(run, lr=0.1) == ["lr: expected an object, got 0.1"]


def test_all_problems_come_at_once():
    changes = {"fine_tune": 1, "lr.fc_lr": "0.1", "epochs": MISSING, "seed": 3}

    assert {line.split(":")[0] for line in problems_of(run, **changes)} == set(changes)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("batches_dirs", "unknown key; did you mean 'batches_dir'?"),
        ("lr.warmup_epochs", "unknown key; did you mean 'warmup_epoch'?"),
        ("lr.xyz", "unknown key"),
        ("data_augmentation.color_jiterring", "unknown key; did you mean 'colour_jiterring'?"),
        (
            "tri_loss_margin",
            "the README's name of tri_loss_params.margin, which is given too; keep one",
        ),
        ("epoch", "the README's name of epochs, which is given too; keep one"),
    ],
)
def test_unknown_keys(name, problem):
    assert problems_of(run, **{name: 1}) == [f"{name}: {problem}"]


def test_unknown_keys_of_the_evaluation():
    assert problems_of(evaluation, model_pth="x") == [
        "model_pth: unknown key; did you mean 'model_path'?"
    ]


# ---- features that are absent -----------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        (
            "data_augmentation.gaussian_noise",
            True,
            "expected false, got true; noise is not in reid-core",
        ),
        (
            "data_augmentation.gaussian_noise",
            MISSING,
            "expected false, got no value, which counts as true; noise is not in reid-core",
        ),
        ("data_augmentation.rotation", 10, "expected 0, got 10; rotation is not in reid-core"),
        (
            "evaluation_params.type",
            "msmt_evaluate",
            'expected "market_evaluate" or "classification_evaluate" or null, got "msmt_evaluate"; '
            "msmt_evaluate ranked as",
        ),
        ("evaluation_params.step", 500, "expected null, got 500; evaluation within an epoch"),
        ("gan_params.input_dim", 256, "expected 0, got 256; generators are not in reid-core"),
        ("gan_params.only_train", True, "expected false, got true; generators are not in"),
        (
            "model_params.model",
            "resnet_152",
            'expected "resnet_18" or "resnet_34" or "resnet_50" or "resnet_101", got "resnet_152"',
        ),
        ("model_params.last_conv_stride", 3, "expected 1 or 2, got 3; ResNets have no other"),
        ("model_params.feature_mask", True, "expected false, got true; the channel gate is not"),
        (
            "optimizer",
            "rmsprop",
            'expected "sgd" or "nesterov" or "adam" or "amsgrad", got "rmsprop"; rmsprop is not',
        ),
        ("parallels", [0, 1], "expected the number of one GPU, such as [0], got [0, 1]; training"),
        ("parallels", [], "expected the number of one GPU, such as [0], got []; training"),
        ("batches_dir", "", "expected the folder of the training images, got none"),
    ],
)
def test_absent_features_are_refused(name, value, problem):
    (line,) = problems_of(run, **{name: value})

    assert line.startswith(f"{name}: {problem}")


def test_another_protocol_is_refused():
    assert problems_of(evaluation, benchmark_type="msmt_evaluate") == [
        'benchmark_type: expected "market_evaluate" or "classification_evaluate", got '
        '"msmt_evaluate"; msmt_evaluate ranked as '
        "market_evaluate does with spectral_transform 0, so write those two and name the data in "
        "'targets'"
    ]


@pytest.mark.parametrize("margin", [[], [0.1, "a"], [-0.1], [0.3, 2.5], [True], 0.35])
def test_margins_that_no_loss_takes(margin):
    assert problems_of(run, **{"asoftmax_params.margin": margin}) == [
        "asoftmax_params.margin: expected 0 or a list of margins from 0 to 2 such as [0.35], got "
        + json.dumps(margin)
    ]


def test_focal_loss_over_a_margin_is_refused():
    assert problems_of(run, **MARGIN, focal_loss=True) == [
        "focal_loss: expected false with a margin, got true; reid-core's focal loss knows no "
        "margin; write false, or asoftmax_params.margin 0"
    ]


def test_draws_over_two_losses_are_refused():
    draws = {"model_params.random_drop_branchs": 6}
    assert problems_of(run, **MARGIN | draws) == [
        "model_params.random_drop_branchs: expected 0 with stripes, a global branch and a margin, "
        "got 6; the global branch had no margin, so it has a loss of its own, and reid-core draws "
        "among the branches of one loss; write 0"
    ]
    assert run(**MARGIN | draws | SINGLE).params["loss"][0]["reduce"]["draws"] == 6
    alone = {"model_params.feature_gobal_dim": 0}
    assert [loss["name"] for loss in run(**MARGIN | draws | alone).params["loss"]] == ["am_softmax"]


def test_margins_that_change_after_steps_are_refused_with_their_translation():
    changes = {"asoftmax_params.margin": [0.1, 0.2, 0.35], "asoftmax_params.step": 500}
    (line,) = problems_of(run, **SINGLE, **changes)

    assert line == (
        "asoftmax_params.margin: expected 0 or a single margin such as [0.1], got "
        "[0.1, 0.2, 0.35]; reid-core counts a margin's steps in epochs, and a file does not say "
        "how many training steps an epoch has; write [0.1] and "
        "--set 'loss.0.params.margin=[[0, 0.1], [500/S, 0.2], [1000/S, 0.35]]', where S is the "
        "number of steps of an epoch that a run prints at its start"
    )
    override = line.split("--set '")[1].split("'")[0].replace("1000/S", "5").replace("500/S", "2.5")
    translated = run(**SINGLE, **{"asoftmax_params.margin": [0.1]}).params
    params = check_run_params(apply_overrides(translated, [override], "x"), load_catalog(), "x")
    assert params.loss[0].params.margin == [[0, 0.1], [2.5, 0.2], [5, 0.35]]


def test_all_problems_of_a_margin_come_at_once():
    changes = {
        "asoftmax_params.margin": [0.1, 0.2],
        "focal_loss": True,
        "model_params.random_drop_branchs": 6,
    }

    assert {line.split(":")[0] for line in problems_of(run, **changes)} == set(changes)


def test_nothing_to_train_is_refused():
    (line,) = problems_of(run, **{"tri_loss_params.lambda_cls": 0})

    assert line.startswith("tri_loss_params.lambda_cls: 0 without triplets leaves nothing to train")


def test_stripes_without_a_feature_are_refused():
    (line,) = problems_of(run, **{"model_params.feature_dim": 5})

    assert line == (
        "model_params.feature_dim: expected at least pcb_n_parts (6), got 5: the stripes share it"
    )


def test_the_single_head_needs_spectral_trans():
    (line,) = problems_of(run, **SINGLE, **{"model_params.spectral_trans": MISSING})

    assert line == (
        "model_params.spectral_trans: required with pcb_n_parts 0, but missing; "
        "expected a number >= 0"
    )


@pytest.mark.parametrize(("name", "value"), [("crop_h", 0), ("crop_w", 0), ("crop_h", 256)])
def test_a_crop_of_another_size_than_the_image_is_refused(name, value):
    (line,) = problems_of(run, **{f"data_augmentation.{name}": value})

    assert line.startswith("data_augmentation.crop_h, crop_w: expected 384 x 128 like img_h, img_w")


# ---- the README's words -----------------------------------------------------------------


def in_the_readmes_words():
    """Return the shipped file as the README describes it."""
    raw = changed(dict.fromkeys(("optimizer", "epochs", "tri_loss_params"), MISSING))
    raw["batch_sampling_params"] = {"P": 4, "K": 2, "class_balanced": True}
    raw["evaluation_params"]["type"] = "None"
    return raw | {
        "batch_size": 64,
        "epoch": 4000,
        "tri_loss_margin": 0.16,
        "tri_loss_lambda_cls": 2,
    }


def test_a_file_in_the_readmes_words_is_the_same_as_one_in_those_of_the_code():
    raw = in_the_readmes_words()
    before = copy.deepcopy(raw)
    assert is_run(raw)
    found = translate_run(raw, "old.json")
    of_code = {"margin": 0.16, "lambda_tri": 1, "lambda_cls": 2, "use_adaptive_weight": False}
    same = run(**{"tri_loss_params": of_code, "evaluation_params.type": None})
    assert found.params == same.params
    assert raw == before
    for name in ("batch_size", "epoch", "tri_loss_margin", "tri_loss_lambda_cls"):
        (note,) = notes_on(found, name)
        assert "the README's name, is " in note
    assert 'evaluation_params.type: "None", the README\'s word, is null of the code' in found.notes


@pytest.mark.parametrize("word", ["batch_size", "epoch", "tri_loss_margin", "tri_loss_lambda_cls"])
def test_a_wrong_value_in_the_readmes_words_is_a_problem(word):
    raw = in_the_readmes_words() | {word: "many"}
    with pytest.raises(ParamsError):
        translate_run(raw, "old.json")


def test_unequal_padding():
    operations = run(**{"data_augmentation.padding_h": 20}).params["augmentation"]

    assert {"name": "pad_crop", "params": {"padding": [20, 10]}} in operations
    assert checked(**{"data_augmentation.padding_h": 20})


def test_classification():
    params = checked(**{"evaluation_params.type": "classification_evaluate"})
    assert [entry.bare_name for entry in params.evaluation] == ["classification_evaluate"]
    assert params.data.train[0].params.val == "val"
    assert params.data.train[0].params.camera_pattern is None
    scored = evaluation(benchmark_type="classification_evaluate")
    assert scored.params["evaluation"] == [{"name": "classification_evaluate"}]
    assert notes_on(scored, "spectral_transform") == [
        "spectral_transform: 0.7 dropped; classification_evaluate ranks nothing"
    ]
    check_eval_params(scored.params, load_catalog(), "x")


def test_decay_says_what_the_readme_and_the_code_count():
    (note,) = notes_on(run(), "lr.decay_step")
    assert "the README says that decay counts iterations with class_balanced" in note
    (note,) = notes_on(run(**RANDOM), "lr.decay_step")
    assert "README" not in note


# ---- choices ----------------------------------------------------------------------------


def checked(**changes):
    """Return our checked params of a changed file."""
    return check_run_params(run(**changes).params, load_catalog(), "x")


def test_the_single_head_without_the_spectral_transform():
    params = checked(**SINGLE, **{"model_params.spectral_trans": 0})

    assert params.head[0].name == "global"
    assert as_json(params.head[0]) == {
        "pooling": "avg",
        "embedding_dim": 256,
        "neck": "bn",
        "bn_bias": True,
        "dropout": 0.5,
    }


def test_the_spectral_head():
    head = checked(**SINGLE).head[0]

    assert head.name == "spectral"
    assert head.params.temperature == 0.3
    assert head.params.gate == 0.9
    assert head.params.normalize == "column"
    assert notes_on(run(**SINGLE), "model_params.spectral_trans")
    assert notes_on(run(**SINGLE), "model_params.feature_gobal_dim")


def test_triplets_are_summed_over_the_joint_stripes_and_the_global_branch():
    _, triplet = checked(**TRIPLET, **{"tri_loss_params.lambda_tri": 2}).loss

    assert triplet.name == "triplet"
    assert triplet.params.margin == 0.16
    assert (triplet.weight, triplet.on, triplet.reduce) == (2, "embedding", "sum")


def test_the_soft_margin():
    _, triplet = checked(**{"tri_loss_params.margin": "soft_margin"}).loss

    assert triplet.params.margin == "soft"


def test_triplets_alone():
    (loss,) = checked(**TRIPLET, **{"tri_loss_params.lambda_cls": 0}).loss

    assert loss.name == "triplet"


@pytest.mark.parametrize(
    ("off", "dropped"),
    [
        ({"tri_loss_params.margin": 0}, ["lambda_tri", "use_adaptive_weight"]),
        (RANDOM, ["margin", "lambda_tri", "use_adaptive_weight"]),
        ({"tri_loss_params.lambda_tri": 0}, ["margin", "use_adaptive_weight"]),
    ],
)
def test_triplets_that_the_predecessor_left_out(off, dropped):
    translation = run(**TRIPLET | off)

    assert [loss["name"] for loss in translation.params["loss"]] == ["softmax"]
    notes = [note for note in translation.notes if note.startswith("tri_loss_params.")]
    assert [note.split(":")[0].split(".")[1] for note in notes] == dropped
    assert all(" dropped; " in note for note in notes)


def test_a_margin_of_stripes_leaves_the_global_branch_without_one():
    params = checked(
        **MARGIN, **{"model_params.model": "resnet_18", "tri_loss_params.lambda_cls": 3}
    )
    stripes, whole = params.loss

    assert (stripes.name, stripes.branches) == ("am_softmax", "stripe_*")
    assert as_json(stripes) == {"form": "slope", "scale": "norm", "margin": 0.3}
    assert (whole.name, whole.branches) == ("softmax", "global")
    assert whole.params.label_smoothing == 0
    for loss in params.loss:
        assert (loss.weight, loss.on, loss.reduce) == (3, "embedding", "sum")
    assert (params.classifier.bias, params.classifier.init_std) == (True, 1 / 16)
    check_on_meta(params, load_catalog())


@pytest.mark.parametrize("temperature", [0, 0.3])
def test_a_margin_of_the_single_head(temperature):
    changes = {"model_params.model": "resnet_18", "model_params.spectral_trans": temperature}
    params = checked(**MARGIN, **SINGLE, **changes)

    assert [(loss.name, loss.branches) for loss in params.loss] == [("am_softmax", None)]
    assert (params.classifier.bias, params.classifier.init_std) == (False, 1 / 16)
    check_on_meta(params, load_catalog())


def test_classifiers_under_a_margin_start_with_rows_of_a_length_near_1():
    classifier = checked(**MARGIN, **SINGLE).classifier
    generator = torch.Generator().manual_seed(0)
    rows = torch.normal(0, classifier.init_std, (1000, 256), generator=generator)

    # The squared length is chi-squared: mean 1, standard deviation sqrt(2 / 256).
    assert rows.square().sum(dim=1).mean().item() == pytest.approx(1, abs=5 * (2 / 256e3) ** 0.5)


# ---- published values of the losses -----------------------------------------------------

PIDS = torch.tensor([0, 0, 1, 1, 2, 2, 3, 3])
FEATURES = torch.tensor(
    [
        [(1 + 0.25 * i) * math.sin(1 + 3 * i + 2 * k**2 + 0.5 * i * k) for k in range(4)]
        for i in range(8)
    ],
    dtype=torch.float64,
)
WEIGHT = torch.tensor(
    [[math.cos(0.3 + c + 1.7 * k) for k in range(4)] for c in range(5)], dtype=torch.float64
)
COSINES = torch.tensor(
    [[0.9 * math.cos(0.4 + 1.3 * i + 2.1 * c) for c in range(5)] for i in range(8)],
    dtype=torch.float64,
)


def value_of(entry, logits=None):
    """Return the value of a checked entry of the params' loss list on the published inputs."""
    branch = BranchSpec("global", 4, "global", frozenset({"id", "metric"}))
    loss = entry.build(dim=4, num_pids=5, branch=branch)
    progress = Progress(epoch=0, epochs=1, step=0, steps_per_epoch=1)
    return loss(LossInput(FEATURES, PIDS, PIDS, progress, WEIGHT, logits)).value.item()


@pytest.mark.parametrize(
    ("margin", "scale", "value"),
    [([0.3], 0, 3.536334), ([0.3], 15, 28.179533), ([0], 0, 2.718118), ([0.3, 0.3], 0, 3.536334)],
)
def test_the_margin_has_the_predecessors_values(margin, scale, value):
    changes = {"asoftmax_params.margin": margin, "asoftmax_params.scale": scale}
    (loss,) = checked(**MARGIN | changes, **SINGLE).loss

    assert value_of(loss) == pytest.approx(value, abs=2e-6)


def test_a_margin_without_a_scale_has_the_predecessors_default():
    (loss,) = checked(**MARGIN, **SINGLE, **{"asoftmax_params.scale": MISSING}).loss

    assert loss.params.scale == 30


def test_the_focal_loss_has_the_predecessors_value():
    params = checked(focal_loss=True)
    (loss,) = params.loss

    assert loss.reduce == checked().loss[0].reduce
    assert params.classifier.bias
    assert value_of(loss, logits=3 * COSINES) == pytest.approx(2.535985, abs=2e-6)


@pytest.mark.parametrize(
    ("margin", "weighted", "value"),
    [
        (0.16, False, 2.007854),
        ("soft_margin", False, 2.075817),
        (0.16, True, 1.532262),
        ("soft_margin", True, 1.629675),
    ],
)
def test_hard_triplets_have_the_predecessors_values_and_weighted_ones_are_larger(
    margin, weighted, value
):
    changes = {"tri_loss_params.margin": margin, "tri_loss_params.use_adaptive_weight": weighted}
    _, loss = checked(**changes).loss

    assert loss.params.mining == ("weighted" if weighted else "hard")
    if weighted:
        assert value_of(loss) > value
    else:
        assert value_of(loss) == pytest.approx(value, abs=2e-6)


def test_all_branches_without_random_draws():
    assert checked(**{"model_params.random_drop_branchs": 0}).loss[0].reduce == "sum"


def test_random_sampling_has_no_factor_of_five():
    params = checked(**RANDOM)

    assert params.sampler.name == "random"
    assert params.sampler.params.batch_size == 64
    assert params.schedule.params.milestones == [20 + 40, 20 + 80]
    assert params.train.epochs == 4020
    assert params.train.evaluate_every == 20
    assert notes_on(run(**RANDOM), "batch_sampling_params.P")


@pytest.mark.parametrize(
    ("word", "name", "expected"),
    [
        ("sgd", "sgd", {"momentum": 0.9, "nesterov": False}),
        ("nesterov", "sgd", {"momentum": 0.9, "nesterov": True}),
        ("adam", "adam", {"beta1": 0.9, "beta2": 0.999, "amsgrad": False}),
        ("amsgrad", "adam", {"beta1": 0.9, "beta2": 0.999, "amsgrad": True}),
    ],
)
def test_optimizers(word, name, expected):
    optimizer = checked(optimizer=word).optimizer

    assert (optimizer.name, as_json(optimizer)) == (name, expected)


def test_evaluation_off():
    params = checked(**{"evaluation_params.type": None})

    assert params.evaluation == []
    assert params.train.evaluate_every == 0


def test_the_predecessors_protocol():
    (entry,) = checked().evaluation

    assert entry.params.ap == "trapezoid"
    assert entry.params.denominator == "all"
    assert entry.params.junk_rule == "cross_camera"


def test_pictures_as_wished():
    changes = {"mirror": False, "colour_jiterring": True}
    operations = checked(**{f"data_augmentation.{k}": v for k, v in changes.items()}).augmentation

    assert [entry.name for entry in operations] == [
        "resize",
        "pad_crop",
        "color_jitter",
        "random_erasing",
        "normalize",
    ]


def test_no_padding_means_no_crop():
    translation = run(**{"data_augmentation.padding_h": 0})

    assert "pad_crop" not in [entry["name"] for entry in translation.params["augmentation"]]
    assert notes_on(translation, "data_augmentation.padding_w")


@pytest.mark.parametrize(
    ("changes", "name", "text"),
    [
        ({"data_augmentation.imagenet_static": False}, None, "false: mean and std 0.5 in"),
        ({"fine_tune": True}, None, "the backbone's BN statistics stay fixed too"),
        ({"fine_tune": True}, "lr.base_lr", "0.01 dropped; fine_tune freezes the backbone"),
        ({"pretrain_snapshot": "a.pth"}, None, "it must be a weights file of reid-core"),
        ({"model_params.model": "resnet_18"}, None, "the predecessor could not build resnet18"),
        ({"model_params.feature_dim": 1537}, None, "1537 counts as 1536: 256 for each of 6"),
        ({"model_params.feature_gobal_dim": 0}, None, "0: stripes alone; the predecessor could"),
        ({}, "model_params.spectral_trans", "0.3 dropped; it counts with pcb_n_parts 0 only"),
        ({}, "model_params.pcb_n_parts", "max pooling and dropout 0.5 after BN, as in the"),
        ({}, "asoftmax_params.margin", "0: linear classifiers with a bias, as in the"),
        ({}, "asoftmax_params.scale", "0 dropped; margin 0 is a plain classifier"),
        ({}, "asoftmax_params.step", "2000 dropped; margin 0 is a plain classifier"),
        (MARGIN, None, "(1 + m) cos - m of the right identity, as in the predecessor's source; A"),
        (MARGIN, "asoftmax_params.step", "2000 dropped; a single margin has no steps"),
        (MARGIN, "asoftmax_params.scale", "0: cosines times the feature's length"),
        (
            {"asoftmax_params.scale": 15} | MARGIN,
            None,
            "15: cosines times 15, that of the right identity times the feature's length too",
        ),
        ({"focal_loss": True}, None, "gamma 2, as in the predecessor's source"),
        ({}, "asoftmax_params.unlabel_fold", "0 dropped; the predecessor filled a buffer"),
        ({}, "batch_sampling_params.softmax_only", "false dropped; the predecessor never read"),
        ({}, "batch_sampling_params.batch_size", "64 is the batch of evaluation only"),
        ({}, "data_augmentation.colour_jitering", "false dropped; the predecessor never read"),
        ({}, "data_augmentation.random_erasing", "p 0.6, at most a tenth of the area, black"),
        ({"data_augmentation.colour_jiterring": True}, None, "it comes before random erasing"),
        (
            {},
            "epochs",
            "4000 counts as 20000: times 5 with class_balanced, as the predecessor did; w",
        ),
        (RANDOM, "epochs", "with the warm-up added, training ends after 4020, where the"),
        (RANDOM, "lr.decay_step", "with the warm-up added, milestones [60, 100]"),
        ({}, "evaluation_params.epoch", "20 counts as 100: times 5 with class_balanced"),
        ({}, "evaluation_params.type", "AP is the trapezoid and every query counts"),
        ({}, "gan_params.ngf", "64 dropped; input_dim 0 switches the generator off"),
        ({}, "lr.decay_step", "[40, 80] counts as [200, 400]: times 5 with class_balanced"),
        ({}, "lr.warmup_epoch", "20 counts as 100: times 5 with class_balanced"),
        ({}, "optimizer", "momentum 0.9, which was in the predecessor's source"),
        ({}, "parallels", "[4] became device 'auto'"),
        ({}, "tri_loss_params.lambda_tri", "1 dropped; tri_loss_params.margin 0 switches"),
        ({}, "working_dir", "kept; if it is another machine's, --set working_dir=..."),
        ({}, "batches_dir", "the folders 'query' and 'gallery' are expected beside it"),
        ({"evaluation_params.type": None}, "batches_dir", "a class_mapping.json is not read"),
        (TRIPLET, None, "triplets see each branch after BN and dropout"),
        (
            {"tri_loss_params.use_adaptive_weight": True} | TRIPLET,
            None,
            "an anchor is none of its own positives; the predecessor counted it, at distance 0",
        ),
        ({}, "tri_loss_params.use_adaptive_weight", "false dropped; tri_loss_params.margin 0"),
        *(
            (TRIPLET | {"tri_loss_params.lambda_cls": 0}, name, text)
            for name, text in (
                ("asoftmax_params.margin", "0 dropped; it counts with lambda_cls above 0 only"),
                ("asoftmax_params.step", "2000 dropped; it counts with lambda_cls above 0 only"),
                ("asoftmax_params.scale", "0 dropped; it counts with lambda_cls above 0 only"),
                ("focal_loss", "false dropped; it counts with lambda_cls above 0 only"),
                (
                    "model_params.random_drop_branchs",
                    "6 dropped; it counts with lambda_cls above 0 only",
                ),
            )
        ),
        ({"evaluation_params.type": None}, "evaluation_params.epoch", "20 dropped; evaluation_par"),
    ],
)
def test_notes(changes, name, text):
    notes = notes_on(run(**changes), name or next(iter(changes)))

    assert [note for note in notes if note.partition(": ")[2].startswith(text)]


def test_a_margin_says_what_became_of_the_global_branch():
    (note,) = notes_on(run(**MARGIN), "asoftmax_params.margin")
    (alone,) = notes_on(run(**MARGIN, **SINGLE), "asoftmax_params.margin")

    assert (
        note
        == f"{alone}, that of the global branch, which has no margin, too: its own were shorter"
    )


@pytest.mark.parametrize(
    "changes",
    [
        {},
        SINGLE,
        TRIPLET,
        RANDOM | TRIPLET,
        {"fine_tune": True},
        MARGIN | TRIPLET | {"tri_loss_params.use_adaptive_weight": True},
        TRIPLET | {"tri_loss_params.lambda_cls": 0, "focal_loss": True},
    ],
)
def test_a_key_has_one_note_at_most(changes):
    names = [note.split(":")[0] for note in run(**changes).notes]

    assert len(set(names)) == len(names)
    assert {name.split(",")[0] for name in names} <= RUN_KEYS.keys()


def test_the_way_to_am_softmax_works():
    translation = run(**MARGIN)
    (note,) = notes_on(translation, "asoftmax_params.margin")
    override = note.split("--set ")[1].split(";")[0]
    params = apply_overrides(translation.params, [override], "x")
    loss = check_run_params(params, load_catalog(), "x").loss[0]

    assert (loss.name, loss.params.form) == ("am_softmax", "additive")


def test_pretrain_snapshot_is_kept():
    assert run().params["train"]["pretrain_snapshot"] is None
    assert run(pretrain_snapshot="a.pth").params["train"]["pretrain_snapshot"] == "a.pth"


# ---- evaluation -------------------------------------------------------------------------


def test_the_evaluation_is_one_of_ours():
    params = check_eval_params(evaluation().params, load_catalog(), "x")

    assert params.weights == SHIPPED_EVAL["model_path"]
    assert params.batch_size == 512
    assert params.targets is not None
    assert list(params.targets) == ["market"]
    assert params.evaluation is not None
    assert params.evaluation[0].params.ap == "trapezoid"


def test_missing_targets_can_be_given_as_an_override():
    translation = translate_eval(SHIPPED_EVAL, "old.json")
    override = f"targets.market={json.dumps(TARGETS['market'])}"

    assert "--set" in notes_on(translation, "targets")[0]
    with pytest.raises(ParamsError, match="'weights' needs 'targets'"):
        check_eval_params(translation.params, load_catalog(), "x")
    params = apply_overrides(translation.params, [override], "x")
    check_eval_params(params, load_catalog(), "x")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("model_path", "it must be a weights file of reid-core"),
        ("benchmark_type", "AP is the trapezoid and every query counts"),
        ("spectral_transform", "temperature of spectral_refine over the first 50 images, junk in"),
        ("gpus", "[3] became device 'auto'"),
        ("img_h", "256 dropped; a weights file carries its own network and preprocessing"),
        ("model_params", '{"feature_dim": 256,'),
        ("feature_path", '"f.pkl" dropped; to score saved features'),
        ("result_log_file", '"/cluster/experiments/spectral/result.log" dropped; the predecessor'),
    ],
)
def test_notes_of_the_evaluation(name, text):
    (note,) = notes_on(evaluation(feature_path="f.pkl"), name)

    assert note.startswith(f"{name}: {text}")


# ---- the numbers of the evaluation ------------------------------------------------------


def predecessors_evaluation(query, gallery, temperature):
    """Return mAP and rank-1 in float64, step by step as the predecessor did.

    Its junk is what the query's own camera shows of the person and what has the identity -1.
    """
    q, g = (f.values["embedding"].astype(np.float64) for f in (query, gallery))
    q, g = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (q, g))
    total = first = 0.0
    for vector, pid, camid in zip(q, query.pids, query.camids, strict=True):
        ranking = np.argsort(-(g @ vector))
        if temperature:
            group = g[ranking[:50]]
            weights = np.exp(group @ group.T / temperature)
            means = weights / weights.sum(axis=1, keepdims=True) @ group
            ranking[:50] = ranking[:50][np.argsort(-(means @ vector))]
        same = gallery.pids[ranking] == pid
        junk = (same & (gallery.camids[ranking] == camid)) | (gallery.pids[ranking] == "-1")
        hits = np.flatnonzero(same[~junk])
        if not len(hits):
            continue
        before = [i / rank if rank else 1.0 for i, rank in enumerate(hits)]
        after = [(i + 1) / (rank + 1) for i, rank in enumerate(hits)]
        total += np.mean((np.array(before) + np.array(after)) / 2)
        first += hits[0] == 0
    return total / len(q), first / len(q)


def drawn(rng, split, count, people):
    """Return features of people around their centres; the one called -1 is junk."""
    pids = rng.integers(-1, people, count)
    centres = np.random.default_rng(0).standard_normal((people + 1, 12))
    rows = centres[pids + 1] + 1.5 * rng.standard_normal((count, 12))
    return Features(
        values={"embedding": (rows * rng.uniform(0.5, 5, (count, 1))).astype(np.float32)},
        pids=pids.astype(str),
        camids=rng.integers(0, 3, count),
        names=np.array([f"{split}/{i}.jpg" for i in range(count)]),
        junk=pids == -1,
        distractor=np.zeros(count, dtype=bool),
    )


@pytest.mark.parametrize("temperature", [0, 0.1, 0.7])
@pytest.mark.parametrize("images", [40, 200])
def test_the_evaluation_gives_the_predecessors_scores(temperature, images):
    rng = np.random.default_rng(images)
    query, gallery = drawn(rng, "query", 40, 12), drawn(rng, "gallery", images, 10)
    query = query.rows(np.flatnonzero(~query.junk))
    translated = evaluation(spectral_transform=temperature).params
    catalog = load_catalog()
    entries = check_eval_params(translated, catalog, "x").evaluation
    extract = features_from_files({"query": query, "gallery": gallery})
    (result,) = evaluate(entries, ["market"], extract)
    metrics = result.scores.metrics

    expected = predecessors_evaluation(query, gallery, temperature)
    assert (metrics["mAP"], metrics["rank1"]) == pytest.approx(expected, abs=1e-9)
    unrefined, _ = predecessors_evaluation(query, gallery, 0)
    assert (metrics["mAP"] != pytest.approx(unrefined)) == (temperature > 0)


# ---- recognition ------------------------------------------------------------------------


def test_files_of_the_predecessor_are_recognised():
    assert is_run(SHIPPED)
    assert is_run({"batches_dir": "x"})
    assert is_eval(SHIPPED_EVAL)
    assert is_eval({"model_path": "x", "targets": {}})


def test_each_of_the_predecessors_files_is_recognised_as_what_it_is():
    assert not is_eval(SHIPPED)
    assert not is_run(SHIPPED_EVAL)
    of_runs = {name.split(".")[0] for name in RUN_KEYS}
    assert not EVAL_ONLY & of_runs
    assert not RUN_ONLY & EVAL_KEYS.keys()


def test_our_files_are_not_taken_for_the_predecessors():
    assert not is_run(run().params)
    assert not is_run({})
    assert not is_run({"data": {}, "backbone": {}, "parallels": [0, 1]})
    assert not is_eval(evaluation().params)
    assert not is_eval({"run": "runs/a", "batch_size": 4})

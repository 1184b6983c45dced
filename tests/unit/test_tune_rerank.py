"""The search over re-ranking parameters: what it searches on, what it finds, what it refuses."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reid_core import ReidError
from reid_core.cli import main
from reid_core.contracts import Features
from reid_core.features.feature_files import save_features
from reid_core.params.validation import check_run_params
from reid_core.runs.start_and_resume import start_train
from reid_evaluate.ranking.images import ImageSet
from reid_evaluate.ranking.keys import compare
from reid_evaluate.ranking.rank_queries import TIE_RULE, rank_queries
from reid_evaluate.reranking.k_reciprocal import re_ranked
from reid_evaluate.reranking.rerank_search import pairs_of, search
from reid_plugins.command._rerank_tuning import (
    Choice,
    _validation_split,
    images_of_run,
    queries_among,
    trials,
)


def people(split, cameras=(0, 1), count=8, pictures=6, seed=0):
    """Pictures of each person around the person's own direction, cameras in turn."""
    rng = np.random.default_rng([seed, split == "query"])
    labels = np.repeat(np.arange(count), pictures)
    centres = np.random.default_rng(99).standard_normal((count, 32))
    vectors = centres[labels] + 1.5 * rng.standard_normal((len(labels), 32))
    flags = np.zeros(len(labels), dtype=bool)
    camids = np.resize(np.array(cameras) + (10 if split == "gallery" else 0), len(labels))
    return Features(
        values={"embedding": vectors.astype(np.float32)},
        pids=labels.astype(np.str_),
        camids=camids if min(cameras) >= 0 else np.full(len(labels), -1),
        names=np.array([f"{split}/{i}" for i in range(len(labels))]),
        junk=flags,
        distractor=flags.copy(),
    )


def image_set(features):
    columns = ("pids", "camids", "names", "junk", "distractor")
    return ImageSet(
        features.values["embedding"], **{name: getattr(features, name) for name in columns}
    )


@pytest.fixture
def files(tmp_path):
    for split in ("query", "gallery"):
        save_features(tmp_path / f"{split}.npz", people(split))
    return [str(tmp_path / "query.npz"), str(tmp_path / "gallery.npz")]


# ---- the search -------------------------------------------------------------------------


@pytest.mark.parametrize(("block_size", "at_once"), [(5, 2), (1000, 4)])
def test_every_trial_is_a_whole_re_ranking(block_size, at_once, monkeypatch):
    monkeypatch.setattr("reid_evaluate.reranking.rerank_search.PAIRS_AT_ONCE", at_once)
    query, gallery = (image_set(people(split)) for split in ("query", "gallery"))
    found = list(
        search(
            compare(query, gallery),
            [(4, 2), (8, 1), (8, 4)],
            [0.0, 0.3, 1.0],
            block_size=block_size,
        )
    )
    plain = rank_queries(compare(query, gallery))
    assert (found[0].k1, found[0].mean_ap) == (0, pytest.approx(plain.ap.mean()))
    assert len(found) == 1 + 3 * 3
    for trial in found[1:]:

        def step(comparison, trial=trial):
            return re_ranked(comparison, k1=trial.k1, k2=trial.k2, lambda_value=trial.lambda_value)

        whole = rank_queries(compare(query, gallery, postprocess=[step]))
        assert trial.mean_ap == pytest.approx(whole.ap.mean(), abs=1e-6)
        assert trial.rank1 == pytest.approx((whole.first_rank == 1).mean())


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(-1, 2)), min_size=1, max_size=30),
    st.integers(0, 100),
)
def test_queries_leave_images_of_their_person(images, seed):
    pids = np.array([str(pid) for pid, _ in images])
    camids = np.array([camid for _, camid in images])
    chosen = queries_among(pids, camids, np.random.default_rng(seed))
    for pid in set(pids):
        own = pids == pid
        pictures = [(camids[own] == camid).sum() for camid in set(camids[own])]
        if all(number == 1 for number in pictures):
            assert not chosen[own].any()  # nothing would be left to find
        else:
            assert chosen[own].sum() == len(pictures)
            assert not chosen[own].all()


# ---- the command ------------------------------------------------------------------------


def test_the_best_choice_is_printed_as_params(files, tmp_path, capsys):
    out = tmp_path / "trials.json"
    options = ["--k1", "4", "6", "--k2", "1", "3", "--lambda", "0.3", "0.7", "--device", "cpu"]
    assert main(["tune-rerank", "--features", *files, *options, "--json", str(out)]) == 0
    text = capsys.readouterr().out
    written = json.loads(out.read_text())
    assert len(written["trials"]) == 1 + 3 * 2  # k2 of 3 is too many for k1 of 4
    best = max(written["trials"][1:], key=lambda trial: trial["mean_ap"])
    assert best["mean_ap"] > written["trials"][0]["mean_ap"]
    params = {name: best[name] for name in ("k1", "k2", "lambda_value")}
    assert f'"postprocess": {json.dumps([{"name": "k_reciprocal", "params": params}])}' in text
    assert "   6 of 6: k1   6  k2  3" in text
    assert written["card"]["junk_rule"] == "cross_camera"
    assert written["card"]["sizes"] == {"query": 48, "gallery": 48}


def test_the_card_says_how_it_was_scored(files, tmp_path, capsys):
    out = tmp_path / "trials.json"
    options = ["--k1", "6", "--k2", "3", "--lambda", "0.3", "--power", "2", "--device", "cpu"]
    assert main(["tune-rerank", "--features", *files, *options, "--json", str(out)]) == 0
    text = capsys.readouterr().out
    params = {"k1": 6, "k2": 3, "lambda_value": 0.3, "power": 2}
    assert f'"postprocess": {json.dumps([{"name": "k_reciprocal", "params": params}])}' in text
    card = json.loads(out.read_text())["card"]
    assert card["ap"].startswith("standard: ")
    assert card["queries_without_match"].startswith("valid: ")
    assert (card["power"], card["flip"], card["distance"]) == (2, "none", "cosine")
    assert (card["ties"], card["normalization"]) == (TIE_RULE, "L2 per image")


def test_images_without_cameras_are_searched_on_too(tmp_path, capsys):
    for split in ("query", "gallery"):
        save_features(tmp_path / f"{split}.npz", people(split, cameras=(-1,)))
    files = [str(tmp_path / f"{split}.npz") for split in ("query", "gallery")]
    options = ["--k1", "4", "--k2", "1", "--lambda", "0.5", "--device", "cpu"]
    assert main(["tune-rerank", "--features", *files, *options]) == 0
    assert "junk_rule: exclude_self" in capsys.readouterr().out


def test_without_cameras_an_own_image_is_known_by_its_name(tmp_path, capsys):
    for split in ("query", "gallery"):
        found = people(split)
        arrays = {"pids": found.pids, "values.embedding": found.values["embedding"]}
        np.savez(tmp_path / f"{split}.npz", **arrays)
    one, other = (str(tmp_path / f"{split}.npz") for split in ("query", "gallery"))
    options = ["--k1", "4", "--k2", "1", "--lambda", "0.5", "--device", "cpu"]
    assert main(["tune-rerank", "--features", one, other, *options]) == 2
    assert "have neither cameras nor names" in capsys.readouterr().err
    assert main(["tune-rerank", "--features", one, one, *options]) == 0  # the rows tell


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "name a RUN, or two files with --features, and not both"),
        (["run", "--features", "a", "b"], "and not both"),
        (
            ["--features", "a", "b", "--split", "test", "--share", "0.5"],
            "--split and --share would choose images of a RUN",
        ),
        (["--features", "a", "b", "--target", "t"], "--target would choose images of a RUN"),
        (["--features", "a", "b", "--seed", "0"], "--seed would choose images of a RUN"),
        (["run", "--split", "test", "--seed", "1"], "--seed: nothing is drawn from the test"),
        (["run", "--k1", "0"], "--k1 and --k2 must be 1 or larger"),
        (["run", "--k1", "2", "--k2", "2"], "--k2: none is at most 0.7 times a value of --k1"),
        (["run", "--lambda", "1.5"], "--lambda must be from 0 to 1"),
        (["run", "--share", "0"], "--share must be above 0 and up to 1, got 0"),
        (["run", "--seed", "-1"], "--seed must be 0 or larger, got -1"),
        (["no-such-run"], "no-such-run"),
        (["--features", "no-such-file.npz", "g.npz"], "no-such-file.npz"),
    ],
)
def test_what_cannot_work_is_refused(options, message, capsys):
    assert main(["tune-rerank", *options]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


def test_more_neighbours_than_images_are_refused(files, capsys):
    options = ["--k1", "500", "--k2", "1", "--device", "cpu"]
    assert main(["tune-rerank", "--features", *files, *options]) == 2
    assert "tune-rerank: " in capsys.readouterr().err


def test_pairs_leave_out_large_k2():
    assert pairs_of([3, 10], [1, 2, 8]) == [(3, 1), (3, 2), (10, 1), (10, 2)]


# ---- the images of a run ----------------------------------------------------------------


@pytest.fixture(scope="module")
def run_with(tmp_path_factory, tiny_catalog):
    """A function from the first evaluation to a short run whose head gives an uncertainty."""
    people = {
        "train_identities": 6, "test_identities": 4, "cameras": 3, "distractors": 2, "junk": 2,
        "height": 32, "width": 16,
    }  # fmt: skip
    params = {
        "data": {"train": [{"name": "synthetic_market", "params": people}]},
        "backbone": {"name": "tiny"},
        "head": [{"name": "uncertain", "params": {"neck": "none"}}],
        "loss": [{"name": "softmax"}],
        "sampler": {"name": "class_balanced", "params": {"P": 3, "K": 2}},
        "augmentation": [
            {"name": "resize", "params": {"height": 32, "width": 16}},
            {"name": "normalize"},
        ],
        "optimizer": {"name": "adam", "lr": 0.001},
        "train": {"epochs": 1, "device": "cpu"},
        "working_dir": str(tmp_path_factory.mktemp("tune")),
    }

    def start(name, **entry):
        whole = {**params, "evaluation": [{"name": "market_evaluate", **entry}]}
        checked = check_run_params(whole, tiny_catalog, "test")
        return str(start_train(checked, tiny_catalog, name).path)

    return start


@pytest.fixture(scope="module")
def run(run_with):
    return run_with("plain", distance={"name": "uncertain"}, params={"protocol": "no_camera"})


def test_the_test_set_is_left_alone_unless_asked_for(run, tiny_catalog):
    drawn = images_of_run(run, Choice(None, 0.5, 0, None), tiny_catalog, "cpu")
    asked = images_of_run(run, Choice("test", None, 0, None), tiny_catalog, "cpu")
    train, test = ({*i.query.pids, *i.gallery.pids} for i in (drawn, asked))
    assert not train & test
    assert len(train) == 3
    assert drawn.card["split"].startswith("train: 3 of the training identities (share 0.5)")
    assert asked.card["split"] == "test: query and gallery, as asked for by --split test"
    assert not {*drawn.query.names} & {*drawn.gallery.names}
    same, other = (
        images_of_run(run, Choice("train", 0.5, seed, None), tiny_catalog, "cpu") for seed in (0, 5)
    )
    assert same.query.names.tolist() == drawn.query.names.tolist()
    assert other.query.names.tolist() != drawn.query.names.tolist()


def test_the_validation_split_comes_before_the_training_identities():
    def store(*splits):
        return SimpleNamespace(index=SimpleNamespace(statistics=lambda: dict.fromkeys(splits)))

    assert _validation_split(store("train", "query", "val"), "people") == "val"
    assert _validation_split(store("query", "train"), "people") == "train"
    with pytest.raises(ReidError, match=r"has neither a val nor a train split \(splits: query\)"):
        _validation_split(store("query"), "people")


def test_images_are_scored_as_the_run_scores_them(run, tiny_catalog):
    """With its distance, which reads an aux value, and with the junk rule of its protocol."""
    images = images_of_run(run, Choice("train", 1.0, 0, None), tiny_catalog, "cpu")
    found = list(trials(images, [(3, 1)], [0.5], 1, "cpu"))
    assert [trial.k1 for trial in found] == [0, 3]
    assert images.card["distance"] == "uncertain(factor=0.0)"
    assert images.card["junk_rule"] == "exclude_self"


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        (Choice("val", None, 0, None), "no images in split 'val'; see --split"),
        (Choice(None, 0.3, 0, "here"), "--target: no target 'here' (targets: synthetic_market)"),
        (Choice("test", 0.3, 0, None), "--share: is of train, and split 'test' is searched on"),
    ],
)
def test_images_that_are_not_there(run, tiny_catalog, choice, message):
    with pytest.raises(ReidError) as caught:
        images_of_run(run, choice, tiny_catalog, "cpu")
    assert message in str(caught.value)


def test_a_distance_that_depends_on_the_direction_is_refused(run_with, tiny_catalog):
    run = run_with("one-way", distance={"name": "uncertain", "params": {"factor": 0.5}})
    with pytest.raises(ReidError) as caught:
        images_of_run(run, Choice(None, 0.3, 0, None), tiny_catalog, "cpu")
    assert str(caught.value) == (
        "tune-rerank: k-reciprocal re-ranking needs a symmetric distance, and market_evaluate of "
        "this run has uncertain(factor=0.5)"
    )

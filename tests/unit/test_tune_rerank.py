"""The search over re-ranking parameters: what it searches on, what it finds, what it refuses."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reid_core.cli import main
from reid_core.contracts import Features
from reid_core.feature_files import save_features
from reid_evaluate.compare import compare
from reid_evaluate.images import ImageSet
from reid_evaluate.k_reciprocal import re_ranked
from reid_evaluate.ranking import rank_queries
from reid_evaluate.rerank_search import pairs_of, search
from reid_plugins.command._rerank_tuning import queries_among


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
    monkeypatch.setattr("reid_evaluate.rerank_search.PAIRS_AT_ONCE", at_once)
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


def test_images_without_cameras_are_searched_on_too(tmp_path, capsys):
    for split in ("query", "gallery"):
        save_features(tmp_path / f"{split}.npz", people(split, cameras=(-1,)))
    files = [str(tmp_path / f"{split}.npz") for split in ("query", "gallery")]
    options = ["--k1", "4", "--k2", "1", "--lambda", "0.5", "--device", "cpu"]
    assert main(["tune-rerank", "--features", *files, *options]) == 0
    assert "junk_rule: exclude_self" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "name a RUN, or two files with --features, and not both"),
        (["run", "--features", "a", "b"], "and not both"),
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

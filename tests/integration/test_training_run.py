"""A whole run: it learns, it is recorded, it repeats, and everything it leaves scores alike."""

import copy
import io
import json
import math
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import textwrap
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from reid_core import EvaluatorComponent, ObjectiveComponent, ReidError, hookimpl
from reid_core.cli import main
from reid_core.contracts import Scores, Term
from reid_core.evaluation.evaluate_command import run_evaluation
from reid_core.files import write_text
from reid_core.params.validation import check_eval_params, check_run_params
from reid_core.run_directory import RunDirectory
from reid_core.runs.start_and_resume import resume_train, start_train
from reid_plugins.command._pictures import draw_evaluation, draw_run

pytestmark = pytest.mark.usefixtures("one_thread")

PEOPLE = {
    "train_identities": 20,
    "test_identities": 12,
    "cameras": 3,
    "train_images": 3,
    "distractors": 6,
    "junk": 6,
    "height": 32,
    "width": 16,
}


def people_params(folder, **train):
    """Return params of a training that learns to tell drawn people apart."""
    return {
        "data": {"train": [{"name": "synthetic_market", "params": PEOPLE}]},
        "backbone": {"name": "resnet18", "params": {"pretrained": "none"}},
        "head": [{"name": "global"}],
        "loss": [{"name": "softmax"}, {"name": "triplet"}],
        "sampler": {"name": "class_balanced", "params": {"P": 8, "K": 4}},
        "augmentation": [
            {"name": "resize", "params": {"height": 32, "width": 16}},
            {"name": "normalize"},
            {"name": "flip"},
        ],
        "optimizer": {"name": "adam", "lr": 0.001},
        "schedule": {"name": "cosine"},
        "train": {"epochs": 10, "device": "cpu", "log_every": 1, "baselines": True, **train},
        "evaluation": [{"name": "market_evaluate"}],
        "working_dir": str(folder),
    }


@pytest.fixture(scope="module")
def trained(catalog, tmp_path_factory):
    """A finished run with its pictures."""
    folder = tmp_path_factory.mktemp("trained")
    raw = people_params(folder, evaluate_every=5, checkpoint_every_steps=4)
    params = check_run_params(raw, catalog, "test")
    return start_train(params, catalog, "run", afterwards=draw_run)


def lines_of(run, kind=None):
    lines = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    return [line for line in lines if kind in (None, line["kind"])]


@pytest.fixture
def start(tiny_catalog, tiny_params):
    """A function that trains a tiny network, by default without scoring it; it returns the run."""

    def run(name="run", catalog=tiny_catalog, **changes):
        changes = {"backbone": {"name": "tiny"}, "evaluation": [], **changes}
        raw = {**copy.deepcopy(tiny_params), **changes}
        return start_train(check_run_params(raw, catalog, "test"), catalog, name)

    return run


# ---- learning ---------------------------------------------------------------------------


def test_training_lowers_the_loss_and_beats_the_untrained_network(trained):
    steps = lines_of(trained, "train")
    first, last = (np.mean([s["total"] for s in part]) for part in (steps[:5], steps[-5:]))
    assert last < 0.6 * first
    # One batch of 32 images says little: between neighbouring ones it moves by 0.15.
    assert np.mean([s["monitors"]["accuracy"] for s in steps[:5]]) < 0.2
    assert np.mean([s["monitors"]["accuracy"] for s in steps[-10:]]) > 0.85
    scores = {b["name"]: b["metrics"]["mAP"] for b in lines_of(trained, "baseline")}
    best = max(e["metrics"]["mAP"] for e in lines_of(trained, "evaluation"))
    assert best > scores["untrained network"] + 0.15
    assert set(scores) == {"colour histogram", "untrained network"}


# ---- the record -------------------------------------------------------------------------


def test_the_run_directory_is_complete(trained):
    for path in (
        trained.params,
        trained.environment,
        trained.metrics,
        trained.checkpoint,
        trained.best_weights,
        trained.last_weights,
        trained.pictures / "curves.png",
        trained.pictures / "ranked-market_evaluate-synthetic_market.png",
        trained.evaluations / "best-market_evaluate-synthetic_market.json",
        trained.evaluations / "best-market_evaluate-synthetic_market.npz",
    ):
        assert path.stat().st_size > 0, path
    assert list((trained.path / "tensorboard").glob("events.*"))
    assert list(trained.path.rglob(".*.tmp")) == []
    environment = json.loads(trained.environment.read_text())
    assert set(environment["data"]) == {"synthetic_market"}
    (begun,) = environment["starts"]
    assert begun["torch"] == torch.__version__
    assert begun["device"] == "cpu"
    assert begun["command"] == shlex.join(sys.argv)
    assert datetime.fromisoformat(begun["time"]).tzinfo is not None


def test_every_score_is_stored_with_its_card(trained):
    stored = json.loads(
        (trained.evaluations / "best-market_evaluate-synthetic_market.json").read_text()
    )
    assert stored["primary"] == "mAP"
    assert {"ap", "junk_rule", "distance", "output", "normalization", "sizes", "data"} <= set(
        stored["card"]
    )
    with np.load(trained.evaluations / "best-market_evaluate-synthetic_market.npz") as arrays:
        assert len(arrays["per_query.ap"]) == stored["card"]["sizes"]["query"]


def test_metrics_jsonl_has_every_step_once(trained):
    steps = lines_of(trained, "train")
    assert [line["step"] for line in steps] == list(range(1, len(steps) + 1))
    assert steps[-1]["epoch"] == 10
    line = steps[0]
    assert set(line["losses"]) == {"softmax", "triplet"}
    assert line["total"] == pytest.approx(sum(line["losses"].values()), rel=1e-5)
    assert set(line["rates"]) == {"backbone", "new"}
    assert {"accuracy", "softmax.accuracy", "triplet.active"} <= set(line["monitors"])
    assert line["images_per_second"] > 0
    assert line["memory_mb"] > 0
    evaluations = lines_of(trained, "evaluation")
    assert [(e["epoch"], e["target"]) for e in evaluations] == [
        (5, "synthetic_market"),
        (10, "synthetic_market"),
    ]


def test_without_an_evaluation_the_last_weights_are_the_best(start):
    run = start()
    assert run.best_weights.read_bytes() == run.last_weights.read_bytes()


# ---- again ------------------------------------------------------------------------------


def test_the_resolved_params_run_again_to_the_same_bytes(start, tiny_catalog, tiny_params):
    first = start(evaluation=tiny_params["evaluation"])
    resolved = json.loads(first.params.read_text())
    again = start_train(check_run_params(resolved, tiny_catalog, "x"), tiny_catalog, "again")
    assert again.last_weights.read_bytes() == first.last_weights.read_bytes()
    assert again.params.read_bytes() == first.params.read_bytes()


def test_workers_do_not_change_the_weights(start, tiny_params):
    here = start()
    there = start("there", data={**tiny_params["data"], "workers": 1})
    assert here.last_weights.read_bytes() == there.last_weights.read_bytes()


def test_evaluations_and_baselines_do_not_change_the_training(start, tiny_params):
    plain = start()
    busy = {**tiny_params["train"], "evaluate_every": 1, "baselines": True, "log_every": 1}
    watched = start("watched", train=busy, evaluation=tiny_params["evaluation"])
    one, two = (torch.load(r.checkpoint, weights_only=True)["module"] for r in (plain, watched))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_an_existing_run_directory_is_refused(start):
    run = start()
    before = run.params.stat().st_mtime_ns
    with pytest.raises(
        ReidError, match=r"run: exists already; choose another --sub_working_dir, o"
    ):
        start()
    assert run.params.stat().st_mtime_ns == before


def test_a_finished_run_can_be_made_longer_and_longer_again(start, tiny_catalog):
    run = start()
    for epochs in (3, 4):
        raw = json.loads(run.params.read_text())
        raw["train"]["epochs"] = epochs
        resume_train(run.path, tiny_catalog, check_run_params(raw, tiny_catalog, "test"))
        assert json.loads(run.params.read_text())["train"]["epochs"] == epochs
    whole = start("whole", train={**raw["train"]})
    assert run.last_weights.read_bytes() == whole.last_weights.read_bytes()


def test_resuming_a_finished_run_leaves_the_same_weights_and_all_pictures(
    start, tiny_catalog, tiny_params
):
    run = start(evaluation=tiny_params["evaluation"])
    before = run.last_weights.read_bytes()
    params = check_run_params(json.loads(run.params.read_text()), tiny_catalog, "test")
    resume_train(run.path, tiny_catalog, params, draw_run)
    pictures = sorted(run.pictures.iterdir())
    for picture in pictures:
        picture.unlink()
    resume_train(run.path, tiny_catalog, params, draw_run)
    assert run.last_weights.read_bytes() == before
    assert sorted(run.pictures.iterdir()) == pictures


def test_pictures_are_drawn_of_the_images_that_were_scored_wherever_their_files_are_now(
    tiny_catalog, tiny_params, tmp_path
):
    market = tiny_catalog.component("dataset", "synthetic_market")
    people = market.params(**tiny_params["data"]["train"][0]["params"])
    root = tmp_path / "Market-1501"
    for record in market.build(people).records:
        path = root / record.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(record.source())
    raw = {**tiny_params, "backbone": {"name": "tiny"}}
    raw["data"] = {"train": [{"name": "market1501", "params": {"root": str(root)}}]}
    params = check_run_params(raw, tiny_catalog, "test")

    def draw_without_files(run):
        shutil.rmtree(root)
        with (
            pytest.raises(ReidError, match="another process is training here"),
            RunDirectory(run.directory.path).locked(),
        ):
            pass
        draw_run(run)

    run = start_train(params, tiny_catalog, "run", afterwards=draw_without_files)
    assert sorted(path.name for path in run.pictures.iterdir()) == [
        "curves.png",
        "ranked-market_evaluate-market1501.png",
    ]


def test_signals_have_their_usual_effect_again_when_a_record_cannot_be_opened(start, monkeypatch):
    before = signal.getsignal(signal.SIGINT)

    def full(*arguments, **options):
        raise ReidError("the disk is full")

    monkeypatch.setattr("reid_core.runs.run.RunLog", full)
    with pytest.raises(ReidError, match="the disk is full"):
        start()
    assert signal.getsignal(signal.SIGINT) is before


def test_resuming_what_is_no_run_is_an_error(tmp_path, tiny_catalog, tiny_params):
    params = check_run_params(tiny_params, tiny_catalog, "test")
    with pytest.raises(ReidError, match=r"no run directory \(params\.json is not there\)"):
        resume_train(tmp_path, tiny_catalog, params)


def test_a_run_killed_before_its_first_checkpoint_still_starts_from_its_snapshot(
    start, tiny_catalog, tiny_params
):
    snapshot = start("first")
    train = {**tiny_params["train"], "seed": 1, "pretrain_snapshot": str(snapshot.last_weights)}
    whole = start("whole", train=train)
    plain = start("plain", train={**train, "pretrain_snapshot": None})
    assert whole.last_weights.read_bytes() != plain.last_weights.read_bytes()
    params = check_run_params(json.loads(whole.params.read_text()), tiny_catalog, "test")
    killed = RunDirectory.create(
        whole.path.with_name("killed"), params.model_dump(mode="json"), None
    )
    resume_train(killed.path, tiny_catalog, params)
    assert killed.last_weights.read_bytes() == whole.last_weights.read_bytes()


# ---- what goes wrong --------------------------------------------------------------------


def exploding(at_step):
    """Return a plugin with the loss 'exploding', which is NaN from a step on."""

    class Plugin:
        @hookimpl
        def reid_objective(self):
            def objective(step):
                factor = math.nan if step.progress.step >= at_step else 1.0
                return {"exploding": Term(step.outputs.embedding.square().mean() * factor)}

            return [
                ObjectiveComponent(name="exploding", build=lambda params: objective, summary="-")
            ]

    return Plugin()


ALONE = {"objective": [{"name": "exploding"}], "loss": []}


def test_a_loss_that_is_not_a_number_stops_the_run_and_names_every_loss(
    start, catalog_with, tiny_params
):
    train = {**tiny_params["train"], "log_every": 1}
    with pytest.raises(
        ReidError,
        match=r"the loss is nan at step 3 \(epoch 1\): exploding = nan \('exploding' is that of "
        r"objective 'exploding' of local 0\)\. Lower optimizer\.lr or lengthen the warm-up; the la"
        r"st checkpoint is kept",
    ):
        start(catalog=catalog_with(exploding(2)), **ALONE, train=train)


@pytest.mark.parametrize("every", [0, 1])
def test_weights_that_are_not_numbers_never_reach_a_checkpoint(
    start, catalog_with, tiny_params, every
):
    train = {**tiny_params["train"], "log_every": 100, "checkpoint_every_steps": every}
    # Without checkpoints in between, the end of the epoch finds the loss first.
    found = (
        r"'model\..*' is NaN or infinite after step 3\." if every else r"the loss is nan at step 4"
    )
    with pytest.raises(ReidError, match=found):
        start(catalog=catalog_with(exploding(2)), **ALONE, train=train)
    run = Path(tiny_params["working_dir"]) / "run"
    kept = torch.load(run / "checkpoints" / "last.pt", weights_only=True)
    assert kept["state"]["step"] == (2 if every else 0)
    assert all(t.isfinite().all() for t in kept["module"].values())


LOCK = """
    import sys, time
    from pathlib import Path
    from reid_core.run_directory import RunDirectory
    with RunDirectory(Path(sys.argv[1])).locked():
        print("locked", flush=True)
        time.sleep(60)
"""


def test_a_second_process_in_a_run_directory_is_refused(start, tiny_catalog):
    run = start()
    before = run.params.read_bytes()
    raw = {**json.loads(before), "plugins": {}}
    raw["train"]["epochs"] = 9
    params = check_run_params(raw, tiny_catalog, "test")
    other = [sys.executable, "-c", textwrap.dedent(LOCK), str(run.path)]
    with subprocess.Popen(other, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "locked\n"
        with pytest.raises(ReidError, match="run: another process is training here"):
            resume_train(run.path, tiny_catalog, params)
        process.kill()
    assert run.params.read_bytes() == before


def test_a_target_without_the_splits_of_its_evaluator_is_refused_before_training(
    start, tiny_params
):
    with pytest.raises(
        ReidError,
        match=r"evaluation\.0: 'classification_evaluate' needs images in split 'val' of target "
        r"'synthetic_market', which has: train, query, gallery",
    ):
        start(evaluation=[{"name": "classification_evaluate"}])
    assert not (Path(tiny_params["working_dir"]) / "run").exists()


# ---- scoring what is left ---------------------------------------------------------------


def scores_of(catalog, **raw):
    results = run_evaluation(check_eval_params(raw, catalog, "test"), catalog)
    return [dict(result.scores.metrics) for result in results]


def test_a_run_its_weights_alone_and_saved_features_score_alike(trained, catalog, tmp_path):
    raw = json.loads(trained.params.read_text())
    alone = tmp_path / "elsewhere.safetensors"
    alone.write_bytes(trained.best_weights.read_bytes())
    out = tmp_path / "out"
    left = [trained.evaluations / ".x.json.999999999.tmp", out / ".y.json.999999999.tmp"]
    left.append(trained.path.parent / "stores" / ".z.packing-999999999")
    for leftover in left:
        write_text(leftover / "half" if "packing" in leftover.name else leftover, "half")
        os.utime(leftover, (1, 1))
    run = scores_of(catalog, run=str(trained.path), output_dir=str(out))
    assert [leftover.name for leftover in left if leftover.exists()] == []
    weights = scores_of(
        catalog,
        weights=str(alone),
        targets={"synthetic_market": raw["data"]["train"][0]},
        evaluation=raw["evaluation"],
        working_dir=raw["working_dir"],
        batch_size=128,
    )
    files = {s: str(out / "features" / f"synthetic_market-{s}.npz") for s in ("query", "gallery")}
    features = scores_of(catalog, features=files, evaluation=raw["evaluation"])
    assert run == weights == features
    best = max((e["metrics"] for e in lines_of(trained, "evaluation")), key=lambda m: m["mAP"])
    assert run == [best]
    assert (out / "scores-market_evaluate-synthetic_market.json").is_file()


def test_a_run_is_compared_with_features_of_the_same_images(trained, catalog, tmp_path, capsys):
    out = tmp_path / "out"
    scores_of(catalog, run=str(trained.path), output_dir=str(out))
    files = [out / "features" / f"synthetic_market-{s}.npz" for s in ("query", "gallery")]
    words = ["compare-runs", str(trained.path), "--draws", "10"]
    assert main([*words, str(files[0]), "--gallery", str(files[1])]) == 0
    assert re.search(r"mAP .* \+0\.0000 \[\+0\.0000, \+0\.0000\]", capsys.readouterr().out)
    scored, changed = tmp_path / "scored", [tmp_path / f"{s}.npz" for s in ("query", "gallery")]
    for file, other in zip(files, changed, strict=True):
        with np.load(file) as arrays:
            kept = {name: array for name, array in arrays.items() if name != "meta"}
        kept["names"] = np.char.add("/another/place/", kept["names"])
        np.savez(other, **{name: array[::-1] for name, array in kept.items() if array.ndim})
    raw = {"features": {"query": str(changed[0]), "gallery": str(changed[1])}}
    scores_of(catalog, **raw, evaluation=[{"name": "market_evaluate"}], output_dir=str(scored))
    capsys.readouterr()
    assert main([*words, str(scored)]) == 0  # the same files in another order and folder
    assert re.search(r"mAP .* \+0\.0000 \[\+0\.0000, \+0\.0000\]", capsys.readouterr().out)
    for file, what in zip(changed, ("queries", "gallery images"), strict=True):
        with np.load(file) as arrays:
            whole = dict(arrays.items())
        np.savez(file, **{name: array[1:] for name, array in whole.items()})
        assert main([*words, str(changed[0]), "--gallery", str(changed[1])]) == 2
        assert re.search(
            f"not scored on the same {what} .*1 are in A only, e.g. '", capsys.readouterr().err
        )
        np.savez(file, **whole)
    assert main([*words, str(files[0])]) == 2
    assert "add --gallery FILE with those of the gallery" in capsys.readouterr().err


def test_an_evaluation_draws_what_it_has_saved_and_nothing_of_images_it_has_not(
    trained, catalog, tmp_path
):
    raw, out, again = json.loads(trained.params.read_text()), tmp_path / "out", tmp_path / "again"
    of_run = {"run": str(trained.path), "output_dir": str(out)}
    run_evaluation(check_eval_params(of_run, catalog, "test"), catalog, draw_evaluation)
    assert (out / "ranked-market_evaluate-synthetic_market.png").is_file()
    files = {s: str(out / "features" / f"synthetic_market-{s}.npz") for s in ("query", "gallery")}
    saved = {"features": files, "evaluation": raw["evaluation"], "output_dir": str(again)}
    run_evaluation(check_eval_params(saved, catalog, "test"), catalog, draw_evaluation)
    assert (again / "scores-market_evaluate-features.json").is_file()
    assert list(again.glob("*.png")) == []


def test_a_missing_features_file_of_a_split_is_named(trained, catalog, tmp_path):
    scores_of(catalog, run=str(trained.path), output_dir=str(tmp_path))
    files = {"query": str(tmp_path / "features" / "synthetic_market-query.npz")}
    with pytest.raises(ReidError, match="features: no file is given for split 'gallery'"):
        scores_of(catalog, features=files, evaluation=[{"name": "market_evaluate"}])


@pytest.mark.parametrize("damage", ["missing", "cut", "text", "pickle"])
def test_a_damaged_features_file_is_refused(catalog, tmp_path, damage):
    path = tmp_path / "query.npz"
    if damage == "pickle":
        np.savez(path, pids=np.array([{}], dtype=object))
    elif damage != "missing":
        np.savez(path, pids=np.array(["1"]))
        path.write_bytes(b"text" if damage == "text" else path.read_bytes()[:60])
    with pytest.raises(ReidError, match=r"query\.npz: not a features file of reid-core: "):
        scores_of(catalog, features={"query": str(path)}, evaluation=[{"name": "market_evaluate"}])


@pytest.mark.parametrize("name", ["camids", "names", "junk", "distractor", "values.embedding"])
def test_features_whose_arrays_differ_in_length_are_refused(catalog, tmp_path, name):
    path = tmp_path / "query.npz"
    np.savez(path, **{"pids": np.array(["1", "2"]), name: np.zeros(3)})
    with pytest.raises(
        ReidError, match=rf"query\.npz: '{re.escape(name)}' has 3 rows, 'pids' has 2"
    ):
        scores_of(catalog, features={"query": str(path)}, evaluation=[{"name": "market_evaluate"}])


def test_a_run_that_has_no_weights_yet_cannot_be_scored(catalog, tiny_params, tmp_path):
    params = check_run_params(tiny_params, catalog, "test")
    run = RunDirectory.create(tmp_path / "new", params.model_dump(mode="json"), None)
    with pytest.raises(ReidError, match=r"no weights yet; the run has not ended an epoch to score"):
        scores_of(catalog, run=str(run.path))


def test_an_evaluation_in_which_no_query_has_a_match_names_the_rule(start, tmp_path):
    one_camera = {"junk_rule": "cross_camera"}
    folder = {"name": "market_evaluate", "params": one_camera}
    with pytest.raises(ReidError, match=r"junk_rule 'cross_camera' leaves none of the \d+ queries"):
        start(
            data={
                "train": [{"name": "synthetic_market", "params": {**PEOPLE, "cameras": 3}}],
                "targets": {"faces": image_folder(tmp_path, ("query", "gallery"))},
            },
            evaluation=[folder],
        )


def image_folder(root, splits):
    """Return a dataset entry of a folder with two people per split, without cameras."""
    rng = np.random.default_rng(0)
    for split in splits:
        for person in ("anna", "ben"):
            folder = root / split / person
            folder.mkdir(parents=True)
            for number in range(6):
                pixels = rng.integers(0, 120, (32, 16, 3), dtype=np.uint8)
                pixels[:16, :, 0 if person == "anna" else 2] += 120
                buffer = io.BytesIO()
                Image.fromarray(pixels).save(buffer, "PNG")
                (folder / f"{split}-{number}.png").write_bytes(buffer.getvalue())
    return {"name": "image_folder", "params": {"root": str(root)}}


def test_known_people_are_classified_on_a_val_split(start, tiny_catalog, tiny_params, tmp_path):
    run = start(
        data={"train": [image_folder(tmp_path, ("train", "val"))]},
        sampler={"name": "class_balanced", "params": {"P": 2, "K": 4}},
        optimizer={"name": "adam", "lr": 0.05},
        train={**tiny_params["train"], "epochs": 12},
        evaluation=[{"name": "classification_evaluate"}],
    )
    (line,) = lines_of(run, "evaluation")
    assert line["primary"] == "top1"
    assert line["metrics"]["top1"] == 1.0
    assert scores_of(tiny_catalog, run=str(run.path)) == [line["metrics"]]
    with np.load(run.evaluations / "best-classification_evaluate-image_folder.npz") as arrays:
        assert arrays["tables.classes"].tolist() == ["anna", "ben"]


# ---- scores and their cards -------------------------------------------------------------


def test_every_recorded_score_carries_its_protocol_card(trained):
    lines = [json.loads(line) for line in trained.metrics.read_text().splitlines()]
    scored = [line for line in lines if line["kind"] in ("baseline", "evaluation")]
    assert {line["kind"] for line in scored} == {"baseline", "evaluation"}
    assert all(line["card"]["junk_rule"].startswith("cross_camera") for line in scored)


@pytest.mark.parametrize(
    "name", ["best", "last", "baseline-colour-histogram", "baseline-untrained-network"]
)
def test_scores_of_every_model_are_kept(trained, name):
    facts = json.loads(
        (trained.evaluations / f"{name}-market_evaluate-synthetic_market.json").read_text()
    )
    assert set(facts) >= {"model", "metrics", "protocol", "card", "primary"}


def test_an_evaluation_that_cannot_work_is_found_before_the_first_step(start, tmp_path):
    folder = tmp_path / "people"
    for split in ("train", "val"):
        for pid in ("anna", "ben", "cleo"):
            (folder / split / pid).mkdir(parents=True)
            for shot in range(2):
                Image.new("RGB", (16, 32), (shot, 0, 9)).save(folder / split / pid / f"{shot}.png")
    data = {"train": [{"name": "image_folder", "params": {"root": str(folder)}}]}
    evaluation = [{"name": "classification_evaluate"}]
    with pytest.raises(ReidError, match=r"evaluation\.0: 'classification_evaluate' needs logits"):
        start(data=data, loss=[{"name": "triplet"}], evaluation=evaluation)
    runs = [path for path in (tmp_path / "runs").iterdir() if path.name != "stores"]
    assert runs == []


def test_a_run_is_not_continued_on_other_images(start, tiny_catalog):
    directory = start()
    facts = json.loads(directory.environment.read_text())
    facts["data"]["synthetic_market"] = "0" * 64
    directory.environment.write_text(json.dumps(facts))
    params = check_run_params(json.loads(directory.params.read_text()), tiny_catalog, "x")
    with pytest.raises(ReidError, match="the images of synthetic_market are not those"):
        resume_train(directory.path, tiny_catalog, params)


def test_a_failing_evaluation_loses_nothing(start, tiny_params, tiny_catalog, monkeypatch):
    monkeypatch.setattr(
        "reid_core.evaluation.during_training.Scorer.scores",
        lambda self: (_ for _ in ()).throw(ReidError("broken")),
    )
    with pytest.raises(ReidError, match="broken"):
        start(evaluation=[{"name": "market_evaluate"}])
    (run,) = [p for p in Path(tiny_params["working_dir"]).iterdir() if p.name != "stores"]
    directory = RunDirectory.open(run)
    assert directory.last_weights.is_file()
    monkeypatch.undo()
    params = check_run_params(json.loads(directory.params.read_text()), tiny_catalog, "x")
    resume_train(run, tiny_catalog, params)
    assert directory.best_weights.is_file()
    lines = [json.loads(line) for line in directory.metrics.read_text().splitlines()]
    assert sum(line["kind"] == "evaluation" for line in lines) == 1


def test_a_run_is_found_by_its_name_and_scored_with_changed_params(
    trained, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    Path("runs").symlink_to(trained.path.parent, target_is_directory=True)
    arguments = ["train", "--operation", "evaluate", "--sub_working_dir", trained.path.name]
    assert main([*arguments, "--set", "evaluation.0.params.ap=trapezoid"]) == 0
    assert "ap: trapezoid" in capsys.readouterr().out
    assert main([*arguments[:-1], "nowhere"]) == 2
    assert "looked for params.json in nowhere and runs/nowhere" in capsys.readouterr().err


class ValuesPlugin:
    """Offers ``extra``, which remembers the values of heads that it has seen."""

    def __init__(self, name):
        self.name, self.seen = name, []

    @hookimpl
    def reid_evaluator(self):
        def extra(splits):
            values = splits["query"].values[f"aux.{self.name}"]
            self.seen.append((values.shape[1:], values.dtype))
            return Scores({"std": float(values.std())}, "std", {"evaluator": "extra"})

        return [
            EvaluatorComponent(
                name="extra",
                build=lambda params: extra,
                summary="-",
                splits=("query",),
                aux=(self.name,),
            )
        ]


def test_an_evaluator_of_extra_values_is_rehearsed_with_those_of_the_network(start, catalog_with):
    plugin = ValuesPlugin("uc")
    catalog, evaluation = catalog_with(plugin), [{"name": "extra"}]
    start(catalog=catalog, evaluation=evaluation, head=[{"name": "uncertain"}])
    rehearsed, *real = plugin.seen
    assert real
    assert set(real) == {rehearsed}
    missing = catalog_with(ValuesPlugin("nothing"))
    with pytest.raises(
        ReidError, match=r"^evaluation\.0: 'extra': .* the value 'nothing' of a head"
    ):
        start("other", missing, evaluation=evaluation)

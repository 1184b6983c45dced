"""What contradicts itself in the data is told before the training and beside every score."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

from reid_core import EvaluatorComponent, ReidError, hookimpl
from reid_core.contracts import Scores
from reid_core.evaluation.evaluate_command import run_evaluation
from reid_core.params.validation import check_eval_params, check_run_params
from reid_core.runs.start_and_resume import start_train
from reid_core.storage.manifest import read_manifest, write_manifest

pytestmark = pytest.mark.usefixtures("one_thread")


def write_list(folder, rows, name="list.csv"):
    """Write a CSV list of ``(path, pid, split, camid)`` and the images; a name draws its image."""
    for path, *_ in rows:
        pixels = np.random.default_rng(list(path.encode())).integers(0, 255, (32, 16, 3))
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / path)
    with (folder / name).open("w", newline="") as file:
        csv.writer(file).writerows([("path", "pid", "split", "camid"), *rows])
    return {"name": "manifest", "params": {"file": str(folder / name)}}


def people(pids, *splits, cameras=(0, 1), spelt=str):
    return [(f"{s}/{p}_{c}.png", spelt(p), s, c) for s in splits for p in pids for c in cameras]


def store_beside(directory):
    """Return the one store beside a run."""
    (manifest,) = (directory.path.parent / "stores").glob("*/manifest.json")
    return manifest.parent


TRAIN = people(range(1, 5), "train")  # '0' would be asked about


@pytest.fixture
def train(tiny_catalog, tiny_params, capsys):
    """A function: train on datasets; return the run, the warnings before it, and its cards."""

    def run(*datasets, catalog=tiny_catalog, **changes):
        data = {"train": list(datasets), **changes.pop("data", {})}
        raw = {
            **tiny_params,
            "data": data,
            "backbone": {"name": "tiny"},
            "loss": [{"name": "softmax"}],
            "logger": [],
            "sampler": {"name": "random", "params": {"batch_size": 4}},
            "train": {"epochs": 1, "device": "cpu"},
            **changes,
        }
        directory = start_train(check_run_params(raw, catalog, "x"), catalog, "run")
        before = capsys.readouterr().out.partition("run directory:")[0].splitlines()
        told = [line.removeprefix("warning: ") for line in before if line.startswith("warning: ")]
        files = sorted(directory.evaluations.glob("best-*.json"))
        cards = [json.loads(file.read_text())["card"] for file in files]
        return directory, told, cards

    return run


def test_data_that_agree_with_themselves_need_no_word(train, tmp_path):
    rows = TRAIN + people(range(10, 14), "query", "gallery")
    _, told, (card,) = train(write_list(tmp_path, rows))
    assert told == []
    assert "warning" not in card


def test_queries_that_a_spreadsheet_has_respelt_are_told(train, tmp_path):
    rows = [
        *TRAIN,
        *people(range(7, 11), "query", cameras=[0], spelt=lambda pid: f"{pid:04d}"),
        *people(range(7, 10), "gallery", cameras=[1]),
        ("gallery/10_1.png", "0010", "gallery", 1),
    ]
    _, told, (card,) = train(write_list(tmp_path, rows))
    (line,) = told
    assert line.startswith("target 'manifest': 3 of 4 (75 %) queries have no image of their person")
    assert "'0007' in query and '7' in gallery" in line
    assert card["warning"] == line.removeprefix("target 'manifest': ")


def test_images_and_persons_of_the_test_that_are_trained_on_are_told(train, tmp_path):
    rows = people(range(1, 7), "train")
    again = [
        (f"train/{pid}_{camera}.png", str(pid), split, camera)
        for pid in range(1, 7)
        for camera, split in enumerate(("query", "gallery"))
    ]
    _, told, (card,) = train(write_list(tmp_path, rows + again))
    images, persons = told
    assert "12 of 12 (100 %) images of query and gallery are also trained on, byte for" in images
    assert "6 of 6 (100 %) persons of query and gallery are also trained on ('1', '2'" in persons
    assert card["warning"].splitlines() == [line.partition(": ")[2] for line in told]


def test_the_same_bytes_under_another_name_and_pid_are_the_same_image(train, tmp_path):
    rows = TRAIN + people(range(10, 14), "query", "gallery")
    dataset = write_list(tmp_path, rows)
    (tmp_path / "gallery/11_1.png").write_bytes((tmp_path / "train/2_0.png").read_bytes())
    _, (line,), _ = train(dataset)
    assert "1 of 16 (6.25 %) images of query and gallery are also trained on" in line
    assert "('gallery/11_1.png')" in line


def test_one_pid_in_two_datasets_is_two_persons(train, tmp_path):
    one = write_list(tmp_path, TRAIN, "one.csv")
    other = write_list(tmp_path, people(range(1, 5), "query", "gallery"), "other.csv")
    targets = {"data": {"targets": {"others": {**other, "alias": "others"}}}}
    _, told, (card,) = train(one, **targets)
    assert told == []
    assert "warning" not in card


def test_one_pid_read_by_one_plugin_from_two_lists_is_two_persons(train, tmp_path):
    one = write_list(tmp_path, TRAIN, "one.csv")
    other = write_list(tmp_path, people(range(1, 5), "query", "gallery"), "other.csv")
    _, told, (card,) = train(one, data={"targets": {"others": other}})
    assert told == []
    assert "warning" not in card


def test_one_pid_of_the_same_list_is_one_person_unless_an_alias_says_otherwise(train, tmp_path):
    one = write_list(tmp_path, TRAIN + people(range(1, 5), "query", "gallery"), "one.csv")
    _, told, (card,) = train(one, data={"targets": {"others": {**one, "alias": "others"}}})
    assert told == []
    assert "warning" not in card


def test_one_pid_of_the_same_dataset_is_one_person(train, tmp_path):
    one = write_list(tmp_path, TRAIN, "one.csv")
    other = write_list(tmp_path, people(range(3, 7), "query", "gallery"), "other.csv")
    alike = [{**entry, "alias": "people"} for entry in (one, other)]
    _, (line,), _ = train(alike[0], data={"targets": {"others": alike[1]}})
    assert "2 of 4 (50 %) persons of query and gallery are also trained on ('3', '4')" in line
    assert "give its dataset an 'alias'" in line


def test_where_the_persons_of_the_training_are_scored_only_images_are_told(train, tmp_path):
    rows = people(range(1, 5), "train", "val")
    evaluation = [{"name": "classification_evaluate"}]
    _, told, (card,) = train(write_list(tmp_path, rows), evaluation=evaluation)
    assert told == []
    assert "warning" not in card


def test_a_validation_image_that_is_trained_on_is_told(train, tmp_path):
    rows = [*TRAIN, *people(range(1, 5), "val"), ("train/1_0.png", "1", "val", 0)]
    evaluation = [{"name": "classification_evaluate"}]
    _, (line,), (card,) = train(write_list(tmp_path, rows), evaluation=evaluation)
    assert line.startswith("target 'manifest': 1 of 9 (11.1 %) images of val are also trained on")
    assert "1 of 9" in card["warning"]


def test_a_dataset_that_comes_in_twice_is_told(train, tmp_path):
    dataset = write_list(tmp_path, TRAIN + people(range(10, 14), "query", "gallery"))
    _, (line,), cards = train(dataset, {**dataset, "alias": "again"})
    assert line.startswith("8 of 8 (100 %) training images of 'again' are in datasets before it")
    assert cards[0]["warning"] == line


def test_persons_of_the_same_files_in_two_datasets_are_told(train, tmp_path):
    rows = people(range(10, 14), "query", "gallery")
    params = write_list(tmp_path, [*TRAIN, *rows])["params"]
    first = {"name": "manifest", "params": {**params, "root": str(tmp_path)}}
    directory, _, _ = train(first, evaluation=[])
    write_list(tmp_path, [*people(range(1, 5), "train", cameras=[5]), *rows])
    first["store"] = str(store_beside(directory))
    second = {**first, "store": str(tmp_path / "second"), "alias": "second"}
    (tmp_path / "runs" / "run").rename(tmp_path / "runs" / "before")
    _, told, _ = train(first, second)
    assert told[-1].startswith("4 of 4 (100 %) persons of 'second' are in 'manifest' too, from the")


def test_training_images_of_one_camera_and_in_two_spellings_are_told(train, tmp_path):
    rows = [*people(range(1, 5), "train", cameras=[3]), ("train/x.png", "003", "train", 3)]
    rows += people(range(10, 14), "query", "gallery")
    _, (spelt, camera), _ = train(write_list(tmp_path, rows))
    assert spelt.startswith("the training images of 'manifest' spell one identity in several ways")
    assert camera.startswith("all 5 training images of 'manifest' are of camera 3")


def test_what_was_said_when_a_store_was_packed_stands_on_the_card(train, tmp_path):
    dataset = write_list(tmp_path, TRAIN + people(range(10, 14), "query", "gallery"))
    directory, _, _ = train(dataset, evaluation=[])
    store = store_beside(directory)
    skipped = {"count": 2, "names": ["a.gif", "b.gif"], "unreadable": 1}
    facts = {n: fact for n, fact in read_manifest(store).items() if n != "checksum"}
    write_manifest(store, {**facts, "warnings": ["junk folders"], "skipped": skipped})
    directory.path.rename(directory.path.with_name("before"))
    _, told, (card,) = train(dataset)
    assert told == [
        "2 files of 'manifest' were left out when it was packed ('a.gif', 'b.gif'), 1 of them "
        "an image that cannot be read",
        "'manifest': junk folders",
    ]
    assert card["warning"].splitlines() == told


RULES = [
    ({}, True),
    ({"junk_rule": {"same": ["camid"]}}, True),
    ({"protocol": "no_camera"}, False),
    ({"junk_rule": "none"}, False),
]


@pytest.mark.parametrize(("params", "is_told"), RULES)
def test_images_without_a_camera_are_told_where_the_rule_asks_for_one(
    train, tmp_path, params, is_told
):
    rows = TRAIN + people(range(10, 14), "query", cameras=[0]) + people(range(10, 14), "gallery")
    rows[8] = ("query/10_0.png", "10", "query", -1)
    evaluation = [{"name": "market_evaluate", "params": params}]
    _, told, (card,) = train(write_list(tmp_path, rows), evaluation=evaluation)
    start = "no camera is known of 1 of 4 (25 %) images of query ('query/10_0.png'): the junk rule"
    assert [line.startswith(f"target 'manifest': {start}") for line in told] == [True] * is_told
    assert card.get("warning", "") == "".join(told).removeprefix("target 'manifest': ")


def test_a_line_break_in_a_name_makes_no_line_of_the_card(train, tmp_path):
    rows = TRAIN + people(range(10, 14), "query", "gallery")
    dataset = write_list(tmp_path, [*rows, ("query/a\nwarning: b.png", "20", "query", 0)])
    _, (line,), (card,) = train(dataset)
    assert r"'query/a\nwarning: b.png'" in line
    assert card["warning"].splitlines() == [line.removeprefix("target 'manifest': ")]


class CountingPlugin:
    """Offers ``counting``, an evaluator without a card and without a thought of warnings."""

    @hookimpl
    def reid_evaluator(self):
        def counting(splits):
            return Scores({"n": float(len(splits["query"]))}, "n", {"evaluator": "counting"})

        splits = ("query", "gallery")
        return [
            EvaluatorComponent(
                name="counting", build=lambda params: counting, summary="-", splits=splits
            )
        ]


def test_the_cards_of_others_evaluators_have_the_warnings_too(train, catalog_with, tmp_path):
    rows = [*TRAIN, *people([1, 9], "query"), *people([1, 8], "gallery")]
    evaluation = [{"name": "counting"}]
    catalog = catalog_with(CountingPlugin())
    _, told, (card,) = train(write_list(tmp_path, rows), catalog=catalog, evaluation=evaluation)
    assert card["evaluator"] == "counting"
    unmatched, persons = card["warning"].splitlines()
    assert unmatched.startswith("2 of 4 (50 %) queries have no image of their person in the gall")
    assert persons.startswith("1 of 3 (33.3 %) persons of query and gallery are also trained on")
    assert told == [f"target 'manifest': {line}" for line in (unmatched, persons)]


def test_what_is_said_while_packing_is_said_once(train, tmp_path):
    dataset = write_list(tmp_path, TRAIN + people(range(10, 14), "query", "gallery"))
    (tmp_path / "train/1_0.png").write_bytes(b"no image")
    directory, told, (card,) = train({**dataset, "skip_unreadable": True})
    assert [line for line in told if "left out" in line] == [
        "manifest: 1 image cannot be read and is left out:"
    ]
    assert "1 file of 'manifest' was left out when it was packed" in card["warning"]
    directory.path.rename(directory.path.with_name("before"))
    _, (line,), _ = train({**dataset, "skip_unreadable": True})
    assert line == card["warning"]


# ---- scoring afterwards -----------------------------------------------------------------


def test_a_run_and_its_weights_alone_are_scored_with_the_same_words(
    train, tiny_catalog, tmp_path, capsys
):
    dataset = write_list(tmp_path, people(range(1, 5), "train", "query", "gallery"))
    (tmp_path / "query/1_1.png").write_bytes((tmp_path / "train/2_0.png").read_bytes())
    directory, _, (card,) = train(dataset)
    images, persons = card["warning"].splitlines()

    def scored(**source):
        params = check_eval_params({**source, "device": "cpu"}, tiny_catalog, "x")
        (found,) = run_evaluation(params, tiny_catalog)
        return found.scores.card["warning"].splitlines(), capsys.readouterr().out

    lines, out = scored(run=str(directory.path))
    assert lines == [images, persons]
    before, _, after = out.partition("market_evaluate on manifest")
    assert f"warning: target 'manifest': {images}\n" in before
    assert f"    warning: {images}\n" in after
    target = {**dataset, "store": str(store_beside(directory))}
    evaluation = [{"name": "market_evaluate"}]
    weights = str(directory.best_weights)
    lines, _ = scored(weights=weights, targets={"t": target}, evaluation=evaluation)
    assert lines == [persons]


def test_training_images_that_are_gone_are_said_to_be_unknown(train, tiny_catalog, tmp_path):
    one = write_list(tmp_path, TRAIN, "one.csv")
    other = write_list(tmp_path, people(range(10, 14), "query", "gallery"), "other.csv")
    directory, _, _ = train(one, data={"targets": {"t": {**other, "alias": "t"}}})
    (tmp_path / "one.csv").unlink()
    for manifest in (directory.path.parent / "stores").glob("*/manifest.json"):
        if json.loads(manifest.read_text())["source"]["params"]["file"].endswith("one.csv"):
            manifest.unlink()
    params = check_eval_params({"run": str(directory.path), "device": "cpu"}, tiny_catalog, "x")
    (found,) = run_evaluation(params, tiny_catalog)
    assert found.scores.card["warning"] == (
        "the training images of manifest are not at hand: whether images of query and gallery are "
        "among them is not known"
    )


def test_features_files_are_looked_at_as_well(tiny_catalog, tmp_path):
    for split, pids in (("query", ["007", "8"]), ("gallery", ["7", "8"])):
        arrays = {"pids": np.array(pids), "camids": np.full(2, len(split))}
        np.savez(tmp_path / f"{split}.npz", **arrays, **{"values.embedding": np.eye(2, dtype="f4")})
    raw = {
        "features": {split: str(tmp_path / f"{split}.npz") for split in ("query", "gallery")},
        "evaluation": [{"name": "market_evaluate"}],
    }
    (found,) = run_evaluation(check_eval_params(raw, tiny_catalog, "x"), tiny_catalog)
    assert "'007' in query and '7' in gallery" in found.scores.card["warning"]


def test_the_warnings_come_before_the_error_that_they_explain(train, tmp_path, capsys):
    rows = [*TRAIN, *people([7, 8], "query", spelt=lambda p: f"00{p}"), *people([7, 8], "gallery")]
    with pytest.raises(ReidError, match="leaves none of the 4 queries a match"):
        train(write_list(tmp_path, rows))
    assert "'007' in query and '7' in gallery" in capsys.readouterr().out

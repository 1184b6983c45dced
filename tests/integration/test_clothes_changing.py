"""Clothes from a CSV file: the clothes-changing protocol of a run, and columns that parts read.

The score is compared with loops over the features that an evaluation has written.
"""

import csv
import json

import numpy as np
import pytest
from PIL import Image

from reid_core import LossComponent, ReidError, SamplerComponent, hookimpl, load_features, load_run
from reid_core.contracts import LossOutput
from reid_core.evaluation.evaluate_command import run_evaluation
from reid_core.params.validation import check_eval_params, check_run_params
from reid_core.runs.start_and_resume import start_train

CHANGED = {"same": ["camid", "clothes"]}
OUTFITS = ("coat", "dress", "shirt")

pytestmark = pytest.mark.usefixtures("one_thread")


def draw(folder, persons, outfits, first_camera=0):
    """Draw persons whose outfit, and a little their person, decides the colour; return the entry.

    Every fifth image has no known outfit.
    """
    folder.mkdir()
    rows = []
    for split, images in (("train", 6), ("query", 3), ("gallery", 7)):
        for person in range(persons):
            for i in range(images):
                number, outfit = len(rows), (i + person) % len(outfits)
                rng = np.random.default_rng([number, persons])
                colour = 60 * outfit + 9 * person + rng.integers(-25, 25, (32, 16, 3)) + 40
                name = f"{number}.png"
                Image.fromarray(colour.clip(0, 255).astype(np.uint8)).save(folder / name)
                worn = "" if number % 5 == 4 else outfits[outfit]
                rows.append((name, f"p{person}", split, first_camera + i % 3, worn))
    with open(folder / "people.csv", "w", newline="") as file:
        csv.writer(file).writerows([("path", "pid", "split", "camid", "clothes"), *rows])
    given = {"file": str(folder / "people.csv"), "columns": ["clothes"]}
    return {"name": "manifest", "alias": folder.name, "params": given}, rows


@pytest.fixture
def ltcc(tmp_path):
    return draw(tmp_path / "ltcc", persons=5, outfits=OUTFITS)[0]


@pytest.fixture
def raw(tiny_params, ltcc):
    rule = {"name": "market_evaluate", "params": {"junk_rule": CHANGED}}
    return {
        **tiny_params,
        "data": {"train": [ltcc]},
        "backbone": {"name": "tiny"},
        "train": {"epochs": 1, "device": "cpu", "log_every": 1},
        "evaluation": [rule],
        "logger": [],
    }


def train(raw, catalog):
    return start_train(check_run_params(raw, catalog, "params.json"), catalog, "run")


# ---- the protocol -----------------------------------------------------------------------


def by_loops(query, gallery):
    """mAP and rank-1 over other cameras and other clothes, image by image."""
    rows = [f.values["embedding"].astype(np.float64) for f in (query, gallery)]
    unit = [r / np.linalg.norm(r, axis=1, keepdims=True) for r in rows]
    distances = 1 - unit[0] @ unit[1].T

    def counts(q, g):
        if query.pids[q] != gallery.pids[g]:
            return True
        facts = [(query.camids[q], gallery.camids[g], -1)]
        facts.append((query.columns["clothes"][q], gallery.columns["clothes"][g], ""))
        return all(
            one not in (other, unknown) and other != unknown for one, other, unknown in facts
        )

    precisions, firsts = [], []
    for q in range(len(query)):
        ranked = sorted((distances[q, g], g) for g in range(len(gallery)) if counts(q, g))
        right = [gallery.pids[g] == query.pids[q] for _, g in ranked]
        if any(right):
            hits = [sum(right[: k + 1]) / (k + 1) for k, hit in enumerate(right) if hit]
            precisions.append(sum(hits) / len(hits))
            firsts.append(right[0])
    return np.mean(precisions), np.mean(firsts), len(precisions)


def test_the_score_of_a_run_is_that_of_loops_over_its_features(raw, tiny_catalog, tmp_path):
    run = train(raw, tiny_catalog)
    (saved,) = (s for n, s in load_run(run.path).scores.items() if n.startswith("best"))
    again = {"run": str(run.path), "output_dir": str(tmp_path / "out"), "device": "cpu"}
    (scored,) = run_evaluation(check_eval_params(again, tiny_catalog, "test"), tiny_catalog)
    assert scored.scores.metrics == saved.metrics

    features = tmp_path / "out" / "features"
    query, gallery = (load_features(features / f"ltcc-{s}.npz") for s in ("query", "gallery"))
    assert set(query.columns["clothes"].tolist()) == {"", *OUTFITS}
    precision, first, queries = by_loops(query, gallery)
    assert saved.metrics["mAP"] == pytest.approx(precision, abs=1e-6)
    assert saved.metrics["rank1"] == pytest.approx(first)
    assert saved.protocol["sizes"]["valid_queries"] == queries
    assert 0 < queries < len(query), "some queries must have no known clothes"
    assert saved.protocol["junk_rule"] == {"same": ["camid", "clothes"], "different": []}
    assert "camid and clothes are known on both sides and all differ" in saved.card["junk_rule"]


def test_the_rule_is_not_that_of_cameras_alone(raw, tiny_catalog):
    raw["evaluation"].append({"name": "market_evaluate"})
    run = train(raw, tiny_catalog)
    lines = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    changed, general = (line["metrics"] for line in lines if line["kind"] == "evaluation")
    assert changed["mAP"] < general["mAP"], "who wears the same is easier to find"


def test_data_without_clothes_are_found_before_the_training(raw, tiny_params, tiny_catalog):
    (drawn,) = tiny_params["data"]["train"]
    raw["data"]["targets"] = {"ltcc": raw["data"]["train"][0], "market": drawn}
    (rule,) = raw["evaluation"]
    raw["evaluation"] = [{**rule, "target": "ltcc"}, {**rule, "target": "market"}]
    with pytest.raises(ReidError) as caught:
        train(raw, tiny_catalog)
    assert str(caught.value) == (
        "evaluation.1: 'market_evaluate': target 'market' has no column 'clothes' (columns: bag, "
        "camid, hat, lower; scored targets that have it: ltcc)"
    )


# ---- columns in a training --------------------------------------------------------------


class Outfits:
    """A sampler that balances outfits and a loss that reads them; both keep what they see."""

    def __init__(self):
        self.sampled, self.lossed = [], []

    @hookimpl
    def reid_sampler(self):
        def build(params, *, labels, columns, seed):
            self.sampled.append(columns)
            return ByOutfit(columns["clothes"], seed)

        return [SamplerComponent(name="by_outfit", build=build, summary="-", columns=("clothes",))]

    @hookimpl
    def reid_loss(self):
        def clothes(x):
            self.lossed.append(x)
            known = x.columns["clothes"] >= 0
            same = x.columns["clothes"][:, None] == x.columns["clothes"][None, :]
            wanted = same & known[:, None] & known[None, :]
            cosine = x.features @ x.features.T
            return LossOutput((cosine * wanted).sum() / wanted.sum().clamp(min=1))

        return [
            LossComponent(
                name="clothes",
                build=lambda params: clothes,
                summary="-",
                role="metric",
                normalize=True,
                needs=frozenset({"batch"}),
                columns=("clothes",),
            )
        ]


class ByOutfit:
    """Batches of four images, half of them without a known outfit."""

    def __init__(self, clothes, seed):
        self.known, self.unknown = np.flatnonzero(clothes != ""), np.flatnonzero(clothes == "")
        self.seed, self.epoch = seed, 0

    def set_epoch(self, epoch):
        self.epoch = epoch

    def __len__(self):
        return 6

    def __iter__(self):
        rng = np.random.default_rng([self.seed, self.epoch])
        for _ in range(len(self)):
            drawn = [*rng.choice(self.known, 2, False), *rng.choice(self.unknown, 2, False)]
            yield [(self.epoch, int(index)) for index in drawn]


def test_clothes_are_numbered_over_both_data_sets_and_read_by_loss_and_sampler(
    raw, catalog_with, tmp_path
):
    # Both data sets have a 'coat'; it is another garment in each.
    other, others = draw(tmp_path / "prcc", persons=4, outfits=("coat", "hat"), first_camera=1)
    plugin = Outfits()
    raw["data"] |= {"train": [*raw["data"]["train"], other]}
    raw["loss"] = [{"name": "softmax"}, {"name": "clothes"}]
    raw["sampler"] = {"name": "by_outfit"}
    train(raw, catalog_with(plugin))

    made_up, columns = plugin.sampled  # it is tried before there is any image
    assert len(made_up["clothes"]) > len(columns["clothes"])
    words, sources = columns["clothes"], np.repeat([0, 1], [30, 24])
    assert words[sources == 1].tolist() == [row[4] for row in others if row[2] == "train"]
    expected = {(0, n): i for i, n in enumerate(OUTFITS)} | {(1, "coat"): 3, (1, "hat"): 4}
    first, second, *steps = plugin.lossed  # two on random vectors, before there is any image
    assert all((tried.columns["clothes"] == -1).all() for tried in (first, second))
    assert len(steps) == 6
    seen = set()
    for x in steps:
        index, codes = x.index.tolist(), x.columns["clothes"].tolist()
        assert codes == [expected.get((sources[i], words[i]), -1) for i in index]
        assert codes.count(-1) == 2
        seen |= set(codes)
    assert {-1, 3, 4} < seen


def test_one_of_two_data_sets_without_the_column_is_named(raw, tiny_params, catalog_with):
    raw["data"] |= {"train": [*raw["data"]["train"], *tiny_params["data"]["train"]]}
    raw["loss"], raw["evaluation"] = [{"name": "softmax"}, {"name": "clothes"}], []
    with pytest.raises(ReidError) as caught:
        train(raw, catalog_with(Outfits()))
    assert str(caught.value) == (
        "the column 'clothes' is read, and there is none in the data of 'synthetic_market' (it "
        "has: bag, camid, hat, lower, source); take data that have it, or leave out what reads it"
    )

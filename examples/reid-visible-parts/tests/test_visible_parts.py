"""Head, loss and distance against loops, and from a training on masks to an evaluation."""

import csv
import json
import math

import numpy as np
import pytest
import reid_visible_parts.distance
import reid_visible_parts.head
import reid_visible_parts.loss
import torch
from PIL import Image
from reid_visible_parts._head import VisiblePartsHead, weighted_means
from reid_visible_parts.head import VisiblePartsParams
from reid_visible_parts.loss import labels_of_cells

from reid_core import (
    BackboneComponent,
    LossComponent,
    ObjectiveComponent,
    ReidError,
    hookimpl,
    load_features,
)
from reid_core.contracts import FeatureMap, LossInput, LossOutput, Progress, Term
from reid_core.discovery import isolated_catalog, load_catalog
from reid_core.evaluation.evaluate_command import run_evaluation
from reid_core.params.validation import check_eval_params, check_run_params
from reid_core.runs.start_and_resume import start_train
from reid_core.testing import check_component
from reid_evaluate.distances.comparison import Vectors

PLUGINS = [reid_visible_parts.head, reid_visible_parts.loss, reid_visible_parts.distance]
PROGRESS = Progress(epoch=0, epochs=2, step=0, steps_per_epoch=1)
HEIGHT, WIDTH, PARTS = 32, 16, 3


class Cells(torch.nn.Module):
    """A small network with cells of 8 x 8 pixels."""

    out_channels, stride = 12, 8

    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 12, 8, stride=8)
        self.norm = torch.nn.BatchNorm2d(12)

    def forward(self, images, side=None):
        return FeatureMap(self.norm(self.conv(images)).relu())


class Probes:
    """A loss and an objective that keep what they see; and the small network."""

    def __init__(self):
        self.masks, self.batches = [], []

    @hookimpl
    def reid_backbone(self):
        return [BackboneComponent(name="cells", build=lambda params: Cells(), summary="-")]

    @hookimpl
    def reid_loss(self):
        def look(x):
            self.masks.append((x.index, x.extras["parts"]))
            return LossOutput(0 * x.features.sum())

        return [
            LossComponent(
                name="probe",
                build=lambda params: look,
                summary="-",
                role="id",
                extras=("parts",),
            )
        ]

    @hookimpl
    def reid_objective(self):
        def look(step):
            self.batches.append(step.batch)
            return {"look": Term(0 * step.outputs.embedding.sum())}

        return [
            ObjectiveComponent(
                name="look", build=lambda params: look, summary="-", extras=("parts",)
            )
        ]


@pytest.fixture
def probes():
    return Probes()


@pytest.fixture
def catalog(probes):
    installed = "visible_parts" in load_catalog().names("head")
    return load_catalog([probes] if installed else [probes, *PLUGINS])


# ---- the distance -----------------------------------------------------------------------


def images_of(features, visibility):
    count = len(features)
    return Vectors(
        torch.as_tensor(features, dtype=torch.float32),
        np.array(["a"] * count),
        np.zeros(count, dtype=np.int64),
        {"visibility": torch.as_tensor(visibility, dtype=torch.float32)},
    )


def some_images(count, parts, seed, dim=4):
    rng = np.random.default_rng([seed, count, parts])
    visible = rng.random((count, parts)) < 0.5
    return images_of(rng.standard_normal((count, (parts + 1) * dim)), visible)


def compared(query, gallery):
    distance = isolated_catalog(*PLUGINS).offer("distance", "visible_parts").component.build(None)
    out = torch.full((len(query), len(gallery)), torch.nan)
    distance.fill(distance.prepare(query), distance.prepare(gallery), out)
    return distance.values(out)


def by_loops(query, gallery, parts):
    """Equation 8 of the paper with cosines, part by part."""

    def cosine(a, b):
        lengths = math.sqrt(sum(x * x for x in a)) * math.sqrt(sum(x * x for x in b))
        return sum(x * y for x, y in zip(a, b, strict=True)) / lengths if lengths else 0.0

    def cut(images, i):
        row = images.features[i].double().tolist()
        size = len(row) // (parts + 1)
        return [row[p * size : (p + 1) * size] for p in range(parts + 1)]

    def distance(i, j):
        one, other = cut(query, i), cut(gallery, j)
        seen = [images.aux["visibility"][at].tolist() for images, at in ((query, i), (gallery, j))]
        common = [0] + [p + 1 for p in range(parts) if seen[0][p] >= 0.5 and seen[1][p] >= 0.5]
        return sum(1 - cosine(one[p], other[p]) for p in common) / len(common)

    return [[distance(i, j) for j in range(len(gallery))] for i in range(len(query))]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("parts", [1, 3, 8])
def test_the_distance_is_that_of_plain_loops(parts, seed):
    query, gallery = some_images(5, parts, seed), some_images(9, parts, seed + 10)
    expected = torch.tensor(by_loops(query, gallery, parts))
    torch.testing.assert_close(compared(query, gallery), expected.float(), atol=2e-6, rtol=0)


def test_images_without_a_common_part_have_the_distance_of_their_foregrounds():
    one = images_of([[1.0, 0.0, 5.0, 5.0, 1.0, 0.0]], [[1, 0]])
    other = images_of([[0.6, 0.8, 5.0, 5.0, 1.0, 0.0]], [[0, 1]])
    assert compared(one, other).item() == pytest.approx(0.4)
    assert compared(one, one).item() == pytest.approx(0.0, abs=1e-6)
    hidden = images_of([[1.0, 0.0, 5.0, 5.0, 1.0, 0.0]], [[0, 0]])
    assert compared(hidden, other).item() == pytest.approx(0.4)


def test_a_hidden_part_does_not_count_whatever_its_vector_is():
    query, gallery = some_images(4, 3, 0), some_images(6, 3, 1)
    before = compared(query, gallery)
    hidden = torch.cat([torch.ones(6, 1), gallery.aux["visibility"]], dim=1) == 0
    assert hidden.any()
    gallery.features.view(6, 4, 4)[hidden] += 100
    assert torch.equal(compared(query, gallery), before)


def test_very_large_and_zero_vectors_have_a_distance():
    large = images_of([[1e30, 0.0, 0.0, 1e-30], [0.0, 0.0, 0.0, 0.0]], [[1], [1]])
    expected = torch.tensor([[0.0, 1.0], [1.0, 1.0]])
    torch.testing.assert_close(compared(large, large), expected)


@pytest.mark.parametrize(
    ("size", "visibility", "message"),
    [
        (8, [[1, 1]], "vectors of 8 numbers are not a foreground and 2 parts of one size"),
        (6, [1], r"expected a finite visibility of each part \(N, K\), got \(1,\)"),
        (6, [[1, math.nan]], "expected a finite visibility"),
    ],
)
def test_what_cannot_be_compared_is_refused(size, visibility, message):
    images = images_of(np.ones((1, size)), visibility)
    with pytest.raises(ValueError, match=message):
        compared(images, images)


# ---- the head ---------------------------------------------------------------------------


def small_head(**params):
    torch.manual_seed(0)
    return VisiblePartsHead(12, VisiblePartsParams(**{"parts": PARTS, "dim": 4, **params}))


def test_head_and_distance_keep_their_contracts():
    catalog = isolated_catalog(*PLUGINS)
    assert not catalog.faults
    check_component("head", "visible_parts", catalog)
    check_component("head", "visible_parts", catalog, {"parts": 1, "dim": 3})
    check_component("distance", "visible_parts", catalog, case={"aux": {"visibility": (2,)}})


def test_a_mean_is_that_of_the_cells_by_their_weights():
    features, weights = torch.rand(2, 3, 4, 2), torch.rand(2, 5, 4, 2)
    means = weighted_means(features, weights)
    for b, k, c in np.ndindex(2, 5, 3):
        expected = np.average(features[b, c].numpy(), weights=weights[b, k].numpy())
        assert means[b, k, c].item() == pytest.approx(expected, rel=1e-5)


def test_a_part_is_visible_where_it_has_a_large_share_of_a_cell():
    head = small_head(visible_from=0.6).eval()
    features = FeatureMap(torch.zeros(1, 12, 4, 2))
    with torch.no_grad():
        head.attention.weight.zero_()
        head.attention.bias.copy_(torch.tensor([0.0, 0.0, 2.0, 0.0]))
        shares = head.attention.bias.softmax(dim=0).tolist()
        output = head(features)
    assert shares[2] > 0.6 > max(shares[0], shares[1], shares[3])
    assert output.aux["visibility"].tolist() == [[0.0, 1.0, 0.0]]
    assert output.aux["part_logits"].shape == (1, PARTS + 1, 4, 2)


# ---- the loss ---------------------------------------------------------------------------


def mask_loss(logits, mask, progress=PROGRESS):
    loss = isolated_catalog(*PLUGINS).offer("loss", "part_masks").component.build(None)
    pids = torch.zeros(len(mask), dtype=torch.int64)
    features = torch.zeros(len(mask), 4)
    aux, extras = {"part_logits": logits}, {"parts": mask}
    return loss(LossInput(features, pids, pids, progress, aux=aux, extras=extras))


def test_the_loss_is_the_mean_cross_entropy_of_the_cells():
    rng = np.random.default_rng(0)
    logits = torch.from_numpy(rng.standard_normal((2, 4, 4, 2)))
    mask = torch.from_numpy(rng.integers(0, 4, (2, 12, 6), dtype=np.uint8))
    output = mask_loss(logits, mask)
    values, right = [], []
    for b, y, x in np.ndindex(2, 4, 2):
        label = int(mask[b, 3 * y + 1, 3 * x + 1])  # a cell is 3 x 3 pixels
        row = logits[b, :, y, x].tolist()
        values.append(-math.log(math.exp(row[label]) / sum(map(math.exp, row))))
        right.append(row[label] == max(row))
    assert output.value.item() == pytest.approx(np.mean(values), rel=1e-9)
    assert output.monitors["right_cells"].item() == pytest.approx(np.mean(right))


def test_its_gradient_reaches_the_attention_and_no_vector():
    head = small_head()
    features = torch.rand(2, 12, 4, 2, requires_grad=True)
    mask = torch.randint(0, PARTS + 1, (2, HEIGHT, WIDTH), dtype=torch.uint8)
    mask_loss(head(FeatureMap(features)).aux["part_logits"], mask).value.backward()
    reached = {name for name, p in head.named_parameters() if p.grad is not None and p.grad.any()}
    assert reached == {"attention.weight", "attention.bias"}
    assert features.grad.any()


def test_a_mask_with_more_parts_than_the_head_is_an_error_in_the_first_epoch():
    mask = torch.full((1, 8, 4), 7, dtype=torch.uint8)
    with pytest.raises(ReidError, match=r"has the label 7, and the head has 3 parts, .* 1 to 3"):
        mask_loss(torch.zeros(1, PARTS + 1, 2, 1), mask)


# ---- a training -------------------------------------------------------------------------


def drawn_mask():
    """A mask that is not its own mirror image: head, trunk and legs."""
    mask = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    mask[2:10, 2:8] = 1
    mask[10:22, 1:10] = 2
    mask[22:31, 3:7] = 3
    return mask


def draw_person(folder, name, person, seed):
    """Draw an image whose red is its mask, and whose green and blue its person."""
    rng = np.random.default_rng(seed)
    mask = np.roll(drawn_mask(), rng.integers(0, 4), axis=1)
    colours = np.random.default_rng(person).integers(0, 256, 2)
    pixels = np.zeros((HEIGHT, WIDTH, 3), dtype=np.uint8)
    pixels[..., 0] = 60 * mask
    pixels[..., 1:] = np.where(mask[..., None] > 0, colours, rng.integers(0, 60, 2))
    Image.fromarray(pixels).save(folder / f"{name}.png")
    Image.fromarray(mask).save(folder / f"{name}.mask.png")
    return mask


@pytest.fixture
def people(tmp_path):
    """A function that draws people, each image with its mask; it returns their CSV file."""
    folder = tmp_path / "people"
    folder.mkdir()
    masks = []

    def draw(masked=True):
        rows = []
        splits = [("train", range(6), 4), ("query", range(6, 10), 2), ("gallery", range(6, 10), 4)]
        for split, persons, images in splits:
            for person in persons:
                for i in range(images):
                    name = f"{split}-{person}-{i}"
                    mask = draw_person(folder, name, person, len(rows))
                    if split == "train":
                        masks.append(mask)
                    beside = f"{name}.mask.png" if split == "train" and masked else ""
                    rows.append([f"{name}.png", f"p{person}", split, i % 2, beside])
        with open(folder / "people.csv", "w", newline="") as file:
            csv.writer(file).writerows([["path", "pid", "split", "camid", "mask"], *rows])
        return str(folder / "people.csv")

    draw.masks = masks
    return draw


@pytest.fixture
def raw(people, tmp_path):
    """The params of a training whose images become tensors of 0 to 1, and nothing else."""

    def make(*operations, masked=True, **changes):
        given = {"file": people(masked), "masks": {"parts": "mask"}}
        return {
            "data": {"train": [{"name": "manifest", "params": given}]},
            "backbone": {"name": "cells"},
            "head": [{"name": "visible_parts", "params": {"parts": PARTS, "dim": 8}}],
            "loss": [
                {"name": "softmax"},
                {"name": "triplet"},
                {"name": "part_masks", "branches": "foreground"},
                {"name": "probe", "branches": "foreground"},
            ],
            "objective": [{"name": "supervised"}, {"name": "look"}],
            "sampler": {"name": "class_balanced", "params": {"P": 3, "K": 4}},
            "augmentation": [
                {"name": "resize", "params": {"height": HEIGHT, "width": WIDTH}},
                *operations,
            ],
            "optimizer": {"name": "adam", "lr": 0.02},
            "train": {"epochs": 2, "device": "cpu", "log_every": 1},
            "evaluation": [{"name": "market_evaluate", "distance": {"name": "visible_parts"}}],
            "logger": [],
            "working_dir": str(tmp_path / "runs"),
            **changes,
        }

    return make


FLIP = {"name": "flip", "params": {"p": 1.0}}
MOVING = [
    {"name": "pad_crop", "params": {"padding": 6}},
    {"name": "random_erasing", "params": {"p": 0.8, "fill": "zero"}},
    {"name": "flip"},
]


def test_after_a_flip_the_loss_sees_the_mirrored_masks(catalog, probes, raw, people):
    start_train(check_run_params(raw(FLIP), catalog, "test"), catalog, "run")
    assert len(probes.masks) == 4
    for index, masks in probes.masks:
        drawn = np.stack([people.masks[i] for i in index.tolist()])
        assert not np.array_equal(masks.numpy(), drawn)
        np.testing.assert_array_equal(masks.numpy(), drawn[:, :, ::-1])


def test_masks_move_with_crop_erasing_and_flip(catalog, probes, raw, people):
    start_train(check_run_params(raw(*MOVING), catalog, "test"), catalog, "run")
    moved = 0
    for batch in probes.batches:
        # Red is the mask; what comes in from outside, or is erased, is black and background.
        red = (batch.images[:, 0] * 255 / 60).round().to(torch.uint8)
        assert torch.equal(batch.extras["parts"], red)
        drawn = np.stack([people.masks[i] for i in batch.index.tolist()])
        moved += sum(map(np.any, batch.extras["parts"].numpy() != drawn))
    assert moved > 40


def lines_of(run, kind):
    lines = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    return [line for line in lines if line["kind"] == kind]


def test_from_a_training_to_its_weights_and_an_evaluation_of_them(catalog, raw, tmp_path):
    train = {"epochs": 12, "device": "cpu", "log_every": 1}
    run = start_train(check_run_params(raw(*MOVING, train=train), catalog, "test"), catalog, "run")
    right = [line["monitors"]["part_masks.right_cells"] for line in lines_of(run, "train")]
    assert np.mean(right[-4:]) > np.mean(right[:4]) + 0.1
    in_training = lines_of(run, "evaluation")[-1]["metrics"]

    out = tmp_path / "out"
    again = {
        "weights": str(run.last_weights),
        "targets": {"people": raw()["data"]["train"][0]},
        "evaluation": raw()["evaluation"],
        "output_dir": str(out),
        "device": "cpu",
        "working_dir": raw()["working_dir"],
    }
    (result,) = run_evaluation(check_eval_params(again, catalog, "test"), catalog)
    assert result.scores.metrics == in_training
    assert result.scores.protocol["distance"] == "visible_parts"

    # The maps of the parts are large, and nobody has asked for them.
    features = load_features(out / "features" / "people-query.npz")
    assert {name: array.shape for name, array in features.values.items()} == {
        "embedding": (8, (PARTS + 1) * 8),
        "aux.visibility": (8, PARTS),
    }
    assert set(np.unique(features.values["aux.visibility"])) == {0.0, 1.0}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"masked": False}, r"'parts' is read beside every image, and 24 of 24 images of dataset"),
        (
            {"head": [{"name": "global"}], "loss": [{"name": "softmax"}, {"name": "part_masks"}]},
            "'part_masks' needs the value 'part_logits' of a head",
        ),
        (
            {"head": [{"name": "global"}], "loss": [{"name": "softmax"}]},
            "'visible_parts' needs the value 'visibility' of a head",
        ),
        (
            {"head": [{"name": "visible_parts", "params": {"parts": 2, "dim": 8}}]},
            "has the label 3, and the head has 2 parts",
        ),
    ],
)
def test_what_does_not_go_together_is_said_before_anything_is_learned(
    catalog, raw, changes, message
):
    with pytest.raises(ReidError, match=message):
        start_train(check_run_params(raw(**changes), catalog, "test"), catalog, "run")


def test_the_cells_of_a_mask_are_those_of_the_map():
    mask = torch.arange(8, dtype=torch.uint8).repeat_interleave(4).expand(1, 6, 32)
    assert labels_of_cells(mask, (3, 8)).tolist() == [[list(range(8))] * 3]

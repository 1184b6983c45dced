"""Test-time averaging: the mean over mirrored and scaled versions, against plain loops.

The scaled images come from the definition of bicubic interpolation (R. Keys, 1981, a = -0.75) and,
where they shrink, from Pillow's antialiased resize; the mean is made in float64.
"""

import io
import json
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from reid_core import BackboneComponent, EvaluatorComponent, ReidError, hookimpl
from reid_core.contracts import FeatureMap, ImageRecord, Listing, ModelOutput, Scores
from reid_core.data.loaders import evaluation_loader
from reid_core.data.training_images import TrainingImages
from reid_core.data.transforms import Pipeline
from reid_core.errors import ParamsError
from reid_core.evaluation.during_training import Scorer
from reid_core.evaluation.evaluate_command import run_evaluation
from reid_core.features.averaging import check_scales
from reid_core.features.extraction import ModelUnderTest, blank_values, extract
from reid_core.features.feature_files import load_features
from reid_core.files import user_path
from reid_core.network.weights import save_weights, weights_metadata
from reid_core.params.entries import AugmentationEntry
from reid_core.params.messages import read_params
from reid_core.params.schema import ExtractionParams
from reid_core.params.validation import check_eval_params, check_run_params
from reid_core.run_directory import RunDirectory
from reid_core.storage.dataset_stores import Stores
from reid_core.storage.packing import pack
from reid_core.training.assembly import build_training

SIZE = (16, 8)


def png(seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def store(tmp_path):
    """Three query images of random pixels."""
    records = [
        ImageRecord(f"{i}.png", "query", pid=str(i), camid=i, source=lambda i=i: png(i))
        for i in range(3)
    ]
    return pack(Listing(records), tmp_path / "store", {"name": "noise", "params": {}})


@pytest.fixture
def pipeline(catalog):
    entries = [
        {"name": "resize", "params": {"height": SIZE[0], "width": SIZE[1]}},
        {"name": "normalize"},
    ]
    return Pipeline([read_params(AugmentationEntry, e, catalog) for e in entries], training=False)


def looks(images):
    """Vectors that a mirrored, moved or resized image changes; of arrays and tensors alike."""
    left = images[..., : images.shape[-1] // 2].mean((-1, -2))
    return [images[..., 0, 0], images[..., -1, 2], left, images.mean((-1, -2)) ** 2]


class Network(nn.Module):
    """Looks at images of any size and remembers their sizes."""

    def __init__(self, aux=None):
        super().__init__()
        self.sizes, self.aux = [], aux or (lambda images: images[:, 0, :2, :2])

    def forward(self, images, side=None):
        assert not self.training
        self.sizes.append(tuple(images.shape[2:]))
        parts = looks(images)
        embedding = torch.cat(parts, dim=1)
        return ModelOutput(
            embedding=embedding,
            feature=embedding * 2,
            branches={},
            logits={"a": parts[0], "b": parts[1]},
            aux={"spot": self.aux(images)},
        )


def features(network, store, pipeline, outputs=("embedding",), **extraction):
    model = under_test(network, pipeline, **extraction)
    return extract(model, store, "query", outputs, classes=("x", "y", "z"), meta={})


def under_test(network, pipeline, **extraction):
    return ModelUnderTest(
        module=network,
        pipeline=pipeline,
        extraction=ExtractionParams(**extraction),
        classes=(),
        device=torch.device("cpu"),
        batch_size=2,
        workers=0,
        name="looks",
    )


def images_of(store, pipeline):
    positions = store.index.positions("query")
    loader = evaluation_loader(store, positions, pipeline, batch_size=9, workers=0)
    return next(iter(loader)).double().numpy()


# ---- what is asked for ------------------------------------------------------------------


def test_only_what_is_asked_for_is_kept(store, pipeline):
    asked = {"embedding", "aux.spot"}
    assert features(Network(), store, pipeline, sorted(asked)).values.keys() == asked
    with pytest.raises(ReidError, match=r"needs the value 'uc' of a head; .* give spot$"):
        features(Network(), store, pipeline, ("aux.uc",))


def test_columns_come_with_the_images(store, pipeline):
    store.index = replace(
        store.index, columns={"time": np.arange(3), "place": np.array(["", "a", "b"])}
    )
    model, at = under_test(Network(), pipeline), np.array([2, 0])
    named = {"classes": (), "meta": {"dataset": "noise"}, "at": at}
    found = extract(model, store, "query", ("feature",), columns=("place", "camid"), **named)
    assert {name: column.tolist() for name, column in found.columns.items()} == {
        "place": ["b", ""],
        "camid": [2, 0],
    }
    with pytest.raises(ReidError) as caught:
        extract(model, store, "query", ("feature",), columns=("clothes",), **named)
    assert str(caught.value) == (
        "the images of split 'query' of 'noise' have no column 'clothes' (columns: camid, place, "
        "time)"
    )


def test_a_blank_image_gives_the_shapes_and_types_of_every_image(store, pipeline):
    outputs = ("embedding", "feature", "logits", "aux.spot")
    network = Network().train()
    row = blank_values(under_test(network, pipeline), outputs)
    whole = features(Network(), store, pipeline, outputs).values
    assert row.keys() == whole.keys()
    for name, array in whole.items():
        assert (row[name].shape[1:], row[name].dtype) == (array.shape[1:], array.dtype)
        assert len(row[name]) == 1
    assert network.training
    assert network.sizes == [SIZE]


# ---- the definition ---------------------------------------------------------------------


def keys_weight(x, a=-0.75):
    x = abs(x)
    if x <= 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a if x < 2 else 0.0


def enlarged(channel, height, width):
    """Bicubic interpolation of ``(H, W)`` at pixel centres; the border pixel goes on outside."""
    result = np.zeros((height, width))
    for i, j in product(range(height), range(width)):
        y = (i + 0.5) * channel.shape[0] / height - 0.5
        x = (j + 0.5) * channel.shape[1] / width - 0.5
        for m, n in product(range(-1, 3), repeat=2):
            row, column = int(np.floor(y)) + m, int(np.floor(x)) + n
            weight = keys_weight(y - row) * keys_weight(x - column)
            inside = np.clip(row, 0, channel.shape[0] - 1), np.clip(column, 0, channel.shape[1] - 1)
            result[i, j] += weight * channel[inside]
    return result


def shrunk(channel, height, width):
    image = Image.fromarray(channel.astype(np.float32))
    return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC), dtype=np.float64)


def version(image, scale, mirrored):
    """One version ``(3, h, w)`` of an image ``(3, H, W)``."""
    if mirrored:
        image = image[:, :, ::-1]
    height, width = round(SIZE[0] * scale), round(SIZE[1] * scale)
    if scale == 1:
        return image
    resize = enlarged if scale > 1 else shrunk
    return np.stack([resize(channel, height, width) for channel in image])


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("scales", [(1.0,), (1.25,), (0.6,), (1.0, 1.1, 1.3, 0.7)])
def test_every_output_is_the_mean_over_the_versions(store, pipeline, flip, scales):
    outputs = ("embedding", "feature", "logits", "aux.spot")
    found = features(Network(), store, pipeline, outputs, flip=flip, scales=scales)
    for row, image in enumerate(images_of(store, pipeline)):
        versions = [version(image, s, mirrored) for mirrored in range(1 + flip) for s in scales]
        seen = [looks(v) for v in versions]
        expected = {
            "embedding": np.mean([np.concatenate(parts) for parts in seen], axis=0),
            "feature": np.mean([2 * np.concatenate(parts) for parts in seen], axis=0),
            "logits": np.mean([(parts[0] + parts[1]) / 2 for parts in seen], axis=0),
            "aux.spot": np.mean([v[0, :2, :2] for v in versions], axis=0),
        }
        assert found.values.keys() == expected.keys()
        for name, values in expected.items():
            np.testing.assert_allclose(found.values[name][row], values, atol=2e-5)
            assert found.values[name].dtype == np.float32


def test_every_scale_is_made_of_the_full_size_image(store, pipeline):
    network = Network()
    features(network, store, pipeline, flip=True, scales=(1.2, 0.8, 1.0))
    one_pass = [(19, 10), (13, 6), (16, 8)]
    assert network.sizes == one_pass * 4  # original and mirrored, for each of two batches


def test_without_averaging_the_outputs_are_those_of_the_network_to_the_bit(store, pipeline):
    network = Network().train()
    found = features(network, store, pipeline)
    assert network.training
    network.eval()
    images = torch.from_numpy(images_of(store, pipeline)).float()
    expected = torch.cat([network(part, {}).embedding for part in images.split(2)])
    np.testing.assert_array_equal(found.values["embedding"], expected.numpy())


@pytest.mark.parametrize(
    ("extraction", "facts"),
    [
        ({}, {}),
        ({"flip": True}, {"flip": "mean of original and mirrored image"}),
        ({"scales": (1.0, 1.5)}, {"scales": [1.0, 1.5]}),
        (
            {"scales": (1.5,), "flip": True},
            {"flip": "mean of original and mirrored image", "scales": [1.5]},
        ),
    ],
)
def test_the_card_is_told(store, pipeline, extraction, facts):
    found = features(Network(), store, pipeline, **extraction)
    assert found.meta == {"model": "looks", "split": "query", "images": 3, **facts}


def test_a_value_whose_shape_depends_on_the_scale_has_no_mean(store, pipeline):
    network = Network(aux=lambda images: images[:, 0])
    mirrored = features(network, store, pipeline, ("aux.spot",), flip=True)
    assert mirrored.values["aux.spot"].shape == (3, *SIZE)
    with pytest.raises(
        ReidError,
        match=r"extraction\.scales: 'aux\.spot' has shape \(16, 8\) at one scale and \(32, 16\) at",
    ):
        features(network, store, pipeline, ("aux.spot",), scales=(1.0, 2.0))


# ---- columns ----------------------------------------------------------------------------


class Cameras(Network):
    """A network whose embedding is what it is told of the camera."""

    def forward(self, images, side):
        output = super().forward(images, side)
        return replace(output, embedding=side["camid"][:, None].float())


def test_extraction_tells_the_network_the_camera_of_every_version_of_an_image(store, pipeline):
    model = ModelUnderTest(
        module=Cameras(),
        pipeline=pipeline,
        extraction=ExtractionParams(flip=True, scales=(1.0, 1.5)),
        classes=(),
        device=torch.device("cpu"),
        batch_size=2,
        workers=0,
        name="cameras",
        side_values={"camid": (("other", 0), ("noise", 2), ("noise", 1))},
    )
    found = {
        label: extract(model, store, "query", ["embedding"], classes=(), meta={}, label=label)
        for label in ("noise", "other")
    }
    assert found["noise"].values["embedding"].ravel().tolist() == [-1, 2, 1]
    assert found["other"].values["embedding"].ravel().tolist() == [0, -1, -1]
    last = np.array([2])
    features = extract(
        model, store, "query", ["embedding"], classes=(), meta={}, label="noise", at=last
    )
    assert features.values["embedding"].ravel().tolist() == [1]


class CameraPlugin:
    """Offers the backbone ``cameras``, which looks at the camera."""

    @hookimpl
    def reid_backbone(self):
        def build(params, *, side_values):
            class Adds(nn.Module):
                out_channels, stride = 8, 16

                def __init__(self):
                    super().__init__()
                    self.conv = nn.Conv2d(3, 8, 16, stride=16)
                    self.cameras = nn.Embedding(side_values["camid"] + 1, 8)

                def forward(self, images, side):
                    rows = side["camid"] % self.cameras.num_embeddings
                    return FeatureMap(self.conv(images) + self.cameras(rows)[..., None, None])

            return Adds()

        return [BackboneComponent(name="cameras", build=build, summary="-", side=("camid",))]


# ---- vectors that are no numbers --------------------------------------------------------


class Spoilt(Network):
    """A network whose vectors of an image are no numbers from the given batch on."""

    def __init__(self, value, batch):
        super().__init__()
        self.value, self.batch = value, batch

    def forward(self, images, side):
        output = super().forward(images, side)
        return output if len(self.sizes) < self.batch else self.spoil(output)

    def spoil(self, output):
        return replace(output, embedding=output.embedding * self.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_first_vectors_that_are_no_numbers_are_an_error(store, pipeline, value):
    with pytest.raises(ReidError, match="the network gives vectors that are NaN or infinite"):
        features(Spoilt(value, batch=1), store, pipeline)
    features(Spoilt(value, batch=1), store, pipeline, ("feature",))  # these are numbers
    assert not np.isfinite(
        features(Spoilt(value, batch=2), store, pipeline).values["embedding"]
    ).all()


# ---- scales that a network cannot take --------------------------------------------------


@pytest.mark.parametrize(
    ("scale", "message"),
    [
        (0.5, "take images of 16 x 8 pixels (scale 0.5 of 32 x 16): "),
        (0.01, "take images of 0 x 0 pixels (scale 0.01 of 32 x 16): "),
    ],
)
def test_a_scale_that_is_too_small_for_the_network_is_found_at_once(scale, message):
    network = nn.Conv2d(3, 8, 16, stride=16).train()
    extraction = ExtractionParams(scales=(1.0, scale))
    with pytest.raises(ReidError) as caught:
        check_scales(network, (32, 16), extraction, torch.device("cpu"))
    assert str(caught.value).startswith(f"extraction.scales: the network cannot {message}")


def test_fitting_scales_leave_the_network_as_it_was():
    network = nn.Sequential(nn.Conv2d(3, 8, 16, stride=16), nn.BatchNorm2d(8)).train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    check_scales(network, (32, 16), ExtractionParams(scales=(1.5, 1.0)), torch.device("cpu"))
    assert network.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_nothing_is_run_for_the_usual_size():
    network_that_cannot_run = nn.Module()
    check_scales(network_that_cannot_run, (32, 16), ExtractionParams(), torch.device("cpu"))


# ---- params -----------------------------------------------------------------------------


def problems(check, raw, catalog):
    with pytest.raises(ParamsError) as caught:
        check(raw, catalog, "p")
    return caught.value.problems


@pytest.mark.parametrize(
    ("extraction", "problem"),
    [
        ({"scales": []}, "extraction.scales: "),
        ({"scales": [1.0, 0]}, "extraction.scales.1: must be > 0.0, got 0"),
        ({"scales": [-1.5]}, "extraction.scales.0: must be > 0.0, got -1.5"),
        ({"scales": ["1"]}, "extraction.scales.0: "),
        ({"scales": 1.0}, "extraction.scales: "),
        ({"flip": 1}, "extraction.flip: "),
        ({"flips": True}, "extraction.flips: unknown key; did you mean 'flip'?"),
    ],
)
def test_params_that_cannot_be(tiny_catalog, tiny_params, extraction, problem):
    raw = {**tiny_params, "evaluation": [], "extraction": extraction}
    (found,) = problems(check_run_params, raw, tiny_catalog)
    assert found.startswith(problem)


def test_params_of_an_evaluation(tiny_catalog):
    saved = {"features": {"query": "x.npz"}, "evaluation": [{"name": "classification_evaluate"}]}
    assert problems(check_eval_params, {**saved, "extraction": {}}, tiny_catalog) == [
        "'features' are extracted already: 'extraction' would have no effect; leave it out"
    ]
    (found,) = problems(check_eval_params, {"run": "x", "features_format": "mat"}, tiny_catalog)
    assert found.startswith("features_format: ")
    params = check_eval_params({"run": "x", "extraction": {"scales": [1, 2]}}, tiny_catalog, "p")
    assert params.extraction.scales == (1.0, 2.0)


# ---- runs and evaluations ---------------------------------------------------------------


class CountingPlugin:
    """Offers the evaluator ``counting``, whose card is what it was told of the query images."""

    @hookimpl
    def reid_evaluator(self):
        def count(splits):
            return Scores({"images": len(splits["query"])}, "images", dict(splits["query"].meta))

        return [
            EvaluatorComponent(
                name="counting", build=lambda params: count, summary="-", splits=("query",)
            )
        ]


FLIPPED = {"flip": True, "scales": [1.0, 1.5]}
FACTS = {"flip": "mean of original and mirrored image", "scales": [1.0, 1.5]}


@pytest.fixture
def counting_catalog(catalog_with):
    return catalog_with(CountingPlugin())


@pytest.fixture
def training_of(counting_catalog, tiny_params):
    """A function from an ``extraction`` section to an untrained run and its stores."""
    changes = {"backbone": {"name": "tiny"}, "evaluation": [{"name": "counting"}]}

    def make(**extraction):
        raw = {**tiny_params, **changes, "extraction": extraction}
        params = check_run_params(raw, counting_catalog, "p")
        stores = Stores(user_path(params.working_dir))
        images = TrainingImages.of([(e.label, stores.open(e)) for e in params.data.train])
        cpu = torch.device("cpu")
        torch.manual_seed(0)
        training = build_training(params, counting_catalog, images, None, cpu)
        return training, stores

    return make


@pytest.fixture
def scorer_of(training_of):
    """A function from an ``extraction`` section to the evaluations of an untrained run."""
    return lambda **extraction: Scorer(*training_of(**extraction))


@pytest.fixture
def camera_training(catalog_with, tiny_params):
    """An untrained run whose backbone looks at cameras, with its stores and its catalog."""
    catalog = catalog_with(CountingPlugin(), CameraPlugin())
    changes = {"backbone": {"name": "cameras"}, "evaluation": [{"name": "counting"}]}
    train = tiny_params["data"]["train"]
    unseen = {**train[0], "alias": "unseen", "params": {**train[0]["params"], "cameras": 3}}
    targets = {"seen": {**train[0]}, "unseen": unseen}
    raw = {**tiny_params, **changes, "data": {"train": train, "targets": targets}}
    raw["evaluation"] = [{"name": "counting", "target": name} for name in targets]
    params = check_run_params(raw, catalog, "p")
    stores = Stores(user_path(params.working_dir))
    images = TrainingImages.of([(e.label, stores.open(e)) for e in params.data.train])
    training = build_training(params, catalog, images, None, torch.device("cpu"))
    return training, stores, catalog


def test_it_is_said_once_a_target_how_many_cameras_are_unknown(camera_training, capsys, tmp_path):
    training, stores, catalog = camera_training
    scorer = Scorer(training, stores)
    said = [line for line in capsys.readouterr().out.splitlines() if "looks at" in line]
    counts = {n: (scorer.targets.store(n).index.split == "query").sum() for n in ("seen", "unseen")}
    expected = [
        "target 'seen': the network looks at 'camid', which is unknown to it in 0 of "
        f"{counts['seen']} images",
        f"target 'unseen': the network looks at 'camid', which is unknown to it in "
        f"{counts['unseen']} of {counts['unseen']} images",
    ]
    assert said == expected
    scorer.scores()
    assert "looks at" not in capsys.readouterr().out
    raw = training.params.model_dump(mode="json")
    directory = RunDirectory.create(tmp_path / "run", raw, None)
    save_weights(directory.best_weights, training.module.model, metadata_of(training))
    run_evaluation(check_eval_params({"run": str(directory.path)}, catalog, "p"), catalog)
    assert [n for n in capsys.readouterr().out.splitlines() if "looks at" in n] == expected


def test_the_part_of_a_run_whose_first_vectors_are_no_numbers_is_named(camera_training):
    training, stores, _ = camera_training
    scorer = Scorer(training, stores)
    with torch.no_grad():
        training.module.model.backbone.conv.bias.fill_(float("nan"))
    with pytest.raises(
        ReidError, match=r"^backbone 'cameras' of local 0 gives values that are NaN"
    ):
        scorer.scores()


def metadata_of(training):
    model, hashes = training.module.model, training.images.content_hashes()
    return weights_metadata(training.params, model, (32, 16), training.classes, hashes)


def facts_of(card):
    return {name: card[name] for name in ("flip", "scales") if name in card}


def test_the_scores_of_a_run_are_averaged_and_the_histogram_claims_nothing(scorer_of):
    scorer = scorer_of(**FLIPPED)
    (result,) = scorer.scores()
    assert facts_of(result.scores.card) == FACTS
    cards = {name: results[0].scores.card for name, results in scorer.baselines()}
    assert facts_of(cards["untrained network"]) == FACTS
    assert facts_of(cards["colour histogram"]) == {}
    (plain,) = scorer_of().scores()
    assert facts_of(plain.scores.card) == {}


def test_averaging_does_not_change_the_weights_file(training_of):
    assert metadata_of(training_of(**FLIPPED)[0]) == metadata_of(training_of()[0])


def test_a_scale_that_does_not_fit_is_found_before_the_training(scorer_of):
    with pytest.raises(ReidError, match=r"extraction\.scales: the network cannot take images of 1"):
        scorer_of(scales=[0.5])


@pytest.fixture
def run_of(training_of, tmp_path):
    """A function from an ``extraction`` section to a run directory with untrained weights."""

    def make(**extraction):
        training, _ = training_of(**extraction)
        params = training.params.model_dump(mode="json")
        directory = RunDirectory.create(tmp_path / "run", params, None)
        save_weights(directory.best_weights, training.module.model, metadata_of(training))
        return directory

    return make


def card_of(catalog, **raw):
    (result,) = run_evaluation(check_eval_params(raw, catalog, "p"), catalog)
    return facts_of(result.scores.card)


def test_an_evaluation_averages_as_its_run_or_as_it_says(run_of, counting_catalog, tmp_path):
    run = run_of(**FLIPPED)
    assert card_of(counting_catalog, run=str(run.path)) == FACTS
    assert card_of(counting_catalog, run=str(run.path), extraction={}) == {}
    flipped = {"flip": FACTS["flip"]}
    other = card_of(counting_catalog, run=str(run.path), extraction={"flip": True})
    assert other == flipped
    raw = json.loads(run.params.read_text())
    alone = {
        "weights": str(run.best_weights),
        "targets": {"people": raw["data"]["train"][0]},
        "evaluation": raw["evaluation"],
        "working_dir": raw["working_dir"],
    }
    assert card_of(counting_catalog, **alone) == {}
    assert card_of(counting_catalog, **alone, extraction={"flip": True}) == flipped
    with pytest.raises(ReidError, match=r"extraction\.scales: the network cannot take images of 1"):
        card_of(counting_catalog, **alone, extraction={"scales": [0.5]})


def test_extracted_features_are_written_in_the_chosen_format(run_of, counting_catalog, tmp_path):
    run, out = run_of(flip=True), tmp_path / "out"
    found = {}
    for ending in ("npz", "safetensors"):
        card_of(counting_catalog, run=str(run.path), output_dir=str(out), features_format=ending)
        path = out / "features" / f"synthetic_market-query.{ending}"
        found[ending] = load_features(path, "query")
    npz, tensors = found.values()
    assert npz.meta == tensors.meta
    assert npz.meta["flip"] == FACTS["flip"]
    np.testing.assert_array_equal(npz.values["embedding"], tensors.values["embedding"])
    np.testing.assert_array_equal(npz.names, tensors.names)

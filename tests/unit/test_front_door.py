"""The front door: a loss by name gives the training's number, and mistakes are the caller's."""

import ast
import importlib
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import reid_core
from cases import cases_of
from reid_core import Component, LossComponent, Params, ReidError, hookimpl
from reid_core.catalog import Catalog
from reid_core.contracts import Features, LossOutput
from reid_core.discovery import isolated_catalog, load_catalog
from reid_core.network.model import build_model
from reid_core.network.weights import save_weights
from reid_core.params.validation import check_run_params
from reid_core.testing import Subject
from reid_core.testing.losses import BATCHES, DIM, PROGRESS, Applied
from reid_core.testing.networks import SmallBackbone
from reid_core.testing.splits import features_of
from reid_evaluate.ranking.ap_and_cmc import average_precision

FUNCTIONS = ("build", "command", "distance_matrix", "evaluate")
FUNCTIONS += ("load_features", "load_model", "load_run", "rank")


# ---- the package ------------------------------------------------------------------------


def test_the_package_lists_and_gives_its_functions_and_no_others():
    assert set(FUNCTIONS) <= set(dir(reid_core))
    assert all(callable(getattr(reid_core, name)) for name in FUNCTIONS)
    with pytest.raises(AttributeError, match="module 'reid_core' has no attribute 'load_modle'"):
        _ = reid_core.load_modle
    assert importlib.import_module("reid_core.api").__doc__


def test_type_checkers_see_what_is_given_away():
    tree = ast.parse(Path(reid_core.__file__).read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    seen = {alias.asname: line.module for line in block.body for alias in line.names}
    given = {name: getattr(reid_core, name).__module__ for name in FUNCTIONS}
    assert (ast.unparse(block.test), {name: seen[name] for name in given}) == (
        "TYPE_CHECKING",
        given,
    )
    assert seen.keys() == {*FUNCTIONS, *reid_core.__all__}


@pytest.mark.parametrize("call", ["command('plugins')(kind='loss')", "load_run", "evaluate"])
def test_what_needs_no_torch_loads_none(call):
    code = f"import sys, reid_core; reid_core.{call}; assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# ---- losses -----------------------------------------------------------------------------


def training_number(applied, features, pids):
    """What a training step adds, and what the built loss needs to say the same."""
    value = applied(features, pids).value
    step = applied.step(features, pids)
    layer = dict(step.model.classifier.items()).get("whole")
    given = {
        "weight": None if layer is None else layer.weight,
        "aux": step.outputs.aux,
        "columns": step.batch.columns,
        "extras": step.batch.extras,
        "index": step.batch.index,
        "progress": PROGRESS,
    }
    return value, given


@pytest.mark.parametrize("name", ["four identities with two images", "uneven identities"])
@pytest.mark.parametrize("loss", cases_of("loss"))
def test_a_loss_by_name_gives_the_number_of_a_training(loss, catalog, name):
    features, pids = BATCHES[name]
    for entry in ({}, {"normalize": True}, {"normalize": False}):
        applied = Applied(Subject(loss.offer, catalog), num_pids=8, **entry)
        with torch.no_grad():
            value, given = training_number(applied, 3 * features, pids)
            with torch.random.fork_rng():
                torch.manual_seed(0)
                built = reid_core.build(
                    "loss", loss.name, catalog=catalog, dim=DIM, num_pids=8, branch=None, **entry
                )
            built.load_state_dict(
                {f"loss.{k}": v for k, v in state_of(applied.term.losses[0]).items()}
            )
            torch.testing.assert_close(built(3 * features, pids, **given).value, value)


def state_of(loss):
    return loss.state_dict() if isinstance(loss, torch.nn.Module) else {}


def test_the_contrastive_loss_of_raw_vectors_is_that_of_unit_vectors(catalog):
    """Handed on raw, the component alone says something else, and nobody would notice."""
    vectors = 4 * torch.randn(8, 32, generator=torch.Generator().manual_seed(0))
    pids = torch.arange(4).repeat_interleave(2)
    loss = reid_core.build("loss", "contrastive", catalog=catalog)
    unit = torch.nn.functional.normalize(vectors, dim=1)
    torch.testing.assert_close(loss(vectors, pids).value, loss(unit, pids).value)
    raw = reid_core.build("loss", "contrastive", normalize=False, catalog=catalog)
    assert abs(float(raw(vectors, pids).value - loss(vectors, pids).value)) > 1


def test_it_works_in_float32_under_autocast(catalog):
    loss = reid_core.build("loss", "triplet", catalog=catalog)
    features, pids = BATCHES["uneven identities"]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = loss(features.bfloat16(), pids).value
    assert value.dtype == torch.float32


def test_buffers_are_updated_after_a_step(catalog):
    loss = reid_core.build("loss", "center", dim=DIM, num_pids=8, catalog=catalog)
    before = {name: tensor.clone() for name, tensor in loss.state_dict().items()}
    features, pids = BATCHES["uneven identities"]
    loss(features.clone().requires_grad_(), pids).value.backward()
    loss.after_step()
    assert any(not torch.equal(before[n], t) for n, t in loss.state_dict().items())


class Reads:
    @hookimpl
    def reid_loss(self):
        def build(params):
            return lambda x: LossOutput(x.features.sum() + x.weight.sum())

        return [
            LossComponent(
                name="reads",
                build=lambda params: lambda x: LossOutput(x.features.sum()),
                summary="-",
                role="metric",
                **{"reads": ("uc",), "columns": ("clothes",), "extras": ("mask",)},
            ),
            LossComponent(
                name="weighs",
                build=build,
                summary="-",
                role="id",
                needs=frozenset({"classifier"}),
            ),
        ]


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("reads", {}, "loss 'reads' of local 0 reads 'uc': give aux={'uc': ...}"),
        ("reads", {"aux": {"uc": 1}}, "reads 'clothes': give columns={'clothes': ...}"),
        (
            "reads",
            {"aux": {"uc": 1}, "columns": {"clothes": 1}},
            "reads 'mask': give extras={'mask': ...}",
        ),
        ("weighs", {}, "loss 'weighs' of local 0 needs a classifier: give weight="),
        ("weighs", {"logits": torch.zeros(8, 4)}, "needs the weight too: give weight="),
    ],
)
def test_what_the_caller_of_a_loss_left_out_is_named(name, given, message):
    loss = reid_core.build("loss", name, catalog=isolated_catalog(Reads()))
    features, pids = BATCHES["uneven identities"]
    with pytest.raises(ReidError) as caught:
        loss(features, pids, **given)
    assert message in str(caught.value)


class Sees:
    """A loss that says of its input what it was given, and one that returns no number."""

    @hookimpl
    def reid_loss(self):
        def call(x):
            value = x.features.sum() * 0 + x.columns["clothes"].sum() + x.index.sum()
            return LossOutput(value + sum(map(len, x.extras["caption"])))

        reads = {"columns": ("clothes",), "extras": ("caption",)}
        return [
            LossComponent(
                name="sees", build=lambda params: call, summary="-", role="metric", **reads
            ),
            LossComponent(
                name="rows",
                build=lambda params: lambda x: LossOutput(x.features.sum(dim=1)),
                summary="-",
                role="metric",
            ),
        ]


@pytest.mark.parametrize(
    ("features", "pids", "message"),
    [
        (
            np.zeros((4, 8)),
            [0, 0, 1, 1],
            r"must be a float tensor \(B, d\), got a ndarray",
        ),
        (torch.zeros(4, 8, 2), [0] * 4, r"got a tensor of shape \(4, 8, 2\) and torch\.float32"),
        (torch.zeros(4, 8).long(), [0] * 4, r"got a tensor of shape \(4, 8\) and torch\.int64"),
        (torch.zeros(4, 8), [0, 1, 1], r"pids must be an int64 tensor \(4,\), .* of shape \(3,\)"),
        (torch.zeros(4, 8), [0.0, 1, 1, 0], r"pids must be .*got a tensor of .* torch\.float32"),
        (torch.zeros(4, 8), None, r"pids must be an int64 tensor \(4,\), .* got a NoneType"),
    ],
)
def test_a_batch_that_is_none_is_not_the_fault_of_the_loss(features, pids, message):
    labels = pids if pids is None else torch.tensor(pids)
    with pytest.raises(ReidError, match=rf"^loss: .*{message}"):
        reid_core.build("loss", "triplet")(features, labels)


def test_columns_extras_and_indices_reach_a_loss_by_name():
    features, pids = torch.randn(3, 4), torch.tensor([0, 0, 1])
    given = {"columns": {"clothes": torch.tensor([1, -1, 4])}, "index": torch.tensor([10, 20, 30])}
    loss = reid_core.build("loss", "sees", catalog=isolated_catalog(Sees()))
    output = loss(features, pids, extras={"caption": ["a", "bc", "def"]}, **given)
    assert output.value.item() == 4 + 60 + 6


def test_what_a_loss_by_name_returns_is_checked_as_in_a_training():
    loss = reid_core.build("loss", "rows", catalog=isolated_catalog(Sees()))
    with pytest.raises(ReidError, match=r"loss 'rows' of local 0 returned .* expected a 0-d"):
        loss(torch.randn(3, 4), torch.tensor([0, 0, 1]))


# ---- build ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "keywords", "message"),
    [
        (("los", "triplet"), {}, "unknown kind 'los'; did you mean 'loss'?"),
        (("loss", "tripet"), {}, "unknown loss 'tripet'; did you mean 'triplet'?"),
        (("loss", "triplet"), {"margn": 1}, "has no 'margn'; did you mean 'margin'? (params: "),
        (("loss", "triplet"), {"margin": -1}, "margin: must be >= 0"),
        (("loss", "triplet"), {"margin": {1}}, "must be values that JSON has"),
        (("loss", "triplet"), {"on": "x"}, "on: expected 'feature' or 'embedding'"),
        (("head", "global"), {}, "cannot be built without in_channels; give in_channels=..."),
        (("loss", "center"), {"dim": 4}, "cannot be built without num_pids; give num_pids=..."),
    ],
)
def test_mistakes_of_the_caller_are_told_and_the_plugin_is_not_blamed(
    arguments, keywords, message, catalog
):
    with pytest.raises(ReidError) as caught:
        reid_core.build(*arguments, catalog=catalog, **keywords)
    assert message in str(caught.value)
    assert "plugin" not in str(caught.value)


class NameParams(Params):
    name: str = "own"


class Ambiguous:
    @hookimpl
    def reid_objective(self):
        build = lambda params, *, name: (params.name, name)  # noqa: E731
        return [reid_core.ObjectiveComponent(name="x", params=NameParams, build=build, summary="-")]

    @hookimpl
    def reid_head(self):
        return [Component(name="greedy", build=lambda params, *, depth: None, summary="-")]


def test_a_word_that_is_a_param_too_goes_to_the_param_and_the_context_has_a_keyword():
    catalog = isolated_catalog(Ambiguous())
    built = reid_core.build("objective", "x", name="a", context={"name": "b"}, catalog=catalog)
    assert built == ("a", "b")


def test_a_plugin_that_asks_for_what_its_kind_has_not_is_blamed():
    with pytest.raises(ReidError, match="its plugin must be corrected or updated"):
        reid_core.build("head", "greedy", in_channels=4, catalog=isolated_catalog(Ambiguous()))


def test_every_evaluator_is_built_with_its_own_distance(catalog):
    score = reid_core.build("evaluator", "market_evaluate", catalog=catalog)
    splits = {split: features_of(split) for split in ("query", "gallery")}
    assert score(splits).protocol["distance"] == "cosine"


def test_paths_may_be_given_as_such(tmp_path, catalog):
    folder = tmp_path / "train" / "anna"
    folder.mkdir(parents=True)
    Image.new("RGB", (4, 8)).save(folder / "0.png")
    listing = reid_core.build("dataset", "image_folder", root=tmp_path, catalog=catalog)
    assert [record.pid for record in listing.records] == ["anna"]


# ---- models -----------------------------------------------------------------------------


RAW = {
    "data": {"train": [{"name": "synthetic_market"}]},
    "backbone": {"name": "resnet18", "params": {"pretrained": "none"}},
    "head": [{"name": "global"}],
    "loss": [{"name": "triplet"}],
    "sampler": {"name": "class_balanced"},
    "augmentation": [
        {"name": "resize", "params": {"height": 32, "width": 16}},
        {"name": "normalize"},
        {"name": "flip"},
    ],
    "optimizer": {"name": "adam", "lr": 0.001},
    "train": {"epochs": 1},
}


def saved(raw, catalog, path, side_values=None):
    """Write a weights file of the network of some params, with random weights."""
    params = check_run_params(raw, catalog, "test")
    dump = params.model_dump(mode="json")
    preprocessing = {"operations": dump["augmentation"][:2]}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build_model(params, 3, side_values or {})
    compared = {"output": "feature", "distance": "euclidean"}
    facts = {"params": dump, "preprocessing": preprocessing, "embedding": compared}
    facts["side"] = {n: [list(v) for v in known] for n, known in model.side_values.items()}
    save_weights(path, model, {**facts, "classes": [["d", "1"], ["d", "2"], ["d", "3"]]})
    return path


@pytest.fixture(scope="module")
def weights(tmp_path_factory, catalog):
    return saved(RAW, catalog, tmp_path_factory.mktemp("weights") / "w.safetensors")


@pytest.fixture(scope="module")
def model(weights, catalog):
    return reid_core.load_model(weights, device="cpu", catalog=catalog)


def pixels(height=40, width=21, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_a_model_says_what_it_is(model):
    assert (model.dim, model.distance, model.output) == (512, "euclidean", "feature")
    assert model.classes == (("d", "1"), ("d", "2"), ("d", "3"))
    assert (model.preprocessing.height, model.preprocessing.width) == (32, 16)
    assert not model.module.training


def test_paths_pictures_and_arrays_of_one_image_give_one_vector(model, tmp_path):
    array = pixels()
    Image.fromarray(array).save(tmp_path / "x.png")
    one = model.embed(array)
    assert (one.shape, one.dtype) == ((1, 512), np.float32)
    for same in (Image.fromarray(array), tmp_path / "x.png", str(tmp_path / "x.png"), [array]):
        np.testing.assert_array_equal(model.embed(same), one)
    np.testing.assert_array_equal(model.embed(array[:, :, ::-1], color="BGR"), one)
    assert not np.array_equal(model.embed(array[:, :, ::-1]), one)


def test_mixed_sizes_come_in_batches_in_their_order_and_from_generators(model):
    arrays = [pixels(40 + i, 20 + 2 * i, seed=i) for i in range(5)]
    alone = np.concatenate([model.embed(array) for array in arrays])
    together = model.embed((array for array in arrays), batch_size=2)
    np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-5)


def test_the_vector_is_that_of_the_network_on_the_preprocessed_picture(model):
    array = pixels(32, 16)
    images = torch.from_numpy(array).permute(2, 0, 1).float()[None] / 255
    mean = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
    std = torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    with torch.inference_mode():
        expected = model.module((images - mean) / std).feature.numpy()
    np.testing.assert_allclose(model.embed(array), expected, rtol=1e-4, atol=1e-5)


def test_no_images_are_no_vectors(model):
    assert model.embed([]).shape == (0, 512)


@pytest.mark.parametrize(
    ("images", "given", "message"),
    [
        (["no.jpg"], {}, "no.jpg: cannot be read as an image"),
        (
            [pixels(), np.zeros((4, 4), np.uint8)],
            {},
            r"image 1: expected .*uint8 of shape \(4, 4\)",
        ),
        ([pixels().astype(np.float32)], {}, "image 0: expected .* got float32 of shape"),
        (7, {}, "image 0: expected .* got int"),
        ([], {"color": "GRB"}, "color: 'GRB' is no order of channels"),
        ([], {"batch_size": 0}, "batch_size must be 1 or larger, got 0"),
    ],
)
def test_what_is_no_image_is_named(model, images, given, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ReidError, match=message):
        model.embed(images, **given)


def test_a_damaged_image_is_named(model, tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff broken")
    with pytest.raises(ReidError, match=r"broken\.jpg: truncated or not an image"):
        model.embed([pixels(), tmp_path / "broken.jpg"])


@pytest.mark.parametrize("path", ["there/is/none", "~nobody_of_that_name/x"])
def test_a_model_that_is_not_there_is_named(path, catalog):
    with pytest.raises(ReidError, match=r"none|nobody"):
        reid_core.load_model(path, catalog=catalog)


def test_an_unknown_device_is_refused(weights, catalog):
    with pytest.raises(ReidError, match="device: 'tpu' is no device"):
        reid_core.load_model(weights, device="tpu", catalog=catalog)


def test_a_network_that_looks_at_cameras_embeds_pictures_of_unknown_ones(tmp_path):
    seen = []

    class Sided(SmallBackbone):
        def forward(self, images, side):
            seen.append(side["camid"].tolist())
            return super().forward(images, side)

    class Plugin:
        @hookimpl
        def reid_backbone(self):
            what = {"summary": "-", "side": ("camid",)}
            return [reid_core.BackboneComponent(name="sided", build=lambda p: Sided(), **what)]

    installed = load_catalog()
    both = Catalog([*installed.offers, *isolated_catalog(Plugin()).offers])
    raw = {**RAW, "backbone": {"name": "sided"}}
    values = {"camid": (("d", 3), ("d", 7))}
    path = saved(raw, both, tmp_path / "w.safetensors", values)
    model = reid_core.load_model(path, device="cpu", catalog=both)
    assert model.embed([pixels(), pixels(seed=1)]).shape == (2, 32)
    assert seen[-1] == [-1, -1]


# ---- runs and features ------------------------------------------------------------------


def test_a_place_without_a_run_is_named(tmp_path):
    with pytest.raises(ReidError, match=r"no run directory \(params.json is not there\)"):
        reid_core.load_run(tmp_path)


def test_a_run_that_has_only_begun_has_neither_weights_nor_scores(tmp_path):
    (tmp_path / "params.json").write_text(json.dumps({"train": {"epochs": 1}}))
    run = reid_core.load_run(str(tmp_path))
    assert (run.best_weights, run.last_weights, run.scores) == (None, None, {})
    assert run.params == {"train": {"epochs": 1}}
    with pytest.raises(ReidError, match=r"metrics\.jsonl: the record is missing or damaged"):
        _ = run.metrics


def test_a_file_of_several_splits_needs_a_name(tmp_path):
    with pytest.raises(ReidError, match="a file of several splits; name one"):
        reid_core.load_features(tmp_path / "pytorch_result.mat")


# ---- distances and scores ---------------------------------------------------------------


def rows(count, seed):
    return np.random.default_rng(seed).standard_normal((count, 6))


def test_distances_are_those_of_plain_numpy(catalog):
    one, other = rows(3, 0), rows(5, 1)
    difference = one[:, None] - other[None]
    found = reid_core.distance_matrix(one, other, "euclidean", catalog=catalog)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, np.linalg.norm(difference, axis=2), rtol=1e-5)
    units = [m / np.linalg.norm(m, axis=1, keepdims=True) for m in (one, other)]
    cosine = reid_core.distance_matrix(torch.from_numpy(one), other, catalog=catalog)
    np.testing.assert_allclose(cosine, 1 - units[0] @ units[1].T, atol=1e-6)


def test_features_are_compared_by_the_vector_that_is_named(catalog):
    query, gallery = features_of("query"), features_of("gallery")
    plain, twice = (
        reid_core.distance_matrix(query, gallery, "euclidean", output=output, catalog=catalog)
        for output in ("embedding", "feature")
    )
    np.testing.assert_allclose(twice, 2 * plain, rtol=1e-5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda f, c: reid_core.distance_matrix(f, f, output="other", catalog=c),
            "no output 'other'",
        ),
        (
            lambda f, c: reid_core.distance_matrix(f, f, "uncertain", catalog=c),
            "no output 'aux.uc'",
        ),
        (
            lambda f, c: reid_core.distance_matrix(rows(2, 0), rows(2, 0), "uncertain", catalog=c),
            "'uncertain' reads 'aux.uc': give Features that have it",
        ),
        (
            lambda f, c: reid_core.distance_matrix(rows(2, 0), np.ones((2, 5)), catalog=c),
            "query features have 6 columns, gallery features 5",
        ),
        (lambda f, c: reid_core.evaluate(query=f, catalog=c), "needs the split 'gallery'"),
        (
            lambda f, c: reid_core.evaluate(query=f, gallery=f, app=1, catalog=c),
            "did you mean 'ap'",
        ),
        (lambda f, c: reid_core.evaluate({}, "market_evaluat", catalog=c), "did you mean"),
        (
            lambda f, c: reid_core.evaluate({"multi_query": f}, query=f, gallery=f, catalog=c),
            "does not read the split 'multi_query'",
        ),
        (lambda f, c: reid_core.rank(catalog=c), "give query= and gallery=, or distances="),
        (lambda f, c: reid_core.rank(distances=[1, 2]), r"must be \(Q, G\)"),
        (lambda f, c: reid_core.rank(distances=[[np.nan]]), "NaN, or infinite in float32"),
        (lambda f, c: reid_core.rank(distances=[[1.0]], top_k=2), "top_k must be 1 to 1, got 2"),
        (
            lambda f, c: reid_core.rank(distances=[[1.0]], query_pids=[1, 2], gallery_pids=[1]),
            "query_pids has 2 entries for 1 images",
        ),
        (
            lambda f, c: reid_core.rank(distances=[[1.0]], query_pids=[1], gallery_pids=[2]),
            "no query has a match",
        ),
    ],
)
def test_what_cannot_be_compared_is_told(call, message, catalog):
    with pytest.raises(ReidError, match=message):
        call(features_of("query"), catalog)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: reid_core.evaluate("market_evaluate"),
            r"the first argument is features by split, .* got str; an evaluator is named by eval",
        ),
        (lambda: reid_core.evaluate(name="market_evaluate"), "name the evaluator by evaluator="),
        (
            lambda: reid_core.rank(distances=np.eye(2), query_pids=["a", "b"]),
            "the identities of the query images are given, and those of the gallery images are no",
        ),
        (
            lambda: reid_core.rank(distances=np.eye(2), gallery_pids=["a", "b"]),
            "give query_pids too, or neither",
        ),
    ],
)
def test_arguments_that_do_not_go_together_are_told(call, message):
    with pytest.raises(ReidError, match=message):
        call()


def test_scores_are_those_of_the_evaluator_of_the_params(catalog):
    query, gallery = features_of("query"), features_of("gallery")
    scores = reid_core.evaluate(
        query=query,
        gallery=gallery,
        distance="euclidean",
        postprocess=[{"name": "k_reciprocal", "params": {"k1": 3, "k2": 2}}],
        ranks=[1],
        catalog=catalog,
    )
    assert scores.protocol["distance"] == "euclidean"
    assert {name for name in scores.metrics if name.startswith("rank")} == {"rank1"}


def clothed(split):
    """Features with clothes, everybody's in two colours of which one is unknown at times."""
    full = features_of(split)
    colours = np.array(["red", "blue", ""])[np.arange(len(full)) // 6]
    return replace(full, columns={"clothes": colours})


def test_columns_reach_the_junk_rule_of_an_evaluator(catalog):
    query, gallery = clothed("query"), clothed("gallery")
    scores = reid_core.evaluate(
        query=query, gallery=gallery, junk_rule={"same": ["clothes"]}, catalog=catalog
    )
    counts = scores.per_query["num_matches"]
    # Of the three images of a person, one is in other known clothes.
    assert counts.tolist() == [0 if colour == "" else 1 for colour in query.columns["clothes"]]
    plain = replace(gallery, columns={})
    with pytest.raises(ReidError, match="the gallery split of people has no column 'clothes'"):
        reid_core.evaluate(
            query=query, gallery=plain, junk_rule={"same": ["clothes"]}, catalog=catalog
        )


class Dressed:
    """A distance that tells clothes and cameras apart, and nothing else."""

    @hookimpl
    def reid_distance(self):
        class Distance:
            symmetric, normalizes = True, True

            def prepare(self, vectors):
                return vectors

            def fill(self, query, gallery, out):
                keys = 0.0
                for name, weight in (("clothes", 1.0), ("camid", 10.0)):
                    one, other = query.columns[name], gallery.columns[name]
                    keys = keys + weight * (one[:, None] != other[None])
                out.copy_(torch.from_numpy(keys))

            def values(self, keys):
                return keys

        component = reid_core.DistanceComponent(
            name="dressed",
            build=lambda params: Distance(),
            summary="-",
            columns=("clothes", "camid"),
        )
        return [component]


def test_columns_reach_a_distance_alone_and_within_an_evaluator():
    both = Catalog([*load_catalog().offers, *isolated_catalog(Dressed()).offers])
    query, gallery = clothed("query"), clothed("gallery")
    found = reid_core.distance_matrix(query, gallery, "dressed", catalog=both)
    clothes = query.columns["clothes"][:, None] != gallery.columns["clothes"][None]
    cameras = query.camids[:, None] != gallery.camids[None]
    np.testing.assert_array_equal(found, clothes + 10 * cameras)
    scores = reid_core.evaluate(query=query, gallery=gallery, distance="dressed", catalog=both)
    assert scores.protocol["distance"] == "dressed"
    with pytest.raises(ReidError, match="no column 'clothes'"):
        reid_core.distance_matrix(features_of("query"), gallery, "dressed", catalog=both)
    with pytest.raises(ReidError, match="'dressed' reads 'clothes': give Features"):
        reid_core.distance_matrix(rows(2, 0), rows(2, 0), "dressed", catalog=both)


def test_a_ranking_is_scored_as_the_evaluator_scores_it(catalog):
    query, gallery = features_of("query"), features_of("gallery")
    scores = reid_core.evaluate(query=query, gallery=gallery, catalog=catalog).metrics
    ranked = reid_core.rank(query, gallery, catalog=catalog)
    assert ranked.metrics == pytest.approx({name: scores[name] for name in ranked.metrics})
    distances = reid_core.distance_matrix(query, gallery, catalog=catalog)
    labels = {
        f"{side}_{name}s": getattr(split, f"{name}s")
        for side, split in (("query", query), ("gallery", gallery))
        for name in ("pid", "camid")
    }
    assert reid_core.rank(distances=distances, **labels).metrics == pytest.approx(ranked.metrics)


def test_a_ranking_is_that_of_plain_loops():
    rng = np.random.default_rng(3)
    distances, pids = rng.random((4, 12)), rng.integers(0, 3, 12)
    ranked = reid_core.rank(distances=distances, query_pids=[0, 1, 2, 0], gallery_pids=pids)
    precisions = []
    for row, pid in zip(distances, [0, 1, 2, 0], strict=True):
        order = sorted(range(12), key=lambda i: row[i])
        precisions.append(average_precision([r for r, i in enumerate(order, 1) if pids[i] == pid]))
    assert ranked.metrics["mAP"] == pytest.approx(np.mean(precisions))
    assert ranked.indices.tolist() == np.argsort(distances, axis=1).tolist()


def test_a_ranking_may_be_cut_and_needs_no_identities():
    ranked = reid_core.rank(distances=[[0.3, 0.1, 0.2]], top_k=2)
    assert (ranked.indices.tolist(), ranked.metrics) == ([[1, 2]], {})
    np.testing.assert_allclose(ranked.distances, [[0.1, 0.2]])


def test_images_of_the_querys_camera_are_left_out_where_cameras_are_known():
    pids = {"query_pids": ["a"], "gallery_pids": ["a", "b", "a"]}
    cameras = {"query_camids": [0], "gallery_camids": [0, 1, 1]}
    distances = [[0.1, 0.2, 0.3]]
    assert reid_core.rank(distances=distances, **pids).metrics["rank1"] == 1
    assert reid_core.rank(distances=distances, **pids, **cameras).metrics["rank1"] == 0


# ---- commands ---------------------------------------------------------------------------


def test_a_command_has_the_defaults_of_its_own_parser(capsys):
    assert reid_core.command("plugins")() == 0
    assert "triplet" in capsys.readouterr().out
    assert reid_core.command("check")(params="params/quickstart.json") == 0


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("plugin", {}, "unknown command 'plugin'; did you mean 'plugins'?"),
        ("plugins", {"knd": "loss"}, "reid plugins: unknown keyword 'knd'; did you mean 'kind'?"),
        ("plugins", {"kind": "los"}, "'kind' is 'los'; choose one of .*did you mean 'loss'?"),
        ("check", {}, "reid check: the keyword 'params' is missing"),
    ],
)
def test_mistakes_in_a_command_are_told(name, given, message):
    with pytest.raises(ReidError, match=message):
        reid_core.command(name)(**given)


class Typed:
    def add_arguments(self, parser):
        parser.add_argument("--number", type=int, default="3")
        parser.add_argument("--set", action="append", default=[], type=float)
        parser.add_argument("rest", nargs="*")

    def run(self, args):
        self.args = vars(args)


def test_values_are_converted_as_the_parser_does():
    class Plugin:
        @hookimpl
        def reid_command(self):
            return [Component(name="typed", build=lambda params: typed, summary="-")]

    typed, catalog = Typed(), isolated_catalog(Plugin())
    assert reid_core.command("typed", catalog=catalog)(set=["1", 2.5], rest="a") == 0
    assert typed.args == {"number": 3, "set": [1.0, 2.5], "rest": ["a"]}
    reid_core.command("typed", catalog=catalog)()
    assert typed.args == {"number": 3, "set": [], "rest": []}
    with pytest.raises(ReidError, match="reid typed: 'number': invalid literal"):
        reid_core.command("typed", catalog=catalog)(number="x")


def test_features_may_come_from_anywhere(catalog):
    whole = features_of("query")
    bare = Features(
        values={"embedding": rows(18, 4)},
        pids=whole.pids,
        camids=whole.camids,
        names=whole.names,
        junk=whole.junk,
        distractor=whole.distractor,
    )
    assert reid_core.evaluate(query=whole, gallery=features_of("gallery"), catalog=catalog)
    assert reid_core.distance_matrix(bare, bare, catalog=catalog).shape == (18, 18)

"""A trained model as another training sees it: its weights, its people and its preprocessing."""

import copy
import hashlib
import pickle
import random

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from reid_core import AugmentationComponent, ReidError, hookimpl
from reid_core.data.measured_preprocessing import COLOURS, MeasuredPreprocessing
from reid_core.network.trained_model import load_trained, weights_of
from reid_core.network.weights import save_weights
from reid_core.params.entries import AugmentationEntry
from reid_core.params.messages import read_params
from reid_core.params.validation import check_run_params
from reid_core.run_directory import RunDirectory
from reid_core.training.build_module import ModuleBuilder

CLASSES = (("data", "a"), ("data", "b"), ("data", "c"))
RESIZE = {"name": "resize", "params": {"height": 32, "width": 16}}
NORMALIZE = {"name": "normalize", "params": {"mean": [0.1, 0.2, 0.3], "std": [0.5, 0.25, 2.0]}}


@pytest.fixture
def checked(tiny_params, tiny_catalog):
    """A function that checks the tiny params with changes."""

    def check(**changes):
        raw = {**copy.deepcopy(tiny_params), "backbone": {"name": "tiny"}, **changes}
        return check_run_params(raw, tiny_catalog, "test")

    return check


@pytest.fixture
def preprocessing_of(checked, catalog):
    """A function that measures the preprocessing of augmentation entries."""
    return lambda *entries: MeasuredPreprocessing.of(checked(augmentation=[*entries]).augmentation)


@pytest.fixture
def save(checked, tiny_catalog):
    """A function that writes the weights of a fresh network; it returns the network."""

    def write(path, seed=0):
        params = checked()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            module = ModuleBuilder(params, tiny_catalog).module(len(CLASSES))
        dump = params.model_dump(mode="json")
        metadata = {
            "params": dump,
            "classes": [list(c) for c in CLASSES],
            "preprocessing": {"operations": dump["augmentation"][:2]},
        }
        save_weights(path, module.model, metadata)
        return module.model

    return write


@pytest.fixture
def run(tmp_path, checked):
    """A run directory without weights."""
    return RunDirectory.create(tmp_path / "runs" / "first", checked().model_dump(mode="json"), None)


# ---- preprocessing ----------------------------------------------------------------------


def test_the_input_is_measured_in_size_and_in_what_each_colour_becomes(preprocessing_of):
    found = preprocessing_of(RESIZE, NORMALIZE)
    assert (found.height, found.width) == (32, 16)
    mean, std = (np.array(NORMALIZE["params"][key]) for key in ("mean", "std"))
    assert np.array(COLOURS).shape == found.colours.shape == (4, 3)
    np.testing.assert_allclose(found.colours, (np.array(COLOURS) / 255 - mean) / std, atol=1e-6)


def test_the_colours_tell_every_mean_and_std_apart():
    # Per channel, one picture with the value and one without give two equations for two unknowns.
    seen = np.array(COLOURS)
    assert all(set(seen[:, channel]) == {0, 255} for channel in range(3))
    assert len({tuple(row) for row in seen.T}) == 3


def test_augmentation_that_only_trains_is_left_out(preprocessing_of):
    plain = preprocessing_of(RESIZE, NORMALIZE)
    busy = preprocessing_of(
        RESIZE,
        {"name": "color_jitter"},
        NORMALIZE,
        {"name": "random_erasing", "params": {"p": 1.0}},
        {"name": "flip", "params": {"p": 1.0}},
    )
    assert busy.same_size(plain)
    assert busy.same_colours(plain)
    assert busy.operations == plain.operations


def test_the_operations_are_named_with_their_params(preprocessing_of):
    text = preprocessing_of(RESIZE, NORMALIZE, {"name": "flip"}).operations
    assert text == (
        'resize {"height": 32, "width": 16, "interpolation": "bilinear"}, '
        'normalize {"mean": [0.1, 0.2, 0.3], "std": [0.5, 0.25, 2.0]}'
    )


def test_sizes_are_compared_side_by_side(preprocessing_of):
    def sized(height, width):
        return preprocessing_of({"name": "resize", "params": {"height": height, "width": width}})

    one = sized(32, 16)
    assert one.same_size(sized(32, 16))
    assert not one.same_size(sized(32, 32))
    assert not one.same_size(sized(16, 16))
    assert not one.same_size(sized(16, 32))


@pytest.mark.parametrize(
    ("changed", "same"),
    [
        ({}, True),
        ({"mean": [0.1, 0.2, 0.3 + 1e-6]}, True),
        ({"mean": [0.1, 0.2, 0.301]}, False),
        ({"std": [0.51, 0.25, 2.0]}, False),
        # The same numbers for blue, green, red: a network of the other order of channels.
        ({"mean": [0.3, 0.2, 0.1], "std": [2.0, 0.25, 0.5]}, False),
    ],
)
def test_colours_are_the_same_when_every_channel_is_normalised_alike(
    preprocessing_of, changed, same
):
    other = {"name": "normalize", "params": {**NORMALIZE["params"], **changed}}
    one, two = preprocessing_of(RESIZE, NORMALIZE), preprocessing_of(RESIZE, other)
    assert one.same_colours(two) is two.same_colours(one) is same


def test_no_normalisation_is_other_colours(preprocessing_of):
    assert not preprocessing_of(RESIZE).same_colours(preprocessing_of(RESIZE, NORMALIZE))


def test_the_filter_of_the_resizing_does_not_matter(preprocessing_of):
    bicubic = {"name": "resize", "params": {**RESIZE["params"], "interpolation": "bicubic"}}
    one, two = preprocessing_of(RESIZE, NORMALIZE), preprocessing_of(bicubic, NORMALIZE)
    assert one.same_colours(two)
    assert one.same_size(two)


def test_an_operation_that_swaps_channels_is_noticed(checked, catalog_with):
    class Plugin:
        @hookimpl
        def reid_augmentation(self):
            return [
                AugmentationComponent(
                    name="bgr",
                    build=lambda params: lambda image, rng: image.flip(0),
                    summary="-",
                    stage="tensor",
                    use="both",
                )
            ]

    catalog = catalog_with(Plugin())
    raw = [RESIZE, {"name": "bgr"}, NORMALIZE]
    resize, swap, normalize = (read_params(AugmentationEntry, entry, catalog) for entry in raw)
    swapped = MeasuredPreprocessing.of([resize, swap, normalize])
    assert not swapped.same_colours(MeasuredPreprocessing.of([resize, normalize]))
    assert "bgr {}" in swapped.operations


# ---- loading ----------------------------------------------------------------------------


def test_a_file_gives_network_people_digest_and_preprocessing(
    save, tmp_path, tiny_catalog, preprocessing_of
):
    path = tmp_path / "teacher.safetensors"
    model = save(path)
    trained = load_trained(str(path), tiny_catalog)
    assert trained.path == path
    assert trained.digest == hashlib.sha256(path.read_bytes()).digest()
    assert trained.classes == CLASSES
    wanted = preprocessing_of(RESIZE, {"name": "normalize"})
    assert trained.preprocessing.same_size(wanted)
    assert trained.preprocessing.same_colours(wanted)
    own, loaded = model.state_dict(), trained.model.state_dict()
    assert own.keys() == loaded.keys()
    assert all(torch.equal(own[name], loaded[name]) for name in own)


def test_the_network_evaluates_and_needs_no_gradient(save, tmp_path, tiny_catalog):
    save(tmp_path / "teacher.safetensors")
    model = load_trained(str(tmp_path / "teacher.safetensors"), tiny_catalog).model
    assert not any(part.training for part in model.modules())
    assert not any(parameter.requires_grad for parameter in model.parameters())
    output = model(torch.randn(2, 3, 32, 16, requires_grad=False))
    assert not output.embedding.requires_grad


def test_loading_draws_no_random_number(save, tmp_path, tiny_catalog):
    save(tmp_path / "teacher.safetensors")
    before = torch.get_rng_state(), str(np.random.get_state()), random.getstate()
    load_trained(str(tmp_path / "teacher.safetensors"), tiny_catalog)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (str(np.random.get_state()), random.getstate()) == before[1:]


def test_a_run_directory_stands_for_its_best_weights_and_else_for_its_last(save, run, tiny_catalog):
    save(run.last_weights, seed=1)
    assert load_trained(str(run.path), tiny_catalog).path == run.last_weights
    save(run.best_weights, seed=2)
    trained = load_trained(str(run.path), tiny_catalog)
    assert trained.path == weights_of(run) == run.best_weights
    assert trained.digest == load_trained(str(run.best_weights), tiny_catalog).digest
    assert trained.digest != load_trained(str(run.last_weights), tiny_catalog).digest


def test_a_tilde_is_the_home_folder(save, tmp_path, tiny_catalog, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    save(tmp_path / "teacher.safetensors")
    path = load_trained("~/teacher.safetensors", tiny_catalog).path
    assert path == tmp_path / "teacher.safetensors"


# ---- what goes wrong --------------------------------------------------------------------


@pytest.mark.parametrize("name", ["runs/absent", "absent.safetensors", "/".join(["long"] * 700)])
def test_a_path_that_leads_nowhere_is_named(tmp_path, tiny_catalog, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        ReidError,
        match=rf"^{name}: no such run directory or weights file; name one that is there, or "
        "train that run first$",
    ):
        load_trained(name, tiny_catalog)


def test_a_run_without_weights_is_refused(run, tiny_catalog):
    with pytest.raises(ReidError, match="first: no weights yet; the run has not ended an epoch"):
        load_trained(str(run.path), tiny_catalog)


def test_a_folder_that_is_no_run_is_refused(tmp_path, tiny_catalog):
    with pytest.raises(ReidError, match=r"no run directory \(params\.json is not there\)"):
        load_trained(str(tmp_path), tiny_catalog)


class Malicious:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, witness):
        self.witness = witness

    def __reduce__(self):
        return self.witness.touch, ()


@pytest.mark.parametrize("way", [pickle.dump, torch.save])
@pytest.mark.parametrize("name", ["teacher.safetensors", "teacher.pt"])
def test_a_pickle_is_refused_and_does_not_run(tmp_path, tiny_catalog, way, name):
    witness = tmp_path / "witness"
    with (tmp_path / name).open("wb") as file:
        way(Malicious(witness), file)
    with pytest.raises(ReidError, match=rf"{name}: not a weights file \(safetensors\)"):
        load_trained(str(tmp_path / name), tiny_catalog)
    assert not witness.exists()


def test_another_systems_safetensors_file_is_refused(tmp_path, tiny_catalog):
    save_file({"conv.weight": torch.ones(2)}, tmp_path / "other.safetensors")
    with pytest.raises(ReidError, match="a safetensors file, but not one of reid-core"):
        load_trained(str(tmp_path / "other.safetensors"), tiny_catalog)


def test_a_network_of_a_plugin_that_is_not_installed_is_refused(save, tmp_path, catalog):
    save(tmp_path / "teacher.safetensors")
    with pytest.raises(ReidError, match=r"teacher\.safetensors: backbone\.name: .*'tiny'"):
        load_trained(str(tmp_path / "teacher.safetensors"), catalog)

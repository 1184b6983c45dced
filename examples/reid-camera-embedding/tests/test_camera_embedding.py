"""The transformer alone, and from a training on drawn people to its weights and an evaluation."""

import json

import numpy as np
import pytest
import reid_camera_embedding
import torch
from reid_camera_embedding import CameraViTParams, build, side

from reid_core import ReidError
from reid_core.discovery import load_catalog
from reid_core.evaluation.evaluate_command import run_evaluation
from reid_core.features.feature_files import load_features
from reid_core.network.weights import load_model, read_weights
from reid_core.params.validation import check_eval_params, check_run_params
from reid_core.runs.start_and_resume import start_train
from reid_core.testing import check_component
from reid_core.training.assembly import check_on_meta
from reid_core.training.build_module import ModuleBuilder

SIZE = (32, 16)
CAMERAS = (("people", 1), ("people", 2), ("people", 5))
UNKNOWN = -1


@pytest.fixture(scope="module")
def catalog():
    return load_catalog([] if is_installed() else [reid_camera_embedding])


def is_installed():
    return "camera_vit" in load_catalog().names("backbone")


def network(cameras=3, **params):
    torch.manual_seed(0)
    checked = CameraViTParams(**{"dim": 16, "blocks": 2, "patch": 8, **params})
    return build(checked, input_size=SIZE, side_values={"camid": cameras} if cameras else {})


def told(*camids):
    return {"camid": torch.tensor(camids)}


@pytest.fixture
def images():
    return torch.randn(4, 3, *SIZE, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def raw(tmp_path):
    people = {"train_identities": 4, "test_identities": 3, "cameras": 2, "height": 32, "width": 16}
    transformer = {"dim": 16, "blocks": 2, "patch": 8}
    return {
        "data": {"train": [{"name": "synthetic_market", "params": people}]},
        "backbone": {"name": "camera_vit", "params": transformer},
        "head": [{"name": "global", "params": {"pooling": "token"}}],
        "loss": [{"name": "softmax"}, {"name": "triplet"}],
        "sampler": {"name": "class_balanced", "params": {"P": 2, "K": 2}},
        "augmentation": [
            {"name": "resize", "params": {"height": 32, "width": 16}},
            {"name": "normalize"},
        ],
        "optimizer": {"name": "adam", "lr": 0.001},
        "train": {"epochs": 1, "seed": 0, "device": "cpu"},
        "evaluation": [{"name": "market_evaluate"}],
        "working_dir": str(tmp_path / "runs"),
    }


def test_it_keeps_the_contract_of_backbones(catalog):
    check_component("backbone", "camera_vit", catalog)


# ---- the network ------------------------------------------------------------------------


def test_the_map_and_the_token_have_their_shapes(images):
    output = network()(images, told(0, 1, 2, UNKNOWN))
    assert output.map.shape == (4, 16, 4, 2)
    assert output.tokens.shape == (4, 1, 16)


def test_a_cell_of_the_map_is_the_token_of_its_patch(images):
    # Without blocks, a token depends on its own patch alone.
    plain = network()
    plain.blocks = torch.nn.ModuleList()
    changed = images.clone()
    changed[:, :, 8:16, 8:16] += 1  # the second row of patches, the second column
    moved = (plain(images, told(*[0] * 4)).map != plain(changed, told(*[0] * 4)).map).any(1)
    assert moved[0].nonzero().tolist() == [[1, 1]]


def test_a_camera_changes_what_the_network_says_and_an_unknown_one_is_zero(images):
    model = network().eval()
    with torch.no_grad():
        outputs = [model(images, told(*[camid] * 4)).tokens for camid in (0, 1, 2, UNKNOWN)]
        model.tokens.cameras.weight.zero_()
        nothing = model(images, told(0, 1, 2, 0)).tokens
    assert not any(torch.equal(outputs[i], outputs[j]) for i in range(4) for j in range(i))
    assert torch.equal(outputs[3], nothing)


def test_the_vector_of_the_camera_is_added_to_every_token_with_its_weight(images):
    model = network(camera_weight=2.0)
    with torch.no_grad():
        known = model.tokens(images, told(2, 0, 1, UNKNOWN))
        added = known - model.tokens(images, told(*[UNKNOWN] * 4))
    rows = model.tokens.cameras.weight[[2, 0, 1, 3]].detach()
    torch.testing.assert_close(added, 2 * rows[:, None].expand_as(added), atol=1e-6, rtol=0)
    assert not rows[3].any()


def test_cameras_are_trained_and_the_unknown_one_stays_zero(images):
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), weight_decay=0.1)
    before = model.tokens.cameras.weight.detach().clone()
    model(images, told(0, 2, UNKNOWN, UNKNOWN)).tokens.square().sum().backward()
    optimizer.step()
    moved = (model.tokens.cameras.weight.detach() != before).any(1)
    assert model.tokens.cameras.weight.grad[[0, 2]].any(1).all()
    assert not model.tokens.cameras.weight.grad[3].any()
    assert moved[:3].all()  # by the decay, also a camera that was not in the batch
    assert not model.tokens.cameras.weight[3].any()


def test_a_network_that_is_not_told_the_camera_has_no_vectors_of_cameras(images):
    params = CameraViTParams(camera_weight=0.0)
    assert side(params) == ()
    model = network(cameras=None, camera_weight=0.0)
    assert model.tokens.cameras is None
    assert model(images, {}).tokens.isfinite().all()


def test_a_size_that_does_not_fit_is_named(images):
    with pytest.raises(ReidError, match="patches of 5 pixels do not fill images of 32 x 16 pixels"):
        network(patch=5)
    with pytest.raises(ReidError, match="takes images of 32 x 16 pixels, got 40 x 16"):
        network()(torch.zeros(2, 3, 40, 16), told(0, 0))
    with pytest.raises(ValueError, match="16 values cannot be shared by 3 attention heads"):
        CameraViTParams(dim=16, attention_heads=3)


# ---- in reid-core -----------------------------------------------------------------------


def test_the_params_pass_the_check_on_shapes(catalog, raw):
    check_on_meta(check_run_params(raw, catalog, "test"), catalog)
    raw["backbone"]["params"]["patch"] = 5
    with pytest.raises(ReidError, match="patches of 5 pixels do not fill images"):
        check_on_meta(check_run_params(raw, catalog, "test"), catalog)


def test_a_training_step_reaches_the_cameras_of_its_images_alone(catalog, raw, images):
    params = check_run_params(raw, catalog, "test")
    module = ModuleBuilder(params, catalog, side_values={"camid": CAMERAS}).module(num_pids=3)
    output = module.model.train()(images, told(0, 2, UNKNOWN, 0))
    torch.nn.functional.cross_entropy(output.logits["global"], torch.arange(4) % 3).backward()
    gradient = module.model.backbone.tokens.cameras.weight.grad
    assert gradient is not None
    assert [bool(row.any()) for row in gradient] == [True, False, True, False]


def test_weights_of_a_training_give_the_same_embeddings_in_an_evaluation(catalog, raw, tmp_path):
    trained = {}

    def keep(run):
        trained["model"], trained["targets"] = run.training.module.model, run.scorer.targets
        trained["features"] = run.scorer.targets.features(
            run.scorer.model, "synthetic_market", "query", frozenset({"embedding"})
        )

    run = start_train(check_run_params(raw, catalog, "test"), catalog, "run", afterwards=keep)
    weights = read_weights(run.last_weights)
    assert weights.metadata["side"] == {"camid": [["synthetic_market", 1], ["synthetic_market", 2]]}
    assert load_model(weights, catalog)[0].side == ("camid",)

    def evaluated(folder, target):
        params = {
            "weights": str(run.last_weights),
            "targets": {"people": target},
            "evaluation": raw["evaluation"],
            "working_dir": raw["working_dir"],
            "output_dir": str(tmp_path / folder),
            "device": "cpu",
        }
        run_evaluation(check_eval_params(json.loads(json.dumps(params)), catalog, "test"), catalog)
        return load_features(tmp_path / folder / "features" / "people-query.npz", "query")

    again = evaluated("same", raw["data"]["train"][0])
    expected = trained["features"].values["embedding"]
    np.testing.assert_array_equal(again.values["embedding"], expected)
    # Under another name they are another dataset's images, whose cameras nobody knows.
    other = evaluated("other", {**raw["data"]["train"][0], "alias": "elsewhere"})
    assert not np.isclose(other.values["embedding"], expected).all(1).any()


def test_the_installed_package_offers_the_backbone():
    offer = load_catalog().offer("backbone", "camera_vit")
    assert offer.distribution == "reid-camera-embedding", "install it first: pip install -e ."

"""What the built-in heads promise and keep."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from pydantic import ValidationError

from reid_core import ReidError
from reid_core.component import call_build
from reid_core.contracts import BranchSpec, FeatureMap
from reid_core.params.validation import check_run_params
from reid_core.training.assembly import check_on_meta
from reid_plugins.head import global_head, pcb, spectral

MODULES = {"global": global_head, "pcb": pcb, "spectral": spectral}


def build(name, **params):
    (component,) = MODULES[name].reid_head()
    assert component.name == name
    return call_build(
        component,
        component.params(**params),
        in_channels=8,
        num_pids=5,
        backbone=SimpleNamespace(stride=16),
    )


def random_map(images=4, height=12, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return FeatureMap(torch.randn(images, 8, height, 4, generator=generator).relu())


CASES = [
    ("global", {}),
    ("global", {"pooling": "max", "embedding_dim": 6, "neck": "none", "dropout": 0.5}),
    ("global", {"pooling": "gem", "bn_bias": True}),
    ("pcb", {}),
    ("pcb", {"parts": 3, "part_dim": 4, "pooling": "gem", "global_dim": 0}),
    ("spectral", {}),
    ("spectral", {"embedding_dim": 6, "gate": 0.0, "normalize": "column"}),
]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("name", "params"), CASES)
def test_forward_keeps_what_the_branches_promise(name, params, training):
    head = build(name, **params).train(training)
    output = head(random_map())
    assert list(output.branches) == [spec.name for spec in head.branches]
    for spec in head.branches:
        assert output.branches[spec.name].feature.shape == (4, spec.dim)
        assert output.branches[spec.name].embedding.shape == (4, spec.dim)


@pytest.mark.parametrize("name", ["global", "spectral"])
def test_the_pooling_token_takes_the_first_token_in_place_of_the_map(name):
    head = build(name, pooling="token", neck="none").eval()
    tokens = torch.randn(4, 3, 8, generator=torch.Generator().manual_seed(1))
    given = replace(random_map(), tokens=tokens)
    assert torch.equal(head(given).branches["global"].feature, tokens[:, 0])
    tokens[:, 1:] += 1
    given.map.add_(1)
    assert torch.equal(head(given).branches["global"].feature, tokens[:, 0])


def test_a_backbone_without_tokens_is_refused_on_shapes(catalog, tiny_params):
    head = [{"name": "global", "params": {"pooling": "token"}}]
    params = check_run_params({**tiny_params, "head": head}, catalog, "test")
    message = "head: the pooling 'token' takes the first token of a transformer, and the backbone g"
    with pytest.raises(ReidError, match=message):
        check_on_meta(params, catalog)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("name", "params"), CASES)
def test_forward_runs_on_the_meta_device(name, params, training):
    with torch.device("meta"):
        head = build(name, **params).train(training)
        output = head(FeatureMap(torch.empty(4, 8, 12, 4)))
    assert all(
        output.branches[spec.name].embedding.shape == (4, spec.dim) for spec in head.branches
    )


@pytest.mark.parametrize(("name", "params"), CASES)
def test_weights_round_trip_to_the_same_output(name, params):
    one, two = build(name, **params), build(name, **params)
    one.train()(random_map())  # moves the running statistics
    two.load_state_dict(one.state_dict())
    a, b = one.eval()(random_map()).branches, two.eval()(random_map()).branches
    assert all(torch.equal(a[key].embedding, b[key].embedding) for key in a)


@pytest.mark.parametrize(("name", "params"), CASES)
def test_every_trainable_parameter_receives_a_finite_gradient(name, params):
    head = build(name, **params).train()
    output = head(random_map())
    torch.manual_seed(0)
    sum((b.embedding * torch.randn_like(b.embedding)).sum() for b in output.branches.values()).add(
        sum(b.feature.square().sum() for b in output.branches.values())
    ).backward()
    for key, parameter in head.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, key
            assert parameter.grad.isfinite().all(), key


def test_global_declares_one_branch_of_the_backbone_size():
    assert build("global").branches == (
        BranchSpec("global", 8, "global", frozenset({"id", "metric"})),
    )


def test_global_embedding_dim_sets_the_size_of_the_branch():
    assert build("global", embedding_dim=6).branches[0].dim == 6


def test_global_feature_is_before_the_neck_and_embedding_after_it():
    head = build("global").train()
    branch = head(random_map()).branches["global"]
    torch.testing.assert_close(branch.feature, random_map().map.mean((2, 3)))
    torch.testing.assert_close(branch.embedding.mean(0), torch.zeros(8), atol=1e-6, rtol=0)


def test_neck_bias_is_frozen_unless_asked_for():
    assert not build("global").neck.bn.bias.requires_grad
    assert build("global", bn_bias=True).neck.bn.bias.requires_grad
    assert build("global").neck.bn.weight.requires_grad


def test_without_a_neck_feature_and_embedding_are_equal():
    branch = build("global", neck="none")(random_map()).branches["global"]
    assert torch.equal(branch.feature, branch.embedding)


def test_dropout_works_on_the_embedding_in_training_alone():
    head = build("global", neck="none", dropout=0.5)
    branch = head.train()(random_map()).branches["global"]
    assert (branch.embedding == 0).sum() > (branch.feature == 0).sum()
    branch = head.eval()(random_map()).branches["global"]
    assert torch.equal(branch.feature, branch.embedding)


def test_pcb_declares_stripes_parts_and_global():
    branches = build("pcb", parts=2, part_dim=3, global_dim=4).branches
    assert branches == (
        BranchSpec("stripe_0", 3, "stripe_0", frozenset({"id"})),
        BranchSpec("stripe_1", 3, "stripe_1", frozenset({"id"})),
        BranchSpec("parts", 6, None, frozenset({"metric"}), in_test=False),
        BranchSpec("global", 4, "global", frozenset({"id", "metric"})),
    )


def test_pcb_global_dim_of_zero_leaves_the_global_branch_out():
    assert [b.name for b in build("pcb", parts=1, global_dim=0).branches] == ["stripe_0", "parts"]


@pytest.mark.parametrize(
    ("height", "fitting"), [(16, "192 or 288"), (25, "384 or 480"), (5, "96"), (1, "96")]
)
def test_pcb_names_the_input_heights_that_fit(height, fitting):
    with pytest.raises(ReidError) as caught:
        build("pcb")(random_map(height=height))
    assert str(caught.value) == (
        f"head 'pcb': 6 parts do not divide the feature map's height of {height} cells; "
        f"with 16 pixels per cell an input height of {fitting} fits"
    )


def test_pcb_refuses_a_height_on_the_meta_device_too():
    with torch.device("meta"), pytest.raises(ReidError, match="6 parts do not divide"):
        build("pcb")(FeatureMap(torch.empty(2, 8, 16, 8)))


def test_spectral_shares_the_classifier_of_global_and_stays_out_of_the_test_embedding():
    assert build("spectral", embedding_dim=6).branches == (
        BranchSpec("global", 6, "global", frozenset({"id", "metric"})),
        BranchSpec("spectral", 6, "global", frozenset({"id"}), in_test=False),
    )


def test_spectral_accepts_the_params_of_the_global_head():
    assert set(global_head.GlobalParams.model_fields) < set(spectral.SpectralParams.model_fields)
    head = build("spectral", pooling="gem", embedding_dim=6, neck="none")
    assert head.global_head.branches[0].dim == 6


def test_spectral_state_has_no_more_keys_than_the_global_head():
    expected = {f"global_head.{key}" for key in build("global").state_dict()}
    assert set(build("spectral").state_dict()) == expected


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("global", {"pooling": "median"}),
        ("global", {"embedding_dim": 0}),
        ("global", {"dropout": 1.0}),
        ("pcb", {"parts": 0}),
        ("pcb", {"global_dim": -1}),
        ("spectral", {"temperature": 0.0}),
        ("spectral", {"gate": 1.1}),
        ("spectral", {"normalize": "both"}),
        ("spectral", {"parts": 6}),
    ],
)
def test_params_out_of_range_are_refused(name, params):
    with pytest.raises(ValidationError):
        build(name, **params)

"""Heads: the branches that they declare are the branches that they give."""

import copy

import pytest
import torch

from reid_core.component import call_build
from reid_core.contracts import BranchSpec, FeatureMap, HeadOutput, Progress, parts_with

HEIGHT, WIDTH = 24, 8  # cells; 24 can be cut into 2, 3, 4, 6, 8 and 12 stripes


@pytest.fixture(scope="module")
def network(catalog):
    """A real backbone: a head may copy its last stage."""
    resnet = catalog.component("backbone", "resnet18")
    with torch.random.fork_rng():
        return call_build(resnet, resnet.params.model_validate({"pretrained": "none"}))


@pytest.fixture
def make(head, network):
    """Build the head for the backbone, in training mode."""

    def build(seed=0):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return head.build(
                in_channels=network.out_channels, num_pids=5, backbone=copy.deepcopy(network)
            )

    return build


def feature_map(network, count=6, device="cpu"):
    """Values of 0 and more, as they come out of a ReLU."""
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(count, network.out_channels, HEIGHT, WIDTH, generator=generator).relu()
    return FeatureMap(values.to(device))


def tell(module, accuracy):
    """Send the progress, as the loop does; some heads wait for a certain accuracy."""
    progress = Progress(epoch=1, epochs=4, step=10, steps_per_epoch=10, accuracy=accuracy)
    for part in parts_with("set_progress", module.modules()):
        part.set_progress(progress)
    return module


def vectors(output):
    """All vectors of an output by (branch, form), and its extra values."""
    branches = {
        (name, form): getattr(branch, form)
        for name, branch in output.branches.items()
        for form in ("feature", "embedding")
    }
    return branches | {("aux", name): value for name, value in output.aux.items()}


def test_branches_are_declared_before_the_first_forward(make):
    branches = make().branches
    assert isinstance(branches, tuple)
    assert branches
    assert all(isinstance(spec, BranchSpec) and spec.dim >= 1 for spec in branches)
    names = [spec.name for spec in branches]
    assert len(names) == len(set(names))
    assert all(name.replace("_", "").isalnum() for name in names), "globs and files use the names"


def test_roles_classifiers_and_the_test_embedding_agree(make):
    branches = make().branches
    dims = {}
    for spec in branches:
        assert isinstance(spec.roles, frozenset)
        assert spec.roles <= {"id", "metric"}
        assert type(spec.in_test) is bool
        # A loss of the role "id" classifies.
        assert "id" not in spec.roles or spec.classifier is not None
        assert dims.setdefault(spec.classifier or spec.name, spec.dim) == spec.dim
    assert any(spec.roles for spec in branches)


@pytest.mark.parametrize("accuracy", [0.0, 1.0])
@pytest.mark.parametrize("training", [True, False])
def test_forward_gives_what_is_declared(make, network, training, accuracy):
    module = tell(make().train(training), accuracy)
    output = module(feature_map(network))
    assert isinstance(output, HeadOutput)
    assert list(output.branches) == [spec.name for spec in module.branches]
    for spec in module.branches:
        branch = output.branches[spec.name]
        assert branch.feature.shape == branch.embedding.shape == (6, spec.dim)
    assert all(vector.isfinite().all() for vector in vectors(output).values())
    assert all(len(value) == 6 for value in output.aux.values())


def test_forward_gives_the_same_names_in_training_and_evaluation(make, network):
    outputs = [make().train(mode)(feature_map(network)) for mode in (True, False)]
    assert outputs[0].branches.keys() == outputs[1].branches.keys()
    assert outputs[0].aux.keys() == outputs[1].aux.keys()


def test_shapes_can_be_checked_without_memory(head, network):
    with torch.device("meta"):
        module = head.build(
            in_channels=network.out_channels, num_pids=5, backbone=copy.deepcopy(network)
        ).eval()
        output = module(feature_map(network, device="meta"))
    assert {n: tuple(b.embedding.shape) for n, b in output.branches.items()} == {
        spec.name: (6, spec.dim) for spec in module.branches
    }


@pytest.mark.parametrize("accuracy", [0.0, 1.0])
def test_the_map_and_every_parameter_receive_finite_gradients(make, network, accuracy):
    module = tell(make().train(), accuracy)
    given = feature_map(network)
    given.map.requires_grad_()
    generator = torch.Generator().manual_seed(1)
    total = sum(
        (vector * torch.randn(vector.shape, generator=generator)).sum()
        for vector in vectors(module(given)).values()
    )
    total.backward()
    assert given.map.grad.isfinite().all()
    assert given.map.grad.any()
    trained = {name: p for name, p in module.named_parameters() if p.requires_grad}
    assert [name for name, p in trained.items() if p.grad is None] == []
    assert [name for name, p in trained.items() if not p.grad.isfinite().all()] == []


def test_a_saved_state_gives_the_same_vectors_in_another_head(make, network):
    first, second = make(seed=0), make(seed=1).eval()
    first.train()(feature_map(network))  # statistics of BN are part of the state
    second.load_state_dict(first.eval().state_dict())
    with torch.inference_mode():
        expected, loaded = (vectors(module(feature_map(network))) for module in (first, second))
    assert all(torch.equal(loaded[key], vector) for key, vector in expected.items())


def test_in_evaluation_a_vector_is_repeatable_and_does_not_depend_on_the_other_images(
    make, network
):
    module = tell(make().eval(), accuracy=1.0)
    given = feature_map(network)
    in_test = {spec.name for spec in module.branches if spec.in_test}
    with torch.inference_mode():
        first, again, alone = (
            vectors(module(FeatureMap(part))) for part in (given.map, given.map, given.map[:1])
        )
    for (name, form), vector in first.items():
        assert torch.equal(vector, again[name, form])
        if name in in_test:
            torch.testing.assert_close(vector[:1], alone[name, form], rtol=1e-4, atol=1e-5)


def test_half_precision_leaves_the_vectors_finite(make, network):
    module = tell(make().train(), accuracy=1.0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = module(feature_map(network))
    assert all(vector.isfinite().all() for vector in vectors(output).values())
